import type { Size } from "../image/image.js";
import { brownianNoise } from "../latents/brownian.js";
import type { Latents } from "../latents/latents.js";
import { createRng } from "../latents/rng.js";
import type { ResolvedOptions } from "../options/resolved.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import { createScheduler, type Scheduler } from "../schedulers/scheduler.js";
import { controlsFor } from "./control.js";
import { type DenoisingStep, denoise } from "./denoise.js";
import { type Call, timed } from "./generation.js";
import { latentShape } from "./loaded.js";
import { drawNoise } from "./noise.js";
import { guidancePlan, predictor } from "./predict.js";
import type { Beginning, Brush, Start } from "./starts.js";

/** One way from noise, or from a noised picture, to latents. */
export interface Pass {
  /** Generated at, in pixels. */
  readonly size: Size;
  readonly steps: number;
  /** Absent: all steps. */
  readonly strength?: number;
  /** Runs all `steps` in spite of the strength. */
  readonly exact?: boolean;
}

/** Network calls of a pass, as far as the scheduler knows them before it runs. */
export function callsOf(call: Call, pass: Pass): number {
  const { from, to } = rangeOf(call.resolved, call, schedulerFor(call, pass).timesteps);
  return to - from;
}

export async function runPass(
  call: Call,
  pass: Pass,
  { index, rng }: Omit<Brush, "scheduler">,
  begin: Beginning,
): Promise<Latents> {
  const scheduler = schedulerFor(call, pass);
  const start = begin({ index, rng, scheduler });
  return timed(call, "denoise", () => sample(call, pass, { index, rng, scheduler }, start));
}

async function sample(call: Call, pass: Pass, brush: Brush, start: Start): Promise<Latents> {
  const { options, resolved, emit } = call;
  const { size } = pass;
  const { scheduler, index } = brush;
  const conditions = call.conditions[index]!;
  const planned = scheduler.timesteps.length;
  const guidance = guidancePlan(resolved, conditions, planned);
  const steps = denoise({
    scheduler,
    start: start.sample,
    predict: await predictor(
      call.adapted[index]!,
      conditions,
      resolved,
      {
        ...{ size, calls: Math.max(pass.steps, planned), guidance },
        ...(scheduler.sigmas && { sigmas: scheduler.sigmas }),
      },
      controlsFor(call, conditions.rows, { size, calls: planned }),
      options.signal,
    ),
    guidance,
    ...(start.beside && { beside: start.beside }),
    ...(start.kept && { kept: start.kept }),
    noise: stepNoise(call, brush, start.sample.shape),
    ...((resolved.denoisingStart ?? resolved.denoisingEnd) !== undefined && {
      range: rangeOf(resolved, call, scheduler.timesteps),
    }),
    ...(options.signal && { signal: options.signal }),
  });
  const began = performance.now();
  let before = began;
  for (let grown = 0; ; ) {
    const next = await steps.next();
    if (next.done) return next.value;
    const now = performance.now();
    // Adaptive schedulers find their steps on the way.
    call.meter.calls += scheduler.timesteps.length - planned - grown;
    grown = scheduler.timesteps.length - planned;
    const event = stepEvent(call, index, next.value, { ms: now - before, sofar: now - began });
    before = now;
    emit(await withPreview(call, event));
  }
}

/** The noise that a scheduler adds: the next draws of the image's generator, or one Brownian path of its seed. */
function stepNoise({ resolved }: Call, { scheduler, rng, index }: Brush, shape: readonly number[]) {
  if (!scheduler.brownian) return () => drawNoise(rng, shape);
  const normal = (seed: number) => drawNoise(createRng("torch", seed), shape);
  return brownianNoise({ ...scheduler.brownian, seed: resolved.seeds[index]!, normal });
}

function stepEvent(
  { meter }: Call,
  image: number,
  { timestep, latents }: DenoisingStep,
  { ms, sofar }: { ms: number; sofar: number },
) {
  const step = ++meter.done;
  const perStep = (meter.ms.denoise + sofar) / step;
  const etaMs = Math.max(0, meter.calls - step) * perStep;
  return { type: "step" as const, image, step, steps: meter.calls, timestep, ms, etaMs, latents };
}

async function withPreview({ options, preview }: Call, event: ReturnType<typeof stepEvent>) {
  const every = typeof options.preview === "object" ? options.preview.every : 1;
  if (!options.preview || event.step % every !== 0) return event;
  return { ...event, previews: await preview(event.latents) };
}

function schedulerFor({ loaded, options, resolved }: Call, pass: Pass): Scheduler {
  const { scheduler, eta } = resolved;
  const run = {
    ...stepsOf(pass, loaded.model.unet.kind === "unet" && loaded.traits.guidanceEmbedding),
    shape: latentShape(loaded, pass.size),
    ...(eta !== undefined && { eta }),
  };
  if (typeof options.scheduler === "function") return options.scheduler(run, loaded.traits.scheduler);
  return createScheduler(scheduler as SchedulerConfig, run);
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

/** The network calls between denoisingStart and denoisingEnd, counted as diffusers' SDXL pipelines do. */
function rangeOf(
  { denoisingStart, denoisingEnd, scheduler, steps }: ResolvedOptions,
  { loaded }: Call,
  timesteps: readonly number[],
) {
  const config = scheduler === "custom" ? loaded.traits.scheduler : scheduler;
  const training = Number(config.num_train_timesteps ?? 1000);
  const cutoff = (share: number) => Math.round(training - share * training);
  const count = (holds: (t: number) => boolean) => timesteps.filter(holds).length;
  const to = denoisingEnd === undefined ? timesteps.length : count((t) => t >= cutoff(denoisingEnd));
  if (denoisingStart === undefined) return { from: 0, to };
  const rest = count((t) => t < cutoff(denoisingStart));
  // Rules of second order look at most timesteps twice: between the two looks nothing can begin.
  const twice = steps > 1 && timesteps.length === 2 * steps - 1;
  return { from: Math.max(0, timesteps.length - rest - (twice && rest % 2 === 0 ? 1 : 0)), to };
}
