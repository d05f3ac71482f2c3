import type { Values } from "../latents/latents.js";
import type { AdapterFile } from "../weights/formats/tensors.js";
import type { LowRank } from "../weights/low-rank.js";
import {
  type DeltaPlan,
  type MatMul,
  type PartShapes,
  type PartValues,
  plainMatMul,
  planDelta,
} from "./lora-delta.js";
import type { AdaptedTensor, LoraPart } from "./lora-keys.js";
import { planForLatents } from "./lora-latents.js";

/** One tensor that an adapter changes. */
export interface LoraTarget extends AdaptedTensor {
  readonly method: DeltaPlan["method"];
  readonly rank: number | undefined;
  /** Whether the change depends on the weight that it is made to (DoRA, arXiv:2402.09353). */
  readonly decomposed: boolean;
  /**
   * Changes a weight in place.
   * @param weight float32, PyTorch's layout
   * @param scale 0 leaves it as it is; negative is allowed
   */
  apply(weight: Float32Array, scale: number, matMul?: MatMul): void;
  /** The change as two thin matrices, where it is no more than that; `factor` is alpha / rank. */
  readonly lowRank?: () => LowRank & { readonly factor: number };
}

/** What a file's configuration says of a module's alpha. */
export type Alpha =
  | {
      readonly alpha: number;
      readonly rootRank: boolean;
      /** What alpha is divided by, where the factors do not tell (PEFT's LoKr). */
      readonly rank?: number;
    }
  | undefined;

/**
 * How the parts of one module change a tensor.
 *
 * @returns undefined where they do not fit it, or are not all there
 */
export function targetOf(
  file: AdapterFile,
  tensor: AdaptedTensor,
  keys: ReadonlyMap<LoraPart, string>,
  configured: Alpha,
): LoraTarget | undefined {
  const shapes: PartShapes = Object.fromEntries(
    [...keys].map(([part, key]) => [part, file.tensors.get(key)!.shape]),
  );
  const axis = magnitudeAxis(shapes, tensor.shape);
  const isInput = tensor.network === "unet" && tensor.name === "conv_in.weight" && axis === undefined;
  const plan =
    planDelta(shapes, tensor.shape) ?? (isInput ? planForLatents(shapes, tensor.shape) : undefined);
  if (!plan || axis === "misfit") return undefined;

  const read = (part: LoraPart): Values | undefined => {
    const key = keys.get(part);
    return key === undefined
      ? undefined
      : { shape: file.tensors.get(key)!.shape, data: file.readFloat32(key) };
  };
  const strength = strengthOf(plan.rank, read("alpha")?.data[0], configured);
  const parts = (): PartValues =>
    Object.fromEntries([...keys.keys()].filter((part) => part !== "alpha").map((part) => [part, read(part)]));
  const { factors } = plan;
  return {
    ...tensor,
    method: plan.method,
    rank: plan.rank,
    decomposed: axis !== undefined,
    ...(factors && axis === undefined && { lowRank: () => ({ ...factors(parts()), factor: strength }) }),
    apply(weight, scale, matMul = plainMatMul) {
      if (scale === 0) return;
      const change = plan.compute(parts(), matMul, weight);
      const add = (to: Float32Array, factor: number) => {
        for (let i = 0; i < to.length; i++) to[i] = to[i]! + factor * change[i]!;
      };
      const magnitude = read("magnitude");
      const own = read("dora_scale");
      if (axis === undefined || magnitude) add(weight, scale * strength);
      if (axis === undefined) return;
      if (magnitude) return renormalise(weight, tensor.shape, axis, magnitude.data);
      // W + s (DoRA(W) - W): the strength stands outside of the norm, and near 0 the model comes back.
      const whole = weight.slice();
      add(whole, strength);
      renormalise(whole, tensor.shape, axis, own!.data);
      for (let i = 0; i < weight.length; i++) weight[i] = weight[i]! + scale * (whole[i]! - weight[i]!);
    },
  };
}

/** alpha / rank (rank-stabilised: alpha / sqrt(rank)); no alpha means alpha = rank. */
function strengthOf(rank: number | undefined, alpha: number | undefined, configured: Alpha): number {
  if (alpha === undefined && configured?.rank !== undefined) return configured.alpha / configured.rank;
  if (rank === undefined) return 1;
  if (alpha !== undefined) return alpha / rank;
  if (configured === undefined) return 1;
  return configured.alpha / (configured.rootRank ? Math.sqrt(rank) : rank);
}

/**
 * DoRA (arXiv:2402.09353) keeps a length for each output (PEFT: [out], for kernels [1, out, 1, 1]; newer LyCORIS: [out, 1, ...]) or for
 * each input channel (older LyCORIS: [1, in, ...]). PEFT's `lora_magnitude_vector` is applied after the change has its
 * strength; of `dora_scale` the whole result has one, as the web UI and ComfyUI have it.
 */
function magnitudeAxis(
  { magnitude, dora_scale: scale }: PartShapes,
  [out = 0, channels = 0]: readonly number[],
): 0 | 1 | undefined | "misfit" {
  const size = (magnitude ?? scale)?.reduce((product, n) => product * n, 1);
  if (size === undefined) return undefined;
  if (size === out && (magnitude || scale?.[0] === out)) return 0;
  return size === channels && scale?.[0] === 1 && scale[1] === channels ? 1 : "misfit";
}

/** Gives every row (or input channel) of a weight the length that DoRA learned: W * m / |W|. */
function renormalise(
  weight: Float32Array,
  [out = 0, channels = 0]: readonly number[],
  axis: 0 | 1,
  magnitude: Float32Array,
): void {
  const kernel = weight.length / (out * channels);
  const groupOf = (i: number) =>
    axis === 0 ? Math.floor(i / (channels * kernel)) : Math.floor(i / kernel) % channels;
  const squares = new Float64Array(magnitude.length);
  for (let i = 0; i < weight.length; i++) squares[groupOf(i)]! += weight[i]! ** 2;
  const factors = magnitude.map((length, i) => (squares[i] === 0 ? 0 : length / Math.sqrt(squares[i]!)));
  for (let i = 0; i < weight.length; i++) weight[i] = weight[i]! * factors[groupOf(i)]!;
}
