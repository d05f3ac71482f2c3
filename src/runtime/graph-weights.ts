import type { GivenWeight, WeightFile } from "../ops/graph-tensors.js";
import { toTensorFlow, viewName, viewShape, type WeightView } from "../ops/layout.js";
import { layoutParts, type StoredValues } from "../ops/layout-parts.js";
import { elements } from "../ops/ops.js";
import { openWeightCache, type WeightCache } from "../weights/cache.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { contentKey } from "../weights/content-key.js";
import {
  float32ToBfloat16,
  float32ToFloat16,
  widenedBfloat16,
  widenedFloat16,
} from "../weights/formats/float16.js";
import type { MappedWeight } from "./mapped-weights.js";
import type { Precision } from "./runner.js";

export interface WeightOptions {
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** The model and its network, for people who list the cache. */
  readonly label: string;
  /** Called for each weight that had to be converted. */
  readonly onWeight?: () => void;
  /** Converts these into the cache ahead of being asked for them one by one. */
  readonly convertAhead?: (missing: readonly GivenWeight[]) => void;
}

/** The files of weights; those that are missing are made. */
export function weightFiles(
  checkpoint: Checkpoint,
  weights: readonly GivenWeight[],
  options: WeightOptions,
): MappedWeight[] {
  const cache = openCacheOf(checkpoint, options);
  const found = weights.map(({ name, view }) => cache.find(name, viewName(view)));
  const missing = weights.filter((_, i) => found[i] === undefined);
  if (missing.length > 0) options.convertAhead?.(missing);
  const convert = missing.length > 0 ? convertedWeights(checkpoint, options) : undefined;
  return weights.map((weight, i) => {
    const path = found[i];
    if (path === undefined) return convert!(weight);
    return { path, type: storedTypes[options.precision], shape: shapeOf(checkpoint, weight) };
  });
}

/** A checkpoint's weights as a graph needs them: files of the cache, made once, and the shapes of what they hold. */
export function convertedWeights(
  checkpoint: Checkpoint,
  { precision, cacheRoot, label, onWeight }: WeightOptions,
): (weight: GivenWeight) => MappedWeight {
  const cache = openCacheOf(checkpoint, { precision, cacheRoot, label });
  const layOut = layoutParts();
  const stored = storedValues(checkpoint);
  const [width, encode] = [precision === "fp32" ? 4 : 2, encoders[precision]];
  return (weight) => {
    const shape = shapeOf(checkpoint, weight);
    const path = cache.file(weight.name, viewName(weight.view), () => {
      onWeight?.();
      const [values, from] = [stored(weight.name), checkpoint.tensors.get(weight.name)!.shape];
      return {
        length: width * elements(shape),
        each: (write) => layOut(values, from, weight.view, (part, at) => write(encode(part), width * at)),
      };
    });
    return { path, type: storedTypes[precision], shape };
  };
}

/** Values of a weight, as nearly as they are stored as can be laid over. */
function storedValues(checkpoint: Checkpoint): (name: string) => StoredValues {
  const tables = new Map<string, Uint32Array>();
  const makers: Readonly<Record<string, () => Uint32Array>> = { F16: widenedFloat16, BF16: widenedBfloat16 };
  return (name) => {
    const { dtype } = checkpoint.tensors.get(name)!;
    const make = makers[dtype];
    if (!make || checkpoint.changed?.names.has(name)) return checkpoint.readFloat32(name);
    const widened = tables.get(dtype) ?? make();
    tables.set(dtype, widened);
    const { buffer, byteOffset, byteLength } = checkpoint.read(name);
    return { patterns: new Uint16Array(buffer, byteOffset, byteLength / 2), widened };
  };
}

/** The folder of a checkpoint's converted weights. */
export function openCacheOf(
  checkpoint: Checkpoint,
  { precision, cacheRoot, label }: Pick<WeightOptions, "precision" | "cacheRoot" | "label">,
): WeightCache {
  const source = checkpoint.stored?.files.map(({ path }) => path);
  const id = contentKey(cacheRoot, checkpoint);
  return openWeightCache(cacheRoot, { id, precision, label, ...(source && { source }) });
}

/** Of a weight in its view. */
export const shapeOf = ({ tensors }: Checkpoint, { name, view }: GivenWeight): number[] =>
  viewShape(tensors.get(name)!.shape, view);

/** In TensorFlow's layout. */
export const valuesOf = (checkpoint: Checkpoint, { name, view }: GivenWeight): Float32Array =>
  toTensorFlow(checkpoint.readFloat32(name), checkpoint.tensors.get(name)!.shape, view);

const halfTypes: Partial<Record<Precision, string>> = { fp16: "F16", bf16: "BF16" };

/** Whether nothing is rounded on the way to a converted weight, or only as every sum in float32 is. */
export const isStoredExactly = (dtype: string, precision: Precision, { layout }: WeightView): boolean =>
  precision === "fp32" ||
  (dtype === halfTypes[precision] && ["kernel", "matrix", "turned", "rows"].includes(layout));

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

export const encoders: Record<Precision, (values: Float32Array) => Uint8Array> = {
  fp32: bytesOf,
  fp16: (values) => bytesOf(float32ToFloat16(values)),
  bf16: (values) => bytesOf(float32ToBfloat16(values)),
};

export const storedTypes: Record<Precision, WeightFile["type"]> = {
  fp32: "DT_FLOAT",
  fp16: "DT_HALF",
  bf16: "DT_BFLOAT16",
};
