import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createScheduler } from "../schedulers/scheduler.js";
import { goldenCases, goldenExtra, goldenNumber, goldenTensor, readTensors } from "../testing/golden.js";
import { brownianNoise, seedSequence } from "./brownian.js";
import { createRng } from "./rng.js";

const f32 = Math.fround;
/** 24 runs of DPMSolverSDEScheduler: the draws [draw, batch, C, H, W] of one path, batches of 1 and 2. */
const ownLevels: {
  key: string;
  config: Record<string, unknown>;
  steps: number;
  shape: number[];
  draws: number;
}[] = JSON.parse(readFileSync(goldenExtra("noise/brownian.json"), "utf8"));
const ownDraws = readTensors(goldenExtra("noise/brownian.safetensors"));

const path = (sigmaMin: number, sigmaMax: number, shape: number[], seed = 7) =>
  brownianNoise({ sigmaMin, sigmaMax, seed, normal: (s) => createRng("torch", s).normal(shape) });

describe("brownianNoise", () => {
  it("derives seeds as numpy's SeedSequence with a pool of 24", () => {
    expect(seedSequence(7, [5, 3], 4)).toEqual([1167487741, 594211726, 3626736891, 2420502566]);
    expect(seedSequence(2n ** 40n + 3n, [], 3)).toEqual([1141977856, 379400112, 2541147225]);
  });

  it("gives torchsde's numbers", () => {
    const noise = path(0.0291671, 14.6146, [1, 20]);
    const want: [number, number, number[]][] = [
      [14.614643, 12.5, [0.8862947, -0.6552454, 0.3192854, -0.3748108]],
      [14.614643, 10.7468, [-0.3166542, -0.477557, 0.3398359, -0.4093196]],
      [3, 0.5, [-0.3500946, 0.5001656, -0.8559671, -1.6883694]],
      [0.5, 0.03, [-1.0147442, 0.6466688, 0.9124199, 0.8908364]],
    ];
    for (const [from, to, numbers] of want)
      expect(noise(from, to).slice(0, 4)).toBeCloseTo32(numbers, { abs: 2e-6 });
  });

  it.each(
    goldenCases("scheduler")
      .filter((c) => c.config.scheduler === "DPMSolverSDEScheduler" && c.inputs.step_noise)
      .map((c) => [c.id, c] as const),
  )("gives the reference's increments of %s between the reference's levels", (_, c) => {
    const { shape, data } = goldenTensor(c.inputs.step_noise);
    const [n, ...rest] = shape as [number, ...number[]];
    // Every level but the first stands twice, and behind the last positive one there is no noise.
    const sigmas = [...new Set<number>(c.expected.sigmas.map(goldenNumber).map(f32))].filter((s) => s > 0);
    const noise = path(sigmas.at(-1)!, sigmas[0]!, rest, c.config.config.noise_sampler_seed);
    const size = data.length / n;
    const queries = sigmas.slice(1).flatMap((to, i) => {
      const [t, end] = [-f32(Math.log(sigmas[i]!)), -f32(Math.log(to))];
      const [from, half, last] = [t, f32(t + f32(f32(end - t) * 0.5)), end].map((x) => f32(Math.exp(-x)));
      return [[from!, half!] as const, [from!, last!] as const];
    });
    expect(queries).toHaveLength(n);
    for (const [i, [from, to]] of queries.entries())
      expect(noise(from, to)).toBeCloseTo32(data.slice(i * size, (i + 1) * size), { abs: 2e-5 });
    const scheduler = createScheduler(
      { _class_name: c.config.scheduler, ...c.config.config },
      { steps: c.config.num_inference_steps },
    );
    expect(scheduler.timesteps).toHaveLength(c.expected.timesteps.map(goldenNumber).length);
  });

  it.each(ownLevels.map((c) => [`${c.key}, ${c.steps} steps`, c] as const))(
    "gives torch's draws of %s between the scheduler's own levels",
    (_, { key, config, steps, shape, draws }) => {
      const scheduler = createScheduler({ _class_name: "DPMSolverSDEScheduler", ...config }, { steps });
      const { sigmaMin, sigmaMax } = scheduler.brownian!;
      const noise = path(sigmaMin, sigmaMax, shape, config.noise_sampler_seed as number);
      const { data } = ownDraws.get(key)!;
      const size = data.length / draws;
      let asked = 0;
      let sample = new Float32Array(size);
      for (let i = 0; i < scheduler.timesteps.length; i++)
        sample = new Float32Array(
          scheduler.step(new Float32Array(size), i, sample, (from, to) => {
            const drawn = noise(from, to);
            expect(drawn).toBeCloseTo32(data.slice(asked * size, ++asked * size), { abs: 2e-6 });
            return drawn;
          }),
        );
      expect(asked).toBe(draws);
    },
  );

  it("is one path: increments of neighbouring intervals add up, and order does not matter", () => {
    const [a, b] = [path(0.03, 14.6, [1, 16]), path(0.03, 14.6, [1, 16])];
    const whole = a(10, 2);
    const [upper, lower] = [b(10, 5), b(5, 2)];
    const sum = upper.map((x, i) => (x * Math.sqrt(5) + lower[i]! * Math.sqrt(3)) / Math.sqrt(8));
    expect(sum).toBeCloseTo32(whole, { abs: 1e-6 });
    expect(b(10, 2)).toBeCloseTo32(whole, { abs: 1e-6 });
    expect(a(10, 5)).toBeCloseTo32(upper, { abs: 1e-6 });
  });
});
