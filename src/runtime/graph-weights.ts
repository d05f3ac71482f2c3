import type { WeightFile, WeightView } from "../ops/graph.js";
import { openWeightCache } from "../weights/cache.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { float32ToBfloat16, float32ToFloat16 } from "../weights/float16.js";
import { defaultView, type WeightView as LayoutView, toTensorFlow, viewName } from "../weights/layout.js";
import { lowRankView } from "../weights/low-rank.js";
import type { GraphRunnerOptions } from "./graph.js";
import { canMerge, type Merger, openMerger } from "./merge.js";
import type { Native } from "./native.js";
import type { Precision } from "./runner.js";

/** A checkpoint's weights as a graph needs them, until it is disposed of. */
export interface GraphWeights {
  /** Of vectors, which are written into the graph. */
  values(name: string, part: WeightView): Float32Array;
  /** Of everything else: files of the cache, made once. */
  file(name: string, part: WeightView): WeightFile;
  dispose(): void;
}

export function graphWeights(
  native: Native,
  checkpoint: Checkpoint,
  { precision, cacheRoot, label, onWeight }: Omit<GraphRunnerOptions, "capabilities">,
): GraphWeights {
  const { id, changed } = checkpoint;
  const type = storedTypes[precision];
  const base = openWeightCache(cacheRoot, { id, precision, label });
  const adapted = changed
    ? openWeightCache(cacheRoot, { id: changed.id, precision, label: `${label}, adapted` })
    : base;
  let merger: Merger | undefined;

  const values = (name: string, part: WeightView): Float32Array => {
    const { shape, view } = viewOf(checkpoint, name, part);
    return toTensorFlow(checkpoint.readFloat32(name), shape, view);
  };
  /** From the file of the weight without adapters, where there is one that has lost no digits. */
  const merged = (name: string, part: WeightView): Uint8Array | undefined => {
    const { view, dtype } = viewOf(checkpoint, name, part);
    if (!isStoredExactly(dtype, precision, view)) return undefined;
    const file = base.find(name, viewName(view));
    const change = file === undefined ? undefined : changed?.lowRank?.(name);
    const factors = change && lowRankView(change, view);
    if (file === undefined || !factors || !canMerge(type, factors)) return undefined;
    merger ??= openMerger(native, type);
    return merger.add(file, factors);
  };
  return {
    values,
    file(name, part) {
      const isChanged = changed?.names.has(name) ?? false;
      const view = viewName(viewOf(checkpoint, name, part).view);
      const path = (isChanged ? adapted : base).file(name, view, () => {
        onWeight?.();
        return (isChanged ? merged(name, part) : undefined) ?? encoders[precision](values(name, part));
      });
      return { path, type };
    },
    dispose() {
      merger?.dispose();
      merger = undefined;
    },
  };
}

function viewOf({ tensors }: Checkpoint, name: string, part: WeightView) {
  const { shape, dtype } = tensors.get(name)!;
  const plain = defaultView(name, shape);
  const view: LayoutView =
    part === "whole"
      ? plain
      : typeof part === "string"
        ? { layout: part }
        : { ...plain, columns: part.columns };
  return { shape, dtype, view };
}

const halfTypes: Partial<Record<Precision, string>> = { fp16: "F16", bf16: "BF16" };

/** Whether nothing is rounded on the way to a converted weight, or only as every sum in float32 is. */
const isStoredExactly = (dtype: string, precision: Precision, { layout }: LayoutView): boolean =>
  precision === "fp32" || (dtype === halfTypes[precision] && ["kernel", "matrix", "turned"].includes(layout));

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const encoders: Record<Precision, (values: Float32Array) => Uint8Array> = {
  fp32: bytesOf,
  fp16: (values) => bytesOf(float32ToFloat16(values)),
  bf16: (values) => bytesOf(float32ToBfloat16(values)),
};

const storedTypes: Record<Precision, WeightFile["type"]> = {
  fp32: "DT_FLOAT",
  fp16: "DT_HALF",
  bf16: "DT_BFLOAT16",
};
