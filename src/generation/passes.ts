import type { Region, Size } from "../image/image.js";
import type { ModelTraits, WholeOptions } from "../options/resolved.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { latentShape } from "./loaded.js";

/** One way from noise, or from a noised picture, to latents. */
export interface Pass {
  /** Generated at, in pixels. */
  readonly size: Size;
  readonly steps: number;
  /** Absent: all steps. */
  readonly strength?: number;
  /** Runs all `steps` in spite of the strength. */
  readonly exact?: boolean;
  /** Steps of the pass before this one. */
  readonly before?: number;
  /** What of the whole picture it works on; absent: all of it. */
  readonly part?: Part;
}

/** A part of a picture that a pass works on by itself: what is given for the whole picture is cropped to it. */
export interface Part {
  readonly whole: Size;
  /** In pixels of the whole picture; may hang over its right and its bottom, or start before it, by what fills up cells. */
  readonly region: Region;
}

/** What decides about the passes of a generation: known before anything is loaded. */
export interface Planned {
  readonly options: WholeOptions;
  readonly traits: ModelTraits;
}

/** Network evaluations of a pass, as far as its scheduler knows them before it runs. */
export function evaluationsOf(planned: Planned, { timesteps }: Scheduler): number {
  const { from, to } = rangeOf(planned, timesteps);
  return to - from;
}

/** @param shape of the sample, if not the pass' own */
export function schedulerFor(
  { traits, options }: Planned,
  pass: Pass,
  shape: readonly number[] = latentShape({ traits }, pass.size),
): Scheduler {
  const { eta } = options;
  return options.createScheduler({
    ...stepsOf(pass, traits.guidanceEmbedding),
    shape,
    ...(eta !== undefined && { eta }),
  });
}

/**
 * How a pass is asked of a scheduler. "Exact" takes a schedule of steps / strength, as the web UI's
 * `img2img_fix_steps`; distilled models run all steps, on the last part of their own schedule.
 */
function stepsOf({ steps, strength, exact }: Pass, distilled: boolean) {
  if (strength === undefined) return { steps };
  if (distilled) return { steps, scheduleStrength: strength };
  if (!exact) return { steps, strength };
  const all = Math.floor(steps / Math.min(strength, 0.999));
  return { steps: all, strength: Math.min(1, (steps + 0.5) / all) };
}

/** The evaluations between denoisingStart and denoisingEnd, counted as diffusers' SDXL pipelines do. */
export function rangeOf({ traits, options }: Planned, timesteps: readonly number[]) {
  const { denoisingStart, denoisingEnd, scheduler, steps } = options;
  const config = scheduler === "custom" ? traits.scheduler : scheduler;
  const training = Number(config.num_train_timesteps ?? 1000);
  const cutoff = (share: number) => Math.round(training - share * training);
  const count = (holds: (t: number) => boolean) => timesteps.filter(holds).length;
  const to = denoisingEnd === undefined ? timesteps.length : count((t) => t >= cutoff(denoisingEnd));
  if (denoisingStart === undefined) return { from: 0, to };
  const rest = count((t) => t < cutoff(denoisingStart));
  // Nothing is left to do, whatever the rule.
  if (denoisingStart === 1) return { from: to, to };
  // Rules of second order look at most timesteps twice: between the two looks nothing can begin.
  const twice = steps > 1 && timesteps.length === 2 * steps - 1;
  return { from: Math.max(0, timesteps.length - rest - (twice && rest % 2 === 0 ? 1 : 0)), to };
}
