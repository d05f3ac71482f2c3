import type { Adapters } from "../adapters/adapted-checkpoint.js";
import type { Values } from "../latents/latents.js";
import type { NetworkSpec } from "../models/network.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import type { ModelOpening } from "../weights/model.js";

/**
 * What the words mean here, and nowhere else.
 * - `fp32`: float32 weights and arithmetic.
 * - `fp16`: matrices and kernels are float16 on disk and in memory, and cast up where they are used; arithmetic is float32.
 * - `bf16`: matrices and kernels are bfloat16, and so is the arithmetic of products and convolutions; norms,
 *   softmax and everything else are float32. For CPUs with AVX512_BF16 or AMX.
 */
export type Precision = "fp32" | "fp16" | "bf16";
export type RuntimeName = "graph" | "eager";

/** Numbers that go into a network. */
export interface Input {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** A network that is ready to run at one size. */
export interface Runner {
  run(inputs: Readonly<Record<string, Input>>): Record<string, Values>;
  /**
   * Takes the weights as other adapters change them. False if that takes another runner. One that throws here cannot
   * be run any more.
   */
  adapt?(checkpoint: Checkpoint): boolean;
  dispose(): void;
}

/**
 * Where a network's weights are: a model on disk and which of its networks, one network alone ("part"), or an
 * IP-Adapter's file ("image_projection").
 */
export interface WeightsReference {
  readonly model: string;
  readonly role: "unet" | "vae" | `text_encoder.${number}` | "part" | "image_projection";
  readonly opening: ModelOpening;
  /** What is laid over the weights of a UNet or text encoder. */
  readonly adapters?: Adapters;
  /** Of a part: the class of the pipeline that it is for. */
  readonly pipeline?: string;
}

/** All that the process that computes must know to make a runner; plain data. */
export interface RunnerRequest {
  readonly spec: NetworkSpec;
  readonly weights: WeightsReference;
  readonly runtime: RuntimeName;
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** Computes the samples of a batch apart, side by side (`Engine`'s `sideBySide`). */
  readonly sideBySide?: boolean;
}

/** Runs a network at whatever size is asked for. */
export type Run = (
  spec: NetworkSpec,
  inputs: Record<string, Input>,
) => Promise<Readonly<Record<string, Values>>>;
