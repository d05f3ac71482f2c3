import type { WeightFile, WeightView } from "../ops/graph.js";
import { openWeightCache } from "../weights/cache.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { float32ToBfloat16, float32ToFloat16 } from "../weights/formats/float16.js";
import {
  defaultView,
  type WeightView as LayoutView,
  toTensorFlow,
  viewName,
  viewShape,
} from "../weights/layout.js";
import type { MappedWeight } from "./mapped-weights.js";
import type { Precision } from "./runner.js";

export interface WeightOptions {
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** The model and its network, for people who list the cache. */
  readonly label: string;
  /** Called for each weight that had to be converted. */
  readonly onWeight?: () => void;
}

/** A checkpoint's weights as a graph needs them: files of the cache, made once, and the shapes of what they hold. */
export function convertedWeights(
  checkpoint: Checkpoint,
  { precision, cacheRoot, label, onWeight }: WeightOptions,
): (name: string, part: WeightView) => MappedWeight {
  const cache = openWeightCache(cacheRoot, { id: checkpoint.id, precision, label });
  return (name, part) => {
    const stored = viewOf(checkpoint, name, part);
    const path = cache.file(name, viewName(stored.view), () => {
      onWeight?.();
      return encoders[precision](valuesOf(checkpoint, name, stored));
    });
    return { path, type: storedTypes[precision], shape: viewShape(stored.shape, stored.view) };
  };
}

interface Stored {
  /** As the checkpoint has it. */
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly view: LayoutView;
}

export function viewOf({ tensors }: Checkpoint, name: string, part: WeightView): Stored {
  const { shape, dtype } = tensors.get(name)!;
  const plain = defaultView(name, shape);
  const view: LayoutView =
    part === "whole" ? plain : typeof part === "string" ? { layout: part } : { ...plain, ...part };
  return { shape, dtype, view };
}

/** In TensorFlow's layout. */
export const valuesOf = (checkpoint: Checkpoint, name: string, { shape, view }: Stored): Float32Array =>
  toTensorFlow(checkpoint.readFloat32(name), shape, view);

const halfTypes: Partial<Record<Precision, string>> = { fp16: "F16", bf16: "BF16" };

/** Whether nothing is rounded on the way to a converted weight, or only as every sum in float32 is. */
export const isStoredExactly = (dtype: string, precision: Precision, { layout }: LayoutView): boolean =>
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
