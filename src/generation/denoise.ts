import { repeatBatch, rowsOf } from "../latents/batch.js";
import { concatChannels } from "../latents/channels.js";
import type { Latents, Values } from "../latents/latents.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { GuidancePlan } from "./guidance.js";

/** The network's answers [B, H, W, O] for a batch of samples at one timestep, one row for each condition. */
export type Predict = (sample: Values, timestep: number, evaluation: number) => Promise<Values>;

export interface Denoising {
  readonly scheduler: Scheduler;
  /** [1, H, W, C], at the scheduler's first noise level. */
  readonly start: Latents;
  readonly predict: Predict;
  /** Which conditions each evaluation asks about (the sample is repeated for each), and what becomes of the answers. */
  readonly guidance: GuidancePlan;
  /** Channels that the network sees beside the sample (mask and masked image, or an image to be upscaled): one row, or one for each condition. */
  readonly beside?: Values;
  /** Puts back what is kept after an evaluation, for networks that do not see the mask. */
  readonly restore?: (latents: Latents, evaluation: number) => Latents;
  /** The same for a sample without noise, which is only shown. */
  readonly restoreClean?: (clean: Latents, evaluation: number) => Latents;
  /** Unit noise, as many numbers as the sample has, for schedulers that add some. */
  readonly noise: (sigmaFrom: number, sigmaTo: number) => Float32Array;
  /** Draws what the step of an evaluation will ask of `noise`. @param answers numbers of the output for each of the sample */
  readonly ahead?: (evaluation: number, answers: number) => Promise<void>;
  /** The evaluations that are run, of the scheduler's: from the first to before the last. Default all. */
  readonly range?: { readonly from: number; readonly to: number };
  readonly signal?: AbortSignal;
  /** Ends it with what the network takes the sample to be by then. */
  readonly stop?: AbortSignal;
}

export interface DenoisingStep {
  /** Of the evaluation, from 0. */
  readonly evaluation: number;
  readonly timestep: number;
  readonly latents: Latents;
  /**
   * What the network takes the sample to be without its noise, by now; the latents after the scheduler's last evaluation,
   * and where it does not say.
   */
  readonly clean: () => Latents;
}

/** What became of a sample. */
export interface Denoised {
  /** Absent where it was stopped before its first evaluation: there is only noise. */
  readonly latents?: Latents;
  /** Evaluations were left out. */
  readonly isStopped: boolean;
}

/** From noise to a sample: asks the network, guides, steps, and yields after each evaluation. */
export async function* denoise(run: Denoising): AsyncGenerator<DenoisingStep, Denoised> {
  const { scheduler, guidance, predict, beside, restore, restoreClean, signal, stop } = run;
  const { from, to } = run.range ?? { from: 0, to: Number.POSITIVE_INFINITY };
  let latents = run.start;
  let clean = (): Latents => latents;
  // Read anew each time: adaptive schedulers find their timesteps on the way.
  for (let index = from; index < Math.min(to, scheduler.timesteps.length); index++) {
    signal?.throwIfAborted();
    if (stop?.aborted) return { ...(index > from && { latents: clean() }), isStopped: true };
    const timestep = scheduler.timesteps[index]!;
    const scaled: Values = { shape: latents.shape, data: scheduler.scaleInput(latents.data, index) };
    const { rows, guide } = guidance(index);
    const sample = beside
      ? concatChannels([scaled, beside.shape[0] === 1 ? beside : rowsOf(beside, rows)])
      : scaled;
    const answers = await predict(repeatBatch(sample, rows.length), timestep, index);
    signal?.throwIfAborted();
    const output = guide(apart(answers));
    await run.ahead?.(index, output.length / latents.data.length);
    const { shape, data: seen } = latents;
    latents = { shape, data: scheduler.step(output, index, seen, run.noise) };
    if (restore) latents = restore(latents, index);
    clean = () => {
      if (!scheduler.clean || index + 1 >= scheduler.timesteps.length) return latents;
      const whole = { shape, data: scheduler.clean(output, index, seen) };
      return restoreClean ? restoreClean(whole, index) : whole;
    };
    yield { evaluation: index, timestep, latents, clean };
  }
  return { latents, isStopped: false };
}

/** What was said for each condition. */
function apart({ shape, data }: Values): Float32Array[] {
  const count = shape[0]!;
  const length = data.length / count;
  return Array.from({ length: count }, (_, i) => data.subarray(i * length, (i + 1) * length));
}
