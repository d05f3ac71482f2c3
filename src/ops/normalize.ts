import { activate } from "./activate.js";
import type { Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";
import { type Activation, elements } from "./ops.js";

/** What is multiplied with and added to what has mean 0 and variance 1. */
interface Affine {
  /** [C] */
  readonly scale: Node;
  /** [C] */
  readonly shift: Node;
  readonly epsilon: number;
}

export interface GroupNormalization extends Affine {
  readonly groups: number;
  /** Applied to the result. */
  readonly activation?: Activation | undefined;
}

/** What the library has, beside the documented operations. */
interface Fused {
  readonly swish: boolean;
  /** Functions that XLA compiles. */
  readonly functions: boolean;
}

/** Of fewer elements, calling a compiled function takes longer than the passes that it saves (bench/NOTES.md). */
const LEAST_FOR_FUNCTION = 2 ** 19;

/**
 * Group norm (Wu and He 2018) of rows [B, pixels, C]. Sums over pixels and over the channels of a group are products
 * with matrices of ones: the one reduction over rows that runs at the speed of memory (bench/NOTES.md). Mean and
 * variance of each group are spread over its channels the same way.
 */
export function normalizeGroups(
  w: NodeWriter,
  rows: Node,
  { scale, shift, groups, epsilon, activation }: GroupNormalization,
  fused: Fused,
): Node {
  const [, pixels, channels] = rows.shape as [number, number, number];
  const inGroup = channels / groups;
  const average = w.constant(new Float32Array(pixels).fill(1 / (pixels * inGroup)), [1, 1, pixels]);
  const ofGroup = w.constant(membership(channels, groups), [1, channels, groups]);
  const overGroups = (y: Node): Node => w.batchMatmul(w.batchMatmul(average, y), ofGroup);
  const overChannels = (y: Node): Node => w.batchMatmul(y, ofGroup, true);
  const mean = overChannels(overGroups(rows));
  const variance = overGroups(w.elementwise("SquaredDifference", [rows, mean], rows.shape));
  const steady = w.elementwise("AddV2", [variance, w.scalar(epsilon)], variance.shape);
  const inverse = overChannels(w.elementwise("Rsqrt", [steady], variance.shape));
  const factor = w.elementwise("Mul", [inverse, scale], mean.shape);
  const offset = w.elementwise("Sub", [shift, w.elementwise("Mul", [mean, factor], mean.shape)], mean.shape);
  const finish = (v: NodeWriter, [x, times, plus]: readonly Node[], hasSwish: boolean): Node => {
    const y = v.elementwise("AddV2", [v.elementwise("Mul", [x!, times!], x!.shape), plus!], x!.shape);
    return activation ? activate(v, y, activation, hasSwish) : y;
  };
  const given = [rows, factor, offset];
  if (!fused.functions || !activation || elements(rows.shape) < LEAST_FOR_FUNCTION)
    return finish(w, given, fused.swish);
  // Three passes over memory become one.
  return w.fused(`normalized_${activation}`, given, (v, inside) => finish(v, inside, false));
}

/** [C, groups]: 1 where a channel belongs to a group. */
function membership(channels: number, groups: number): Float32Array {
  const values = new Float32Array(channels * groups);
  for (let c = 0; c < channels; c++) values[c * groups + Math.floor((c * groups) / channels)] = 1;
  return values;
}

/** Layer norm (Ba et al. 2016) of rows [N, C]. `isOne`: as one operation, where the library has it. */
export function normalizeRows(
  w: NodeWriter,
  rows: Node,
  { scale, shift, epsilon }: Affine,
  isOne: boolean,
): Node {
  if (isOne) {
    const attributes = { T: { type: "DT_FLOAT" }, epsilon: { float: epsilon } } as const;
    return w.emit("_MklLayerNorm", [rows, scale, shift], rows.shape, "DT_FLOAT", attributes);
  }
  const full = (op: string, a: Node, b: Node) => w.elementwise(op, [a, b], rows.shape);
  const difference = full("Sub", rows, w.mean(rows, 1));
  const variance = w.mean(full("Mul", difference, difference), 1);
  const steady = w.elementwise("AddV2", [variance, w.scalar(epsilon)], variance.shape);
  const normal = full("Mul", difference, w.elementwise("Rsqrt", [steady], variance.shape));
  return full("AddV2", full("Mul", normal, scale), shift);
}
