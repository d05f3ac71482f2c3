import { DiffusionError } from "../errors.js";

/**
 * Arithmetic as PyTorch does it on float32 tensors: every product and every sum is rounded to float32. Sums
 * of numbers of very different size (sigma reaches 4096) come out the same only when the roundings do.
 * Each function is one pass over the arrays where it can be: a step's time is memory and rounding.
 */
export const f32 = Math.fround;

export type Term = readonly [coefficient: number, values: Float32Array];

/** The sum of coefficient * values, from left to right. Throws when a coefficient is not finite. */
export function linear(...terms: readonly [Term, ...Term[]]): Float32Array {
  const [[a, x], second, third] = terms;
  const out = new Float32Array(x.length);
  const p = f32(finite(a));
  if (!second) for (let i = 0; i < out.length; i++) out[i] = p * x[i]!;
  else if (!third) addTwo(out, p, x, f32(finite(second[0])), second[1]);
  else {
    addThree(out, p, x, f32(finite(second[0])), second[1], f32(finite(third[0])), third[1]);
    for (let k = 3; k < terms.length; k += 2) {
      const [[c, v], next] = [terms[k]!, terms[k + 1]];
      addTo(out, f32(finite(c)), v, f32(finite(next?.[0] ?? 0)), next?.[1] ?? v);
    }
  }
  return out;
}

function addTwo(out: Float32Array, p: number, x: Float32Array, q: number, y: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = f32(p * x[i]!) + f32(q * y[i]!);
}

function addThree(
  out: Float32Array,
  p: number,
  x: Float32Array,
  q: number,
  y: Float32Array,
  r: number,
  z: Float32Array,
): void {
  for (let i = 0; i < out.length; i++) out[i] = f32(f32(p * x[i]!) + f32(q * y[i]!)) + f32(r * z[i]!);
}

function addTo(out: Float32Array, p: number, x: Float32Array, q: number, y: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = f32(out[i]! + f32(p * x[i]!)) + f32(q * y[i]!);
}

/** (x - c * y) / by. Throws when `by` is zero or a number is not finite. */
export function quotient(x: Float32Array, c: number, y: Float32Array, by: number): Float32Array {
  const out = new Float32Array(x.length);
  const [factor, divisor] = [f32(finite(c)), f32(nonzero(by))];
  for (let i = 0; i < out.length; i++) out[i] = f32(x[i]! - f32(factor * y[i]!)) / divisor;
  return out;
}

/** c * (x - y). */
export function scaledDifference(c: number, x: Float32Array, y: Float32Array): Float32Array {
  const out = new Float32Array(x.length);
  const factor = f32(finite(c));
  for (let i = 0; i < out.length; i++) out[i] = factor * f32(x[i]! - y[i]!);
  return out;
}

/** Adds coefficient * (values - origin) of every term to `out`, in place, and returns it. */
export function addDifferences(
  out: Float32Array,
  origin: Float32Array,
  terms: readonly Term[],
): Float32Array {
  for (let k = 0; k < terms.length; k += 2) {
    const [[c, x], next] = [terms[k]!, terms[k + 1]];
    const [p, q, y] = [f32(finite(c)), f32(finite(next?.[0] ?? 0)), next?.[1] ?? x];
    for (let i = 0; i < out.length; i++) {
      const o = origin[i]!;
      out[i] = f32(out[i]! + f32(p * f32(x[i]! - o))) + f32(q * f32(y[i]! - o));
    }
  }
  return out;
}

/** Every value divided by a number that is neither zero nor infinite. */
export function divided(values: Float32Array, by: number): Float32Array {
  const out = new Float32Array(values.length);
  const divisor = f32(nonzero(by));
  for (let i = 0; i < out.length; i++) out[i] = values[i]! / divisor;
  return out;
}

/** Elementwise a * b. */
export function product(a: Float32Array, b: Float32Array): Float32Array {
  const out = new Float32Array(a.length);
  for (let i = 0; i < out.length; i++) out[i] = a[i]! * b[i]!;
  return out;
}

const nonzero = (value: number): number => finite(value === 0 ? Number.NaN : value);

function finite(value: number): number {
  if (Number.isFinite(value)) return value;
  throw new DiffusionError("BAD_OPTION", "this scheduler configuration divides by zero at this step", {
    hint: "take another number of steps, final_sigmas_type, solver or prediction type; at zero terminal SNR epsilon models have no first step",
  });
}
