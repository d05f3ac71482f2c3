import { blendLatents, releasedBy, restoreKept, restoreUnreleased } from "../latents/blend.js";
import type { Latents } from "../latents/latents.js";
import { isSecondOrder } from "../schedulers/catalog.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { controlsFor } from "./control.js";
import { type Denoising, type DenoisingStep, denoise } from "./denoise.js";
import { type Generation, plannedOf, timed } from "./generation.js";
import { type Pass, rangeOf, schedulerFor } from "./passes.js";
import { guidancePlan, predictor } from "./predict.js";
import type { ImageRun, PrepareStart, Start } from "./starts.js";
import { stepNoise } from "./step-noise.js";

/**
 * One pass: from noise, or from what a start was prepared of, to latents [1, h, w, C].
 *
 * @returns nothing where it was stopped before its first step
 */
export async function runPass(
  generation: Generation,
  pass: Pass,
  { index, rng }: Omit<ImageRun, "scheduler">,
  prepare: PrepareStart,
): Promise<Latents | undefined> {
  const scheduler = schedulerFor(plannedOf(generation), pass);
  const start = await prepare({ index, rng, scheduler });
  return timed(generation, "denoise", () => sample(generation, pass, { index, rng, scheduler }, start));
}

/** One pass of one image, from its start to its latents; each step is told. */
async function sample(
  generation: Generation,
  pass: Pass,
  run: ImageRun,
  start: Start,
): Promise<Latents | undefined> {
  const steps = denoise(await denoisingOf(generation, pass, run, start));
  const planned = run.scheduler.timesteps.length;
  const began = performance.now();
  let before = began;
  for (let found = 0; ; ) {
    const next = await steps.next();
    if (next.done) {
      if (next.value.isStopped) generation.meter.stopped.add(run.index);
      return next.value.latents;
    }
    const now = performance.now();
    // Adaptive schedulers find their steps on the way.
    const foundBefore = found;
    found = run.scheduler.timesteps.length - planned;
    generation.meter.evaluations += found - foundBefore;
    const event = stepEvent(generation, run.index, next.value, { ms: now - before, sofar: now - began });
    before = now;
    generation.options.onProgress(await withPreview(generation, event, next.value));
  }
}

/** All that the loop is given. */
async function denoisingOf(
  generation: Generation,
  pass: Pass,
  { index, rng, scheduler }: ImageRun,
  start: Start,
): Promise<Denoising> {
  const { options } = generation;
  const { size } = pass;
  const conditions = generation.conditions[index]!;
  const planned = scheduler.timesteps.length;
  const guidance = guidancePlan(options, conditions, planned);
  const { noise, ahead } = await stepNoise(plannedOf(generation), pass, {
    ...{ scheduler, rng, seed: options.seeds[index]! },
    shape: start.sample.shape,
  });
  const predict = await predictor(generation.adapted[index]!, conditions, options, {
    ...{ size, guidance },
    edited: editedSteps(options.scheduler, pass, planned),
    controls: controlsFor(generation, conditions.rows, { pass, evaluations: planned }),
    ...(scheduler.sigmas && { sigmas: scheduler.sigmas }),
  });
  const isPart = options.denoisingStart !== undefined || options.denoisingEnd !== undefined;
  return {
    ...{ scheduler, predict, guidance, noise, ahead },
    start: start.sample,
    ...(start.beside && { beside: start.beside }),
    ...restorer(start, scheduler),
    ...(isPart && { range: rangeOf(plannedOf(generation), scheduler.timesteps) }),
    ...(options.signal && { signal: options.signal }),
    ...(options.stop && { stop: options.stop }),
  };
}

/** What puts the kept part back: all of it after each evaluation, or with a soft mask what is not released yet. */
function restorer(
  { kept, isSoft }: Start,
  scheduler: Scheduler,
): Pick<Denoising, "restore" | "restoreClean"> {
  if (!kept) return {};
  const { original, mask } = kept;
  const restore = isSoft ? restoreUnreleased : restoreKept;
  return {
    restore: (latents, evaluation) => restore(latents, kept, scheduler, evaluation),
    restoreClean: (clean, evaluation) =>
      blendLatents(clean, original, isSoft ? releasedBy(mask, scheduler, evaluation) : mask),
  };
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

async function withPreview(
  { options, preview }: Generation,
  event: ReturnType<typeof stepEvent>,
  { clean }: DenoisingStep,
) {
  if (!options.preview || event.step % options.preview.every !== 0) return event;
  return { ...event, previews: await preview(clean()) };
}

/** The steps that prompt editing counts: as the web UI's, twice as many where each asks the network twice. */
function editedSteps(scheduler: SchedulerConfig | "custom", { steps, before = 0 }: Pass, planned: number) {
  if (scheduler === "custom") return { steps: Math.max(steps, planned), before };
  const each = isSecondOrder(scheduler) ? 2 : 1;
  return { steps: each * steps, before: each * before };
}
