import type { Node } from "../ops/graph-def.js";
import type { WeightFile } from "../ops/graph-tensors.js";
import { NodeWriter } from "../ops/node-writer.js";
import type { Shape } from "../ops/ops.js";
import type { Native } from "./native.js";
import { openSession } from "./session.js";

export interface MappedWeight extends WeightFile {
  readonly shape: Shape;
}

/** With nothing to wait for, all that is mapped would be a constant to TensorFlow, which copies what it folds. */
const wait: Node = { name: "wait", shape: [1], type: "DT_INT32" };

/**
 * Files of weights as tensors of TensorFlow's. Nothing is read or copied: a tensor's memory is the mapped file, for as
 * long as the tensor lives.
 */
export function mapWeights(
  native: Native,
  files: readonly MappedWeight[],
  cacheRoot: string,
): readonly number[] {
  if (files.length === 0) return [];
  const w = new NodeWriter();
  const results = files.map(({ path, shape, type }, i): [string, Node] => [
    `weight_${i}`,
    w.mapped(path, shape, type),
  ]);
  const { binding } = native;
  const session = openSession(native, { arguments: [wait], nodes: w.nodes, results }, cacheRoot);
  const given = binding.createTensor(wait.shape, binding.TF_INT32, Int32Array.of(0));
  try {
    return session.run([given]);
  } finally {
    binding.deleteTensor(given);
    session.close();
  }
}
