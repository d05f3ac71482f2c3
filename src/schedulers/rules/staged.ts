import { internal } from "../../errors.js";
import type { Settings } from "../config.js";
import { initialSigma, inputScaleOf, type NoiseSource, type Plan, type Step } from "../plan.js";
import { denoised } from "../prediction.js";

/** What a sampler wants the network to see next. */
export interface Evaluation {
  readonly sample: Float32Array;
  readonly timestep: number;
  /** The level of the sample: the network sees sample / sqrt(sigma^2 + 1). */
  readonly sigma: number;
  /** The level to which `addNoise` brings a clean sample at this evaluation, where that is not `sigma`. */
  readonly level?: number;
}

/** The network's answer, and the sample as it stands now (the loop may have blended a mask into it). */
export interface Answer {
  readonly sample: Float32Array;
  readonly output: Float32Array;
  readonly noise: NoiseSource;
}

/** A sampler with several evaluations per step, written from top to bottom; returns the finished sample. */
export type Sampler = Generator<Evaluation, Float32Array, Answer>;

const nothing = new Float32Array(0);

/** The evaluations of a sampler whose course does not depend on what the network says: a run on empty samples. */
function rehearse(sampler: (sample: Float32Array) => Sampler): Evaluation[] {
  const evaluations: Evaluation[] = [];
  const run = sampler(nothing);
  for (let next = run.next(); !next.done; ) {
    evaluations.push(next.value);
    next = run.next({ sample: nothing, output: nothing, noise: () => nothing });
  }
  return evaluations;
}

/** Runs a sampler evaluation by evaluation. `onEvaluation` hears of every further evaluation. */
export function steps(
  sampler: (sample: Float32Array) => Sampler,
  onEvaluation?: (evaluation: Evaluation) => void,
): Step {
  let run: Sampler | undefined;
  return (output, _, sample, noise) => {
    if (!run) {
      run = sampler(sample);
      run.next();
    }
    const next = run.next({ sample, output, noise });
    if (next.done) {
      if (!next.value) throw internal("a sampler was stepped behind its end");
      return next.value;
    }
    onEvaluation?.(next.value);
    return next.value.sample;
  };
}

/** The plan of a sampler on sigmas with a course known beforehand. `sigmas` are those of the whole, uncut grid. */
export function stagedPlan(
  c: Settings,
  sigmas: readonly number[],
  sampler: (sample: Float32Array) => Sampler,
): Plan {
  const evaluations = rehearse(sampler);
  const levels = evaluations.map((evaluation) => evaluation.level ?? evaluation.sigma);
  return {
    timesteps: evaluations.map((evaluation) => evaluation.timestep),
    sigmas: [...levels, sigmas.at(-1)!],
    initNoiseSigma: initialSigma(c, sigmas),
    begin: 0,
    inputScale: (evaluation) => inputScaleOf(evaluations[evaluation]!.sigma),
    mix: (evaluation) => [1, levels[evaluation]!],
    clean: (output, evaluation, sample) =>
      denoised(c.prediction_type, sample, output, evaluations[evaluation]!.sigma),
    start: () => steps(sampler),
  };
}
