import { DiffusionError } from "../errors.js";
import type { Settings } from "./config.js";
import { f32 } from "./vector.js";

/** Gaussian noise as long as the sample. The levels say between which sigmas it lies, for Brownian paths. */
export type NoiseSource = (sigmaFrom: number, sigmaTo: number) => Float32Array;

export interface NoiseRange {
  readonly sigmaMin: number;
  readonly sigmaMax: number;
  /** Of the path, where the configuration has one. */
  readonly seed?: number;
}

export const rangeOf = (sigmas: readonly number[]): NoiseRange => ({
  sigmaMin: Math.min(...sigmas.filter((sigma) => sigma > 0)),
  sigmaMax: Math.max(...sigmas),
});

/** What one generation asks of a scheduler. Give one of `steps`, `timesteps` and `sigmas`. */
export interface Run {
  /** Denoising steps, 1 to the number of training timesteps. Default 50, for LCM and TCD 4. */
  readonly steps?: number | undefined;
  /** Falling training timesteps in place of a spacing. */
  readonly timesteps?: readonly number[] | undefined;
  /** Falling noise levels in place of a schedule; the last one (usually 0) is where the run ends. */
  readonly sigmas?: readonly number[] | undefined;
  /** Image to image: the share of the steps that are run, 0 to 1. */
  readonly strength?: number | undefined;
  /** Share of fresh noise: DDIM (default 0), TCD (default 0.3), ancestral rules of k-diffusion (default 1). */
  readonly eta?: number | undefined;
  /** Shape of the latents, NHWC: for dynamic thresholding of a batch and for networks that predict variances. */
  readonly shape?: readonly number[] | undefined;
  /** Euler and EDM Euler: stochastic churn of Karras et al., algorithm 2. */
  readonly churn?: { amount: number; min?: number; max?: number; noise?: number } | undefined;
  /** LMS: number of derivatives in use, default 4. */
  readonly order?: number | undefined;
  /** DDIM: derive the noise direction again from the clipped clean image. */
  readonly useClippedModelOutput?: boolean | undefined;
  /** LCM and TCD: steps of the distillation schedule, in place of the config's; and the share of it in use. */
  readonly originalSteps?: number | undefined;
  readonly scheduleStrength?: number | undefined;
}

/** The next sample from the network's output for this one. */
export type Step = (
  output: Float32Array,
  evaluation: number,
  sample: Float32Array,
  noise: NoiseSource,
) => Float32Array;

/**
 * What a rule computes before the first evaluation. `evaluation` counts evaluations from 0, over the whole run, even
 * when image to image leaves out the first `begin` evaluations.
 */
export interface Plan {
  readonly timesteps: readonly number[];
  readonly sigmas?: readonly number[];
  readonly initNoiseSigma: number;
  readonly begin: number;
  /** The levels of the whole run, where the noise is meant to come from one Brownian path over them. */
  readonly brownian?: NoiseRange;
  /** What the network's input is divided by. */
  inputScale(evaluation: number): number;
  /** A sample at this evaluation is signal * clean + noise * noise. */
  mix(evaluation: number): readonly [signal: number, noise: number];
  /** The clean sample that the network's output means, where `mix` and the kind of its prediction do not say it. */
  clean?(output: Float32Array, evaluation: number, sample: Float32Array): Float32Array;
  /** Whether the output may be twice as long as the sample, for networks that also predict the variance. */
  readonly takesVariance?: true;
  /** Opens a history of its own. */
  start(): Step;
}

type Frame = Omit<Plan, "start">;

/** Rules on alpha bar: the network sees the sample as it is. `timesteps` index the table of alphas. */
export function alphaFrame(timesteps: readonly number[], alphas: Float32Array, begin: number): Frame {
  const outside = timesteps.find((t) => alphas[t] === undefined);
  if (outside !== undefined)
    throw new DiffusionError(
      "BAD_OPTION",
      `timestep ${outside} lies outside the model's 0 to ${alphas.length - 1}`,
      { hint: "timesteps must be whole numbers; with steps_offset, take fewer steps" },
    );
  return {
    timesteps,
    initNoiseSigma: 1,
    begin,
    inputScale: () => 1,
    mix: (evaluation) => rootsOf(alphas[timesteps[evaluation]!]!),
  };
}

/** sqrt(alpha bar) and sqrt(1 - alpha bar), in float32. */
export const rootsOf = (alphaBar: number): [alpha: number, sigma: number] => [
  f32(Math.sqrt(alphaBar)),
  f32(Math.sqrt(f32(1 - alphaBar))),
];

/** Rules on sigma: sample = clean + sigma * noise, and the network sees sample / sqrt(sigma^2 + 1). */
export function sigmaFrame(
  c: Settings,
  timesteps: readonly number[],
  sigmas: readonly number[],
  begin: number,
): Frame {
  return {
    timesteps,
    sigmas,
    initNoiseSigma: initialSigma(c, sigmas),
    begin,
    inputScale: (evaluation) => inputScaleOf(sigmas[evaluation]!),
    mix: (evaluation) => [1, sigmas[evaluation]!],
  };
}

/** What unit noise becomes the first sample with: leading spacing ends below full noise, so diffusers widens it. */
export function initialSigma(c: Settings, sigmas: readonly number[]): number {
  const max = Math.max(...sigmas);
  return c.timestep_spacing === "leading" && c.dialect === "diffusers" ? inputScaleOf(max) : max;
}

/** sqrt(sigma^2 + 1): brings sample = clean + sigma * noise to about unit variance. */
export const inputScaleOf = (sigma: number): number => f32(Math.sqrt(f32(f32(sigma * sigma) + 1)));

/**
 * Multistep solvers: they keep a list of sigmas, but their sample is alpha * clean + sigma * noise. diffusers starts
 * from noise of variance 1, k-diffusion from exactly the first level.
 * @throws {DiffusionError} BAD_OPTION when two steps begin at one level: the solvers divide by the distance
 */
export function solverFrame(
  c: Settings,
  timesteps: readonly number[],
  sigmas: readonly number[],
  begin: number,
): Frame {
  if (c.solver_order > 1 && sigmas.some((sigma, i) => i < timesteps.length - 1 && sigma === sigmas[i + 1]))
    throw new DiffusionError(
      "BAD_OPTION",
      `${timesteps.length} steps are too many for this schedule: two of them begin at the same noise level`,
      { hint: "take fewer steps, or a rule without a history, such as euler" },
    );
  return {
    timesteps,
    sigmas,
    initNoiseSigma: c.dialect === "k-diffusion" ? levelOf(sigmas[0]!).sigma : 1,
    begin,
    inputScale: () => 1,
    mix: (evaluation) => {
      const { alpha, sigma } = levelOf(sigmas[evaluation]!);
      return [alpha, sigma];
    },
  };
}

/** A noise level in the variance preserving form, with lambda = log(alpha / sigma), half the log SNR. */
export interface Level {
  readonly alpha: number;
  readonly sigma: number;
  readonly lambda: number;
}

/** The level of a sigma given in units of the clean image. */
export function levelOf(ratio: number): Level {
  const alpha = f32(1 / inputScaleOf(ratio));
  const sigma = f32(ratio * alpha);
  return { alpha, sigma, lambda: f32(f32(Math.log(alpha)) - f32(Math.log(sigma))) };
}
