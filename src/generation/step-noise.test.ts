import { beforeEach, describe, expect, it, vi } from "vitest";
import { brownianNoise } from "../latents/brownian.js";
import { createRng, type Rng } from "../latents/rng.js";
import { schedulerRules } from "../schedulers/lists.js";
import { createScheduler, type Scheduler, schedulerConfig } from "../schedulers/scheduler.js";
import { drawNoise } from "./noise.js";
import type { Pass, Planned } from "./passes.js";
import { stepNoise } from "./step-noise.js";

/** As far as the noise of steps looks. */
function plannedFor(name: string, more: { signal?: AbortSignal; config?: object } = {}): Planned {
  const model = name.startsWith("edm_") ? { _class_name: "EDMEulerScheduler" } : undefined;
  const scheduler = { ...schedulerConfig(name, model), ...more.config };
  return {
    options: {
      ...{ scheduler, eta: 0.7, createScheduler: (run: object) => createScheduler(scheduler, run) },
      ...(more.signal && { signal: more.signal }),
    },
    traits: { factor: 8, channels: 4 },
  } as unknown as Planned;
}

/** How often noise was drawn in one go by what is tested. */
const atOnce = { count: 0 };
vi.mock("./noise.js", async (original) => {
  const noise = await original<typeof import("./noise.js")>();
  const drawNoise: typeof noise.drawNoise = (...args) => {
    atOnce.count++;
    return noise.drawNoise(...args);
  };
  return { ...noise, drawNoise };
});
beforeEach(() => {
  atOnce.count = 0;
});

const shape = [1, 4, 6, 4];
const pass: Pass = { size: { width: 48, height: 32 }, steps: 5 };
const seed = 11;

/** A run of a network that says something about what it sees, with the noise that is given. */
async function sampleOf(
  scheduler: Scheduler,
  noise: (from: number, to: number) => Float32Array,
  ahead: (evaluation: number) => Promise<void> = async () => {},
): Promise<Float32Array> {
  let sample: Float32Array = drawNoise(createRng("torch", 3), shape).map((x) => x * scheduler.initNoiseSigma);
  for (let i = 0; i < scheduler.timesteps.length; i++) {
    const output = scheduler.scaleInput(sample, i).map((x, at) => Math.sin(x + at));
    await ahead(i);
    sample = scheduler.step(output, i, sample, noise);
  }
  return sample;
}

const plainNoise = (scheduler: Scheduler, rng: Rng) =>
  scheduler.brownian
    ? brownianNoise({
        ...{ seed, ...scheduler.brownian },
        normal: (seed) => drawNoise(createRng("torch", seed), shape),
      })
    : () => drawNoise(rng, shape);

describe("the noise of the steps", () => {
  it.each([...schedulerRules])(
    "%s: drawn ahead, a piece at a time, it is the same to the bit",
    async (name) => {
      const planned = plannedFor(name);
      const create = () => planned.options.createScheduler({ steps: 5, shape, eta: 0.7 });
      const rng = createRng("torch", seed);
      const expected = await sampleOf(create(), plainNoise(create(), rng));
      const own = createRng("torch", seed);
      const scheduler = create();
      const { noise, ahead } = await stepNoise(planned, pass, { scheduler, rng: own, seed, shape });
      atOnce.count = 0;
      expect(await sampleOf(scheduler, noise, (i) => ahead(i, 1))).toEqual(expected);
      // The first sample; and nobody knows beforehand what the adaptive one asks for.
      if (name !== "dpm_adaptive") expect(atOnce.count).toBe(1);
      // Whoever draws next goes on where the other does.
      expect(own.normal([16])).toEqual(rng.normal([16]));
    },
  );

  it("of a network that says a variance, too", async () => {
    const planned = plannedFor("ddpm", { config: { variance_type: "learned_range" } });
    const scheduler = planned.options.createScheduler({ steps: 5, shape });
    const rng = createRng("torch", seed);
    const { noise, ahead } = await stepNoise(planned, pass, { scheduler, rng, seed, shape });
    await ahead(0, 2);
    scheduler.step(new Float32Array(2 * 96), 0, new Float32Array(96), noise);
    expect(atOnce.count).toBe(0);
  });

  it.each(["euler_a", "dpmpp_sde"])(
    "%s at 2048 x 2048: others have the thread in between, and it ends when it is aborted",
    async (name) => {
      const large = [1, 256, 256, 4];
      const stop = new AbortController();
      const planned = plannedFor(name, { signal: stop.signal });
      const scheduler = planned.options.createScheduler({ steps: 5, shape: large });
      const rng = createRng("torch", seed);
      const { noise, ahead } = await stepNoise(planned, pass, { scheduler, rng, seed, shape: large });
      let [turns, drawing] = [0, true];
      const others = () => {
        turns++;
        if (drawing) setImmediate(others);
      };
      setImmediate(others);
      await ahead(0, 1);
      drawing = false;
      // 4 x 256 x 256 numbers in pieces of 32768.
      expect(turns).toBeGreaterThanOrEqual(7);
      scheduler.step(new Float32Array(2 ** 18), 0, new Float32Array(2 ** 18), noise);
      expect(atOnce.count).toBe(0);
      setImmediate(() => stop.abort(new Error("enough")));
      await expect(ahead(1, 1)).rejects.toThrow("enough");
    },
  );
});
