import { restoreKept } from "../latents/blend.js";
import { brownianNoise } from "../latents/brownian.js";
import type { Latents } from "../latents/latents.js";
import { createRng } from "../latents/rng.js";
import { isSecondOrder } from "../schedulers/catalog.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { controlsFor } from "./control.js";
import { type Denoising, type DenoisingStep, denoise } from "./denoise.js";
import { type Generation, plannedOf, timed } from "./generation.js";
import { drawNoise } from "./noise.js";
import { type Pass, rangeOf, schedulerFor } from "./passes.js";
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
  const { scheduler, index } = run;
  const conditions = generation.conditions[index]!;
  const planned = scheduler.timesteps.length;
  const guidance = guidancePlan(options, conditions, planned);
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
    noise: stepNoise(generation, run, start.sample.shape),
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

/** The noise that a scheduler adds: the next draws of the image's generator, or one Brownian path of its seed, or of the configuration's. */
function stepNoise({ options }: Generation, { scheduler, rng, index }: ImageRun, shape: readonly number[]) {
  if (!scheduler.brownian) return () => drawNoise(rng, shape);
  const normal = (seed: number) => drawNoise(createRng("torch", seed), shape);
  return brownianNoise({ seed: options.seeds[index]!, ...scheduler.brownian, normal });
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
