import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { goldenExtra } from "../testing/golden.js";
import type { SchedulerConfig } from "./config.js";
import { createScheduler } from "./scheduler.js";

/** Runs of diffusers' EDM classes: `golden-extra/noise/make.py`. */
const runs: {
  scheduler: string;
  config: SchedulerConfig;
  steps: number;
  sigmas: number[];
  /** The first three and the last two. */
  samples: number[][];
}[] = JSON.parse(readFileSync(goldenExtra("noise/edm.json"), "utf8"));
const f32 = Math.fround;
const unit = Float32Array.from({ length: 8 }, (_, i) => Math.cos(7.1 * (i + 1)));

describe("EDM's classes", () => {
  it.each(
    runs.map((run) => [`${run.scheduler} ${JSON.stringify(run.config)} ${run.steps} steps`, run] as const),
  )("%s", (_, { scheduler: className, config, steps, sigmas, samples }) => {
    const scheduler = createScheduler({ _class_name: className, ...config }, { steps, shape: [1, 1, 8, 1] });
    expect(scheduler.sigmas).toBeCloseTo32(sigmas, { rel: 4e-7 });
    let draws = 0;
    let sample: Float32Array = unit.map((x) => x * scheduler.initNoiseSigma);
    const got: Float32Array[] = [];
    for (let i = 0; i < steps; i++) {
      const bias = f32(0.1 * Math.sin(scheduler.timesteps[i]!));
      const output = scheduler
        .scaleInput(sample, i)
        .map((v) => f32(f32(f32(0.3) * f32(Math.tanh(v))) + bias));
      sample = scheduler.step(output, i, sample, () => {
        const strength = 1 + (draws++ % 3);
        return unit.map((x) => x * strength);
      });
      got.push(sample);
    }
    const want = [...got.slice(0, 3), ...got.slice(-2)];
    for (const [i, numbers] of samples.entries())
      expect(want[i]!).toBeCloseTo32(numbers, { abs: 1e-5 * Math.max(...numbers.map(Math.abs)) });
  });
});
