import { internal } from "../errors.js";
import { isTransformed, kernelTransforms, transformKernels } from "./kernel-transforms.js";

/**
 * PyTorch's memory layouts become TensorFlow's here and nowhere else: a convolution [out, in, height, width] is
 * stored as [height, width, in, out], a linear layer [out, in] as [in, out].
 */
export interface WeightView {
  /**
   * "same": as PyTorch has it (vectors, embeddings).
   * "kernel": a convolution as [height, width, in, out].
   * "matrix": a linear layer as [in, out]; a convolution as [height * width * in, out], the order of the patches
   * that im2col makes (a 1x1 convolution is then the matrix [in, out]). The bytes are those of "kernel".
   * "winograd": a 3x3 convolution as [16, in, out], transformed for F(2x2, 3x3) (ops/winograd.ts); "winograd4": as
   * [36, in, out], for F(4x4, 3x3) (ops/winograd-fused.ts).
   * "upsampled": a 3x3 convolution of a picture at twice the size as [4, 4, out, in], for the picture before it is
   * enlarged (`convolveUpsampled`); "upsampled-winograd": the same as [9, in, out] (ops/winograd.ts).
   * "rows": a linear layer as [out, in], as PyTorch has it; columns are rows of it.
   * "turned": a convolution as [height, width, out, in], last row and column first (`convolveTurned`).
   */
  readonly layout:
    | "same"
    | "kernel"
    | "matrix"
    | "winograd"
    | "winograd4"
    | "upsampled"
    | "upsampled-winograd"
    | "turned"
    | "rows";
  /** A range of the last axis, for one product of a fused pair (GEGLU); for vectors, of the only one. */
  readonly columns?: readonly [start: number, end: number];
}

/** Tables that are looked up by row, not multiplied. Matrices only: CLIP's patch_embedding is a convolution. */
const isEmbedding = (name: string): boolean => /embedding(\.weight)?$/.test(name);

/** The layout in which a layer uses a weight: by rank, and by name for the tables of embeddings. */
export function defaultView(name: string, shape: readonly number[]): WeightView {
  if (shape.length === 4) return { layout: "kernel" };
  return { layout: shape.length === 2 && !isEmbedding(name) ? "matrix" : "same" };
}

const viewNames: Readonly<Record<WeightView["layout"], string>> = {
  same: "s",
  kernel: "t",
  matrix: "t",
  winograd: "w",
  winograd4: "w4",
  upsampled: "u4",
  "upsampled-winograd": "uw",
  turned: "r",
  rows: "p",
};

/** Distinguishes views of one tensor in file names: those of the same bytes have the same name. */
export function viewName({ layout, columns }: WeightView): string {
  return viewNames[layout] + (columns ? `${columns[0]}-${columns[1]}` : "");
}

/** The shape that `toTensorFlow` gives. `shape`: PyTorch's. */
export function viewShape(shape: readonly number[], { layout, columns }: WeightView): number[] {
  const width = columns && columns[1] - columns[0];
  if (layout === "same") return width === undefined ? [...shape] : [...shape.slice(0, -1), width];
  const [rows, inputs, height, across] = axes(shape);
  const outputs = width ?? rows;
  if (layout === "winograd") return [16, inputs, outputs];
  if (layout === "winograd4") return [36, inputs, outputs];
  if (layout === "upsampled") return [4, 4, outputs, inputs];
  if (layout === "upsampled-winograd") return [9, inputs, outputs];
  if (layout === "turned") return [height, across, outputs, inputs];
  if (layout === "rows") return [outputs, inputs];
  return layout === "kernel" ? [height, across, inputs, outputs] : [height * across * inputs, outputs];
}

/** Arrays of any width, so that half-precision patterns can be transposed without being widened. */
type Numbers = Float32Array | Uint16Array;

/**
 * The values of a weight in TensorFlow's order; a new array, except for "rows", and "same" without columns.
 *
 * @param shape PyTorch's
 */
export function toTensorFlow<T extends Numbers>(values: T, shape: readonly number[], view: WeightView): T {
  const { layout, columns } = view;
  if (layout === "same") {
    if (!columns) return values;
    if (shape.length !== 1) throw internal(`columns of a weight of rank ${shape.length} that stays as it is`);
    return values.slice(...columns) as T;
  }
  const [outputs, inputs, height, width] = axes(shape);
  if (isTransformed(layout)) {
    if (!(values instanceof Float32Array)) throw internal("kernels are transformed in float32");
    const taps =
      layout === "upsampled"
        ? turned(values, height * width)
        : transpose(values, outputs, inputs, height * width);
    return transformKernels(taps, kernelTransforms[layout]) as Float32Array as T;
  }
  if (layout === "turned") return turned(values, height * width);
  const [start, end] = columns ?? [0, outputs];
  if (start < 0 || end > outputs || start >= end) throw internal(`columns ${start} to ${end} of [${shape}]`);
  const rows = inputs * height * width;
  if (layout === "rows") return values.subarray(start * rows, end * rows) as T;
  return transpose(values.subarray(start * rows, end * rows) as T, end - start, inputs, height * width);
}

export function axes(
  shape: readonly number[],
): [outputs: number, inputs: number, height: number, width: number] {
  const [outputs, inputs, height = 1, width = 1] = shape;
  if (outputs === undefined || inputs === undefined || (shape.length !== 2 && shape.length !== 4))
    throw internal(`a kernel or matrix of shape [${shape}]`);
  return [outputs, inputs, height, width];
}

/** Edge of the square that is moved at a time: its lines stay in the cache until each is used up. */
const block = 64;

/** [outputs, inputs, positions] to [positions, inputs, outputs]. */
function transpose<T extends Numbers>(values: T, outputs: number, inputs: number, positions: number): T {
  const out = new (values.constructor as new (length: number) => T)(values.length);
  const rows = inputs * positions;
  for (let row0 = 0; row0 < rows; row0 += block) {
    const row1 = Math.min(row0 + block, rows);
    for (let o0 = 0; o0 < outputs; o0 += block) {
      const o1 = Math.min(o0 + block, outputs);
      for (let row = row0; row < row1; row++) {
        const input = Math.floor(row / positions);
        const target = ((row - input * positions) * inputs + input) * outputs;
        for (let o = o0; o < o1; o++) out[target + o] = values[o * rows + row]!;
      }
    }
  }
  return out;
}

/** [outputs, inputs, positions] to [positions, outputs, inputs], the last position first. */
function turned<T extends Numbers>(values: T, positions: number): T {
  const out = new (values.constructor as new (length: number) => T)(values.length);
  const plane = values.length / positions;
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < plane; i++) out[(positions - 1 - p) * plane + i] = values[i * positions + p]!;
  return out;
}
