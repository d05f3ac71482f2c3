import { internal } from "../errors.js";
import { brownianNoise } from "../latents/brownian.js";
import { createRng, type Rng } from "../latents/rng.js";
import { findsItsSteps } from "../schedulers/catalog.js";
import type { NoiseSource } from "../schedulers/plan.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { drawNoise, drawNoiseLater } from "./noise.js";
import { type Pass, type Planned, schedulerFor } from "./passes.js";

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
