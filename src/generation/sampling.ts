import { internal } from "../errors.js";
import { restoreKept } from "../latents/blend.js";
import { brownianNoise } from "../latents/brownian.js";
import type { Latents } from "../latents/latents.js";
import { createRng, type Rng } from "../latents/rng.js";
import { findsItsSteps, isSecondOrder } from "../schedulers/catalog.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { NoiseSource } from "../schedulers/plan.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { controlsFor } from "./control.js";
import { type Denoising, type DenoisingStep, denoise } from "./denoise.js";
import { type Generation, plannedOf, timed } from "./generation.js";
import { drawNoise, drawNoiseLater } from "./noise.js";
import { type Pass, type Planned, rangeOf, schedulerFor } from "./passes.js";
import { guidancePlan, predictor } from "./predict.js";
import { restoreUnreleased } from "./soft-mask.js";
import type { ImageRun, PrepareStart, Start } from "./starts.js";

export async function runPass(
  generation: Generation,
  pass: Pass,
  { index, rng }: Omit<ImageRun, "scheduler">,
  prepare: PrepareStart,
): Promise<Latents> {
  const scheduler = schedulerFor(plannedOf(generation), pass);
  const start = await prepare({ index, rng, scheduler });
  return timed(generation, "denoise", () => sample(generation, pass, { index, rng, scheduler }, start));
}

async function sample(generation: Generation, pass: Pass, run: ImageRun, start: Start): Promise<Latents> {
  const { options } = generation;
  const { size } = pass;
  const { scheduler, index, rng } = run;
  const conditions = generation.conditions[index]!;
  const planned = scheduler.timesteps.length;
  const guidance = guidancePlan(options, conditions, planned);
  const { noise, ahead } = await stepNoise(plannedOf(generation), pass, {
    ...{ scheduler, rng, seed: options.seeds[index]! },
    shape: start.sample.shape,
  });
  const steps = denoise({
    scheduler,
    start: start.sample,
    predict: await predictor(generation.adapted[index]!, conditions, options, {
      ...{ size, evaluations: Math.max(pass.steps, planned), guidance },
      edited: editedSteps(options.scheduler, pass, planned),
      controls: controlsFor(generation, conditions.rows, { size, evaluations: planned }),
      ...(scheduler.sigmas && { sigmas: scheduler.sigmas }),
    }),
    guidance,
    ...(start.beside && { beside: start.beside }),
    ...restorer(start, scheduler),
    noise,
    ahead,
    ...((options.denoisingStart ?? options.denoisingEnd) !== undefined && {
      range: rangeOf(plannedOf(generation), scheduler.timesteps),
    }),
    ...(options.signal && { signal: options.signal }),
    ...(options.stop && { stop: options.stop }),
  });
  const began = performance.now();
  let before = began;
  for (let grown = 0; ; ) {
    const next = await steps.next();
    if (next.done) return next.value;
    const now = performance.now();
    // Adaptive schedulers find their steps on the way.
    generation.meter.evaluations += scheduler.timesteps.length - planned - grown;
    grown = scheduler.timesteps.length - planned;
    const event = stepEvent(generation, index, next.value, { ms: now - before, sofar: now - began });
    before = now;
    options.onProgress(await withPreview(generation, event));
  }
}

/** What puts the kept part back: all of it after each evaluation, or with a soft mask what is not released yet. */
function restorer({ kept, isSoft }: Start, scheduler: Scheduler): Pick<Denoising, "restore"> {
  if (!kept) return {};
  const restore = isSoft ? restoreUnreleased : restoreKept;
  return { restore: (latents, evaluation) => restore(latents, kept, scheduler, evaluation) };
}

function stepEvent(
  { meter }: Generation,
  image: number,
  { timestep, latents }: DenoisingStep,
  { ms, sofar }: { ms: number; sofar: number },
) {
  const step = ++meter.done;
  const perStep = (meter.ms.denoise + sofar) / step;
  const etaMs = Math.max(0, meter.evaluations - step) * perStep;
  return { type: "step" as const, image, step, steps: meter.evaluations, timestep, ms, etaMs, latents };
}

async function withPreview({ options, preview }: Generation, event: ReturnType<typeof stepEvent>) {
  if (!options.preview || event.step % options.preview.every !== 0) return event;
  return { ...event, previews: await preview(event.latents) };
}

/** The steps that prompt editing counts: as the web UI's, twice as many where each asks the network twice. */
function editedSteps(scheduler: SchedulerConfig | "custom", { steps, before = 0 }: Pass, planned: number) {
  if (scheduler === "custom") return { steps: Math.max(steps, planned), before };
  const each = isSecondOrder(scheduler) ? 2 : 1;
  return { steps: each * steps, before: each * before };
}

/** The noise that a scheduler adds. */
export interface StepNoise {
  /** For the scheduler's `step`. */
  readonly noise: NoiseSource;
  /**
   * Draws what the next step will ask for, a piece at a time: others have the thread in between.
   *
   * @param answers numbers that the network says for each of the sample: 2 where it says a variance, too
   */
  readonly ahead: (evaluation: number, answers: number) => Promise<void>;
}

interface StepNoiseRun {
  readonly scheduler: Scheduler;
  /** Of the image. */
  readonly rng: Rng;
  readonly seed: number | bigint;
  /** Of the sample, [1, h, w, C]. */
  readonly shape: readonly number[];
}

/**
 * The next draws of the image's generator, or one Brownian path of its seed, or of the configuration's.
 *
 * What a step will ask for is known before: an understudy of the scheduler, which is given a single number for a
 * sample, asks for the same. Only a scheduler of the user's own, and one that goes by the numbers that it is given,
 * have no understudy: their noise is drawn when they ask for it.
 */
export async function stepNoise(planned: Planned, pass: Pass, run: StepNoiseRun): Promise<StepNoise> {
  const source = run.scheduler.brownian ? await brownianSource(planned, run) : gaussianSource(planned, run);
  const { scheduler } = planned.options;
  if (scheduler === "custom" || findsItsSteps(scheduler))
    return { noise: source.noise, ahead: async () => {} };
  const understudy = schedulerFor(planned, pass, [1, 1, 1, 1]);
  // A rule may ask a step for its noise one step later.
  const asked: [from: number, to: number][] = [];
  const asking: NoiseSource = (from, to) => {
    asked.push([from, to]);
    return new Float32Array(1);
  };
  return {
    noise: source.noise,
    async ahead(evaluation, answers) {
      understudy.step(new Float32Array(answers), evaluation, new Float32Array(1), asking);
      await source.prepare(asked.splice(0));
    },
  };
}

interface Source {
  readonly noise: NoiseSource;
  readonly prepare: (asked: readonly (readonly [from: number, to: number])[]) => Promise<void>;
}

function gaussianSource({ options }: Planned, { rng, shape }: StepNoiseRun): Source {
  const drawn: Float32Array[] = [];
  return {
    noise: () => drawn.shift() ?? drawNoise(rng, shape),
    async prepare(asked) {
      if (drawn.length > 0) throw internal(`a step left ${drawn.length} portions of its noise`);
      for (const _ of asked) drawn.push(await drawNoiseLater(rng, shape, options.signal));
    },
  };
}

async function brownianSource(
  { options }: Planned,
  { scheduler, seed, shape }: StepNoiseRun,
): Promise<Source> {
  const levels = { seed, ...scheduler.brownian! };
  /** Seeds that the path asks normals of, found out by one whose sample is a single number. */
  const seeds: number[] = [];
  const small = brownianNoise({
    ...levels,
    normal(seed) {
      seeds.push(seed);
      return new Float32Array(1);
    },
  });
  const normals = new Map<number, Float32Array>();
  const drawAll = async () => {
    for (const seed of seeds.splice(0))
      if (!normals.has(seed))
        normals.set(seed, await drawNoiseLater(createRng("torch", seed), shape, options.signal));
  };
  await drawAll();
  const noise = brownianNoise({
    ...levels,
    normal: (seed) => normals.get(seed) ?? drawNoise(createRng("torch", seed), shape),
  });
  return {
    noise,
    async prepare(asked) {
      normals.clear();
      for (const [from, to] of asked) small(from, to);
      await drawAll();
    },
  };
}
