import type { AdaptedPlaces, Adapters } from "../adapters/adapted-checkpoint.js";
import type { AdaptedNetwork } from "../adapters/lora-keys.js";
import type { Values } from "../latents/latents.js";
import type { Filled } from "../models/fields.js";
import type { InputsOf, Network, OutputsOf } from "../models/network.js";
import type { NetworkKind, NetworkOf, SpecOf } from "../models/registry.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import type { WeightsPlace } from "../weights/component.js";
import type { Compilation } from "./compiled-functions.js";

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

/** A network's inputs and outputs as numbers. */
export type Given<N extends Network> = Filled<InputsOf<N>, Input>;
export type Results<N extends Network> = Filled<OutputsOf<N>, Values>;

/** What computes a network at one size. */
export interface Runner<N extends Network = Network> {
  /** @param onCompile told before functions are compiled, as those of a size that is new are when it is first run */
  run(inputs: Given<N>, onCompile?: (compilation: Compilation) => void): Results<N>;
  /**
   * Takes the weights as other adapters change them. False if that takes another runner. One that throws here cannot
   * be run any more.
   */
  adapt?(checkpoint: Checkpoint): boolean;
  dispose(): void;
}

/** Which weights a network gets; plain data. */
export interface WeightsReference {
  /** The model and its network, for people who list the cache. */
  readonly label: string;
  /** A component's, or those in an IP-Adapter's file that make tokens of a picture. */
  readonly weights: WeightsPlace | { readonly imageProjection: string };
  /** Of networks that adapters may change: which of the model's it is, and where all of them are. */
  readonly adapted?: { readonly network: AdaptedNetwork; readonly places: AdaptedPlaces };
  /** What is laid over the weights. */
  readonly adapters?: Adapters;
}

/** All that the process that computes must know to make a runner; plain data. */
export interface RunnerRequest<Kind extends NetworkKind = NetworkKind> {
  readonly spec: SpecOf<Kind>;
  readonly weights: WeightsReference;
  readonly runtime: RuntimeName;
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** Computes the samples of a batch apart, side by side (`Engine`'s `sideBySide`). */
  readonly sideBySide?: boolean;
}

/** Runs a network at whatever size is asked for. */
export type Run = <Kind extends NetworkKind>(
  spec: SpecOf<Kind>,
  inputs: Given<NetworkOf<Kind>>,
) => Promise<Results<NetworkOf<Kind>>>;
