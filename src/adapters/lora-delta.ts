import { internal } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { LowRank } from "../weights/low-rank.js";
import type { LoraPart } from "./lora-keys.js";

/** [rows x inner] times [inner x columns], C order. The runtime passes a faster one. */
export type MatMul = (
  a: Float32Array,
  b: Float32Array,
  rows: number,
  inner: number,
  columns: number,
) => Float32Array;

/** Four rows of `b` at a time: three times as fast as one, and the sum is rounded less often. */
export const plainMatMul: MatMul = (a, b, rows, inner, columns) => {
  const out = new Float32Array(rows * columns);
  const at = (row: number, k: number): number => (k < inner ? a[row * inner + k]! : 0);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k += 4) {
      const [f0, f1, f2, f3] = [at(i, k), at(i, k + 1), at(i, k + 2), at(i, k + 3)];
      const row = (n: number): number => Math.min(k + n, inner - 1) * columns; // past the end the factor is 0
      const [b0, b1, b2, b3] = [row(0), row(1), row(2), row(3)];
      for (let j = 0, to = i * columns; j < columns; j++, to++)
        out[to] = out[to]! + f0 * b[b0 + j]! + f1 * b[b1 + j]! + f2 * b[b2 + j]! + f3 * b[b3 + j]!;
    }
  return out;
};

/** Shapes of the factors of one module, before any value is read. */
export type PartShapes = { readonly [part in LoraPart]?: readonly number[] };
/** The factors themselves, in PyTorch's layout. */
export type PartValues = { readonly [part in LoraPart]?: Values };

/** A change of weights as a plan: `rank` divides alpha; 1 and no alpha where the file's factors are whole. */
export interface DeltaPlan {
  readonly method: "lora" | "loha" | "lokr" | "glora" | "ia3" | "full";
  /** Undefined where alpha does not scale. */
  readonly rank: number | undefined;
  /**
   * The change before alpha / rank, in the layout of the target.
   * @param weight the target's values: what GLoRA and IA3 change depends on them
   */
  compute(parts: PartValues, matMul: MatMul, weight?: Float32Array): Float32Array;
  /** The same, not multiplied out, where it is one product. */
  readonly factors?: (parts: PartValues) => LowRank;
}

const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const tail = (shape: readonly number[]): number => count(shape.slice(1));
const isShape = (shape: readonly number[] | undefined, ...expected: readonly number[]): boolean =>
  shape?.length === expected.length && expected.every((n, i) => n === shape[i]);
const as = (shape: readonly number[] | undefined, rows: number, columns: number): boolean =>
  shape !== undefined && shape[0] === rows && tail(shape) === columns;

/**
 * How the factors make a change of a tensor of shape [out, in, ...kernel].
 * @returns undefined where they do not: another model's, or parts are missing.
 */
export function planDelta(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const whole = planWhole(parts, target);
  if (whole || target.length < 2) return whole;
  return (
    planLora(parts, target) ??
    planLoha(parts, target) ??
    planLokr(parts, target) ??
    planGlora(parts, target) ??
    planIa3(parts, target)
  );
}

/** The change itself: of a weight, of a bias, or of the bias that PEFT gives the second factor (scaled with its rank). */
function planWhole(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const part = (["diff", "bias_diff", "up_bias"] as const).find((part) => parts[part]);
  if (!part || !as(parts[part], target[0]!, tail(target))) return undefined;
  const rank = part === "up_bias" ? parts.down?.[0] : undefined;
  return { method: "full", rank, compute: (values) => values[part]!.data.slice() };
}

/** LoRA (arXiv:2106.09685) and LoCon: up x down, with a kernel in either of them or between them. */
function planLora({ down, up, mid }: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0] = target;
  const kernel = count(target.slice(2));
  const rank = down?.[0];
  if (!down || !up || rank === undefined || rank === 0) return undefined;
  const lora = { method: "lora", rank } as const;
  if (mid) {
    const [outer = 0] = mid;
    if (!as(up, out, outer) || !as(down, rank, channels) || !isShape(mid, outer, rank, ...target.slice(2)))
      return undefined;
    return {
      ...lora,
      compute: ({ up, mid, down }, matMul) => sandwich(up!.data, mid!, down!.data, out, channels, matMul),
    };
  }
  if (as(down, rank, channels * kernel) && as(up, out, rank))
    return {
      ...lora,
      compute: ({ up, down }, matMul) => matMul(up!.data, down!.data, out, rank, channels * kernel),
      factors: ({ up, down }) => ({
        up: { shape: [out, rank], data: up!.data },
        down: { shape: [rank, ...target.slice(1)], data: down!.data },
      }),
    };
  if (!as(down, rank, channels) || !isShape(up, out, rank, ...target.slice(2))) return undefined;
  return {
    ...lora,
    compute({ up, down }, matMul) {
      // The kernel is in `up`: W[o, i, k] = sum over r of up[o, r, k] down[r, i].
      const byKernel = swapLast(up!.data, out, rank, kernel);
      return swapLast(matMul(byKernel, down!.data, out * kernel, rank, channels), out, kernel, channels);
    },
  };
}

/** LyCORIS' Tucker form: W[o, i, k] = sum over p, q of up[o, p] mid[p, q, k] down[q, i]. */
function sandwich(
  up: Float32Array,
  mid: Values,
  down: Float32Array,
  out: number,
  channels: number,
  matMul: MatMul,
): Float32Array {
  const [outer = 0, rank = 0] = mid.shape;
  const kernel = count(mid.shape.slice(2));
  const left = matMul(up, mid.data, out, outer, rank * kernel); // [out, rank, kernel]
  const byKernel = swapLast(left, out, rank, kernel);
  return swapLast(matMul(byKernel, down, out * kernel, rank, channels), out, kernel, channels);
}

/** LoHa (LyCORIS, arXiv:2309.14859): the elementwise product of two low-rank matrices. */
function planLoha(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0] = target;
  const inner = tail(target);
  const { hada_w1_a: a1, hada_w1_b: b1, hada_w2_a: a2, hada_w2_b: b2, hada_t1: t1, hada_t2: t2 } = parts;
  const rank = b1?.[0];
  if (!rank) return undefined;
  const product =
    (
      half: "1" | "2",
      compute: (a: Values, b: Values, t: Values | undefined, matMul: MatMul) => Float32Array,
    ) =>
    (values: PartValues, matMul: MatMul) =>
      compute(values[`hada_w${half}_a`]!, values[`hada_w${half}_b`]!, values[`hada_t${half}`], matMul);
  const both = (half: Parameters<typeof product>[1]): DeltaPlan => ({
    method: "loha",
    rank,
    compute(values, matMul) {
      const result = product("1", half)(values, matMul);
      const second = product("2", half)(values, matMul);
      for (let i = 0; i < result.length; i++) result[i] = result[i]! * second[i]!;
      return result;
    },
  });
  if (t1 || t2) {
    const fits = [
      [t1, a1, b1],
      [t2, a2, b2],
    ].every(
      ([t, a, b]) =>
        isShape(t, rank, rank, ...target.slice(2)) && isShape(a, rank, out) && isShape(b, rank, channels),
    );
    // Here `a` lies as [rank, out].
    return fits
      ? both((a, b, t, matMul) => sandwich(transpose(a.data, rank, out), t!, b.data, out, channels, matMul))
      : undefined;
  }
  const fits = [
    [a1, b1],
    [a2, b2],
  ].every(([a, b]) => as(a, out, rank) && as(b, rank, inner));
  return fits ? both((a, b, _, matMul) => matMul(a.data, b.data, out, rank, inner)) : undefined;
}

/** LoKr (LyCORIS, arXiv:2309.14859): a Kronecker product; each side is whole or a product itself. */
function planLokr(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0, ...window] = target;
  const kernel = count(window);
  const left = parts.lokr_w1 ?? sides(parts.lokr_w1_a, parts.lokr_w1_b);
  if (left?.length !== 2 || !left[0] || !left[1] || out % left[0] || channels % left[1]) return undefined;
  const [out1 = 0, in1 = 0] = left;
  const [out2, in2] = [out / out1, channels / in1];
  const right = planRight(parts, out2, in2, window);
  if (!right) return undefined;
  return {
    method: "lokr",
    rank: parts.lokr_w2_b?.[0] ?? parts.lokr_w1_b?.[0],
    compute(values, matMul) {
      const w1 =
        values.lokr_w1?.data ??
        matMul(values.lokr_w1_a!.data, values.lokr_w1_b!.data, out1, values.lokr_w1_b!.shape[0]!, in1);
      return kronecker(w1, out1, in1, right(values, matMul), out2, in2 * kernel);
    },
  };
}

/** The shape of a x b, if they fit. */
const sides = (
  a: readonly number[] | undefined,
  b: readonly number[] | undefined,
): readonly number[] | undefined =>
  a?.length === 2 && b?.length === 2 && a[1] === b[0] ? [a[0]!, b[1]!] : undefined;

/** The right side of the Kronecker product, [out2, in2, ...kernel]. */
function planRight(
  { lokr_w2: w2, lokr_w2_a: a, lokr_w2_b: b, lokr_t2: t }: PartShapes,
  out2: number,
  in2: number,
  window: readonly number[],
): DeltaPlan["compute"] | undefined {
  const inner = in2 * count(window);
  if (w2) return as(w2, out2, inner) ? (values) => values.lokr_w2!.data : undefined;
  const rank = b?.[0];
  if (!a || !b || !rank) return undefined;
  if (t)
    return isShape(t, rank, rank, ...window) && isShape(a, rank, out2) && isShape(b, rank, in2)
      ? ({ lokr_w2_a, lokr_w2_b, lokr_t2 }, matMul) =>
          sandwich(transpose(lokr_w2_a!.data, rank, out2), lokr_t2!, lokr_w2_b!.data, out2, in2, matMul)
      : undefined;
  if (!as(a, out2, rank) || !as(b, rank, inner)) return undefined;
  return ({ lokr_w2_a, lokr_w2_b }, matMul) => matMul(lokr_w2_a!.data, lokr_w2_b!.data, out2, rank, inner);
}

/**
 * GLoRA (arXiv:2306.07967): W a1 a2 + b1 b2, the first over the input channels of a kernel. LyCORIS before its third
 * version called the two factors of each product the other way round.
 */
function planGlora(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const plan = planCurrentGlora(parts, target);
  const old = plan ? undefined : planCurrentGlora(exchanged(parts), target);
  return plan ?? (old && { ...old, compute: (values, ...rest) => old.compute(exchanged(values), ...rest) });
}

function exchanged<T>(parts: { readonly [part in LoraPart]?: T }): { readonly [part in LoraPart]?: T } {
  const { glora_a1, glora_a2, glora_b1, glora_b2, ...others } = parts;
  return {
    ...others,
    ...(glora_a2 !== undefined && { glora_a1: glora_a2 }),
    ...(glora_a1 !== undefined && { glora_a2: glora_a1 }),
    ...(glora_b2 !== undefined && { glora_b1: glora_b2 }),
    ...(glora_b1 !== undefined && { glora_b2: glora_b1 }),
  };
}

function planCurrentGlora(parts: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0] = target;
  const kernel = count(target.slice(2));
  const { glora_a1: a1, glora_a2: a2, glora_b1: up, glora_b2: down, glora_bm: mid } = parts;
  const rank = a2?.[0];
  if (!rank || !up || !down || !as(a1, channels, rank) || !as(a2, rank, channels)) return undefined;
  const added = planLora({ up, down, ...(mid && { mid }) }, target);
  if (!added) return undefined;
  return {
    method: "glora",
    rank,
    compute(values, matMul, weight) {
      if (!weight) throw internal("GLoRA's change depends on the weight");
      const { glora_a1, glora_a2, glora_b1, glora_b2, glora_bm } = values;
      const byKernel = swapLast(weight, out, channels, kernel);
      const inner = matMul(byKernel, glora_a1!.data, out * kernel, channels, rank);
      const multiplied = matMul(inner, glora_a2!.data, out * kernel, rank, channels);
      const result = swapLast(multiplied, out, kernel, channels);
      const factors = { up: glora_b1!, down: glora_b2!, ...(glora_bm && { mid: glora_bm }) };
      const more = added.compute(factors, matMul);
      for (let i = 0; i < result.length; i++) result[i] = result[i]! + more[i]!;
      return result;
    },
  };
}

/** IA3 (arXiv:2205.05638, as in LyCORIS): a factor for each output, or each input channel. */
function planIa3({ ia3, on_input: side }: PartShapes, target: readonly number[]): DeltaPlan | undefined {
  const [out = 0, channels = 0] = target;
  const kernel = count(target.slice(2));
  if (!ia3 || !side || count(side) !== 1) return undefined;
  const length = count(ia3);
  if (length !== out && length !== channels) return undefined;
  return {
    method: "ia3",
    rank: undefined,
    compute({ ia3, on_input }, _, weight) {
      if (!weight) throw internal("IA3's change depends on the weight");
      const onInput = out === channels ? on_input!.data[0] !== 0 : length === channels;
      const factors = ia3!.data;
      return weight.map((value, i) => {
        const at = Math.floor(i / kernel);
        return value * factors[onInput ? at % channels : Math.floor(at / channels)]!;
      });
    },
  };
}

/** [rows1 x columns1] and [rows2 x columns2] to [rows1 rows2 x columns1 columns2]. */
function kronecker(
  a: Float32Array,
  rows1: number,
  columns1: number,
  b: Float32Array,
  rows2: number,
  columns2: number,
): Float32Array {
  const out = new Float32Array(a.length * b.length);
  let to = 0;
  for (let i = 0; i < rows1; i++)
    for (let j = 0; j < rows2; j++)
      for (let k = 0; k < columns1; k++) {
        const factor = a[i * columns1 + k]!;
        for (let l = 0; l < columns2; l++) out[to++] = factor * b[j * columns2 + l]!;
      }
  return out;
}

const transpose = (values: Float32Array, rows: number, columns: number): Float32Array =>
  swapLast(values, 1, rows, columns);

/** [n, rows, columns] to [n, columns, rows]. */
function swapLast(values: Float32Array, n: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < n; i++) {
    const base = i * rows * columns;
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) out[base + c * rows + r] = values[base + r * columns + c]!;
  }
  return out;
}
