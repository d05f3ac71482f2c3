import { filter4 } from "./winograd-filters.js";

/** Along one axis of a kernel: sums of its three taps. */
type AxisTransform = readonly (readonly [number, number, number])[];

/** By the name of the layout (`WeightView`). */
export const kernelTransforms = {
  /** Lavin and Gray 2015, section 4.1. */
  winograd: [
    [1, 0, 0],
    [1 / 2, 1 / 2, 1 / 2],
    [1 / 2, -1 / 2, 1 / 2],
    [0, 0, 1],
  ],
  winograd4: filter4.taps,
  /** Without the place that is zero where pixels stand twice; ops/winograd.ts has the other two transforms. */
  "upsampled-winograd": [
    [1, 0, 0],
    [1, 1, 1],
    [0, 0, 1],
  ],
  /**
   * Of the turned kernel: a pixel that stands twice adds to four results, from one before it to one behind, and each sums
   * the taps that see it.
   */
  upsampled: [
    [1, 0, 0],
    [1, 1, 0],
    [0, 1, 1],
    [0, 0, 1],
  ],
} as const satisfies Record<string, AxisTransform>;

export const isTransformed = (layout: string): layout is keyof typeof kernelTransforms =>
  layout in kernelTransforms;

/** 3x3 kernels, tap by tap [9, …], to n x n ones [n * n, …]: the transform along both axes, in float64. */
export function transformKernels(
  taps: Float32Array,
  transform: AxisTransform,
  out: Float32Array = new Float32Array((taps.length / 9) * transform.length ** 2),
): Float32Array {
  const pairs = pairsOf(transform);
  if (pairs) transformByPairs(taps, pairs, out);
  else transformByAxis(taps, transform, out);
  return out;
}

/**
 * A transform whose first place is a multiple of the first tap and whose last is one of the last, with pairs of
 * opposite points between them, which differ in the sign of the middle tap: the first factor, three of each pair, the
 * last.
 */
function pairsOf(transform: AxisTransform): Float64Array | undefined {
  const [first, ...others] = transform;
  const [last] = others.splice(-1);
  const factors = [first![0]];
  for (let i = 0; i < others.length; i += 2) {
    const [[a, b, c], next] = [others[i]!, others[i + 1]];
    if (!next || next[0] !== a || next[1] !== -b || next[2] !== c) return undefined;
    factors.push(a, b, c);
  }
  return Float64Array.of(...factors, last![2]);
}

/**
 * All of a kernel at once, so that what is between the axes stays in registers: single numbers, and a call with as many
 * as it takes, since arrays and objects here take four times as long (bench/NOTES.md).
 */
function transformByPairs(taps: Float32Array, factors: Float64Array, out: Float32Array): void {
  const plane = taps.length / 9;
  const last = factors.length - 1;
  const line = ((2 * (last - 1)) / 3 + 2) * plane;
  const tap = (n: number, i: number) => taps[n * plane + i]!;
  for (let i = 0; i < plane; i++) {
    const a0 = tap(0, i);
    const a1 = tap(1, i);
    const a2 = tap(2, i);
    const b0 = tap(3, i);
    const b1 = tap(4, i);
    const b2 = tap(5, i);
    const c0 = tap(6, i);
    const c1 = tap(7, i);
    const c2 = tap(8, i);
    let at = i;
    writeLine(out, at, plane, factors, factors[0]! * a0, factors[0]! * a1, factors[0]! * a2);
    for (let f = 1; f < last; f += 3) {
      const a = factors[f]!;
      const b = factors[f + 1]!;
      const c = factors[f + 2]!;
      const even0 = a * a0 + c * c0;
      const even1 = a * a1 + c * c1;
      const even2 = a * a2 + c * c2;
      const odd0 = b * b0;
      const odd1 = b * b1;
      const odd2 = b * b2;
      at += line;
      writeLine(out, at, plane, factors, even0 + odd0, even1 + odd1, even2 + odd2);
      at += line;
      writeLine(out, at, plane, factors, even0 - odd0, even1 - odd1, even2 - odd2);
    }
    at += line;
    writeLine(out, at, plane, factors, factors[last]! * c0, factors[last]! * c1, factors[last]! * c2);
  }
}

/** A line of a kernel's places, of its three numbers. */
function writeLine(
  out: Float32Array,
  start: number,
  plane: number,
  factors: Float64Array,
  x: number,
  y: number,
  z: number,
): void {
  const last = factors.length - 1;
  let at = start;
  out[at] = factors[0]! * x;
  for (let f = 1; f < last; f += 3) {
    const even = factors[f]! * x + factors[f + 2]! * z;
    const odd = factors[f + 1]! * y;
    at += plane;
    out[at] = even + odd;
    at += plane;
    out[at] = even - odd;
  }
  out[at + plane] = factors[last]! * z;
}

/** Kernels that are transformed at a time: planes lie multiples of 4 KB apart, and would push each other out of the cache. */
const kernelsAtATime = 512;

/** One axis of many kernels after the other. */
function transformByAxis(taps: Float32Array, transform: AxisTransform, out: Float32Array): void {
  const plane = taps.length / 9;
  const size = transform.length;
  const between = Array.from({ length: 3 * size }, () => new Float64Array(kernelsAtATime));
  for (let from = 0; from < plane; from += kernelsAtATime) {
    const length = Math.min(kernelsAtATime, plane - from);
    const part = (of: Float32Array, i: number) => of.subarray(i * plane + from, i * plane + from + length);
    for (let c = 0; c < 3; c++) {
      const rows = transform.map((_, r) => between[3 * r + c]!);
      transformAxis(rows, transform, [part(taps, c), part(taps, 3 + c), part(taps, 6 + c)]);
    }
    for (let r = 0; r < size; r++) {
      const columns = transform.map((_, c) => part(out, size * r + c));
      transformAxis(columns, transform, [between[3 * r]!, between[3 * r + 1]!, between[3 * r + 2]!]);
    }
  }
}

type Floats = Float32Array | Float64Array;

function transformAxis(
  out: readonly Floats[],
  transform: AxisTransform,
  [first, second, third]: readonly [Floats, Floats, Floats],
): void {
  const length = Math.min(first.length, out[0]!.length);
  for (let r = 0; r < transform.length; r++) {
    const [a, b, c] = transform[r]!;
    const row = out[r]!;
    if (b === 0 && c === 0) for (let i = 0; i < length; i++) row[i] = a * first[i]!;
    else if (a === 0 && b === 0) for (let i = 0; i < length; i++) row[i] = c * third[i]!;
    else for (let i = 0; i < length; i++) row[i] = a * first[i]! + b * second[i]! + c * third[i]!;
  }
}
