import { internal } from "../errors.js";
import { isTransformed, kernelTransforms, transformKernels } from "./kernel-transforms.js";
import { axes, type WeightView } from "./layout.js";
import { elements } from "./ops.js";

/** Values as a checkpoint stores them. */
export type StoredValues =
  | Float32Array
  /** Patterns of 16 bits, and the float32 pattern that each of them widens to. */
  | { readonly patterns: Uint16Array; readonly widened: Uint32Array };

/** Takes a piece of the result and the place of its first value; the next piece overwrites it. */
export type TakePart = (part: Float32Array, at: number) => void;

/**
 * Kernels, or values of a matrix, at a time: with what becomes of them they stay in the cache until they are taken. Whole
 * weights would be arrays whose memory the system has to find and clear first (bench/NOTES.md).
 */
const AT_A_TIME = 2 ** 15;

/** Makes what `toTensorFlow` gives, piece by piece, in arrays that serve the next weight, too. */
export function layoutParts(): (
  values: StoredValues,
  shape: readonly number[],
  view: WeightView,
  take: TakePart,
) => void {
  const scratch = { taps: new Float32Array(0), places: new Float32Array(0) };
  const room = (name: keyof typeof scratch, length: number): Float32Array => {
    if (scratch[name].length < length) scratch[name] = new Float32Array(length);
    return scratch[name].subarray(0, length);
  };
  return (values, shape, view, take) => {
    const source = sourceOf(shape, view);
    const { first, outputs, inputs, positions } = source;
    const { length } = values instanceof Float32Array ? values : values.patterns;
    if (length < first + outputs * inputs * positions)
      throw internal(`${length} values for a weight [${shape}]`);
    const transform = isTransformed(view.layout) ? kernelTransforms[view.layout] : undefined;
    const most = Math.max(1, Math.floor(AT_A_TIME / outputs));
    for (let from = 0; from < inputs; from += most) {
      const until = Math.min(from + most, inputs);
      const kernels = (until - from) * outputs;
      const taps = room("taps", positions * kernels);
      gather(taps, values, source, [from, until]);
      const places = transform
        ? transformKernels(taps, transform, room("places", transform.length ** 2 * kernels))
        : taps;
      for (let at = 0, place = 0; at < places.length; at += kernels, place++)
        take(places.subarray(at, at + kernels), (place * inputs + from) * outputs);
    }
  };
}

/** Where the taps of each kernel lie among the stored values. */
interface Source {
  /** Values before the first. */
  readonly first: number;
  readonly outputs: number;
  readonly inputs: number;
  readonly positions: number;
  readonly isTurned: boolean;
}

function sourceOf(shape: readonly number[], { layout, columns }: WeightView): Source {
  if (layout === "same" || layout === "rows") {
    const row = elements(layout === "rows" ? shape.slice(1) : columns ? [] : shape);
    const [start, end] = columns ?? [0, layout === "rows" ? shape[0]! : 1];
    return { first: start * row, outputs: 1, inputs: (end - start) * row, positions: 1, isTurned: false };
  }
  const [outputs, inputs, height, width] = axes(shape);
  const positions = height * width;
  // The order of outputs and inputs stays: each value is a kernel's of its own.
  if (layout === "turned" || layout === "upsampled")
    return { first: 0, outputs: 1, inputs: outputs * inputs, positions, isTurned: true };
  const [start, end] = columns ?? [0, outputs];
  return { first: start * inputs * positions, outputs: end - start, inputs, positions, isTurned: false };
}

/** Edge of the square that is moved at a time: its lines stay in the cache until each is used up. */
const BLOCK = 64;

/** Taps of some inputs, [outputs, inputs, positions], as [positions, inputs, outputs]. */
function gather(
  taps: Float32Array,
  values: StoredValues,
  { first, outputs, inputs, positions, isTurned }: Source,
  [from, until]: readonly [number, number],
): void {
  const move = values instanceof Float32Array ? moverOf(values) : widenerOf(values);
  const out = new Uint32Array(taps.buffer, taps.byteOffset, taps.length);
  const kernels = (until - from) * outputs;
  if (outputs === 1)
    for (let p = 0; p < positions; p++) {
      const place = isTurned ? positions - 1 - p : p;
      move(out, place * kernels, kernels, first + from * positions + p, positions);
    }
  else
    for (let o = 0; o < outputs; o += BLOCK)
      for (let i = from; i < until; i++)
        for (let p = 0; p < positions; p++)
          move(
            out,
            p * kernels + (i - from) * outputs + o,
            Math.min(BLOCK, outputs - o),
            first + (o * inputs + i) * positions + p,
            inputs * positions,
          );
}

/** Writes `count` float32 patterns from `at` on, of values that lie `step` apart. Patterns, so that no bit of a NaN changes. */
type Move = (out: Uint32Array, at: number, count: number, from: number, step: number) => void;

function moverOf(values: Float32Array): Move {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return (out, at, count, from, step) => {
    for (let k = 0, s = from; k < count; k++, s += step) out[at + k] = bits[s]!;
  };
}

function widenerOf({
  patterns,
  widened,
}: {
  readonly patterns: Uint16Array;
  readonly widened: Uint32Array;
}): Move {
  return (out, at, count, from, step) => {
    for (let k = 0, s = from; k < count; k++, s += step) out[at + k] = widened[patterns[s]!]!;
  };
}
