import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { goldenExtra } from "../testing/golden.js";
import type { SchedulerConfig } from "./config.js";
import { createScheduler, ruleOf } from "./scheduler.js";
import { settings } from "./settings.js";
import { pointGrid } from "./sigmas.js";
import { exp, log, numpyLog, sqrt } from "./torch-functions.js";

/** Values of torch, numpy and diffusers, float32 numbers as they are: `golden-extra/noise/make.py`. */
const reference = (file: string) => JSON.parse(readFileSync(goldenExtra(`noise/${file}.json`), "utf8"));
const f32 = Math.fround;

describe("functions of float32 numbers, to the last bit", () => {
  const values: Record<string, number[]> = reference("functions");
  it.each([
    ["sqrt", sqrt, "x"],
    ["log", log, "x"],
    ["numpyLog", numpyLog, "x"],
    ["exp", exp, "y"],
  ] as const)("%s", (name, of, at) => {
    expect(values[at]!.map(of)).toEqual(values[name]);
  });

  it("ends and what is no number are those of Math", () => {
    expect([0, 1, Number.POSITIVE_INFINITY, -1].map(sqrt)).toEqual([
      0,
      1,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    expect([0, Number.POSITIVE_INFINITY, -1].map(log)).toEqual([
      Number.NEGATIVE_INFINITY,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ]);
    expect([Number.NEGATIVE_INFINITY, 0, 1000].map(exp)).toEqual([0, 1, Number.POSITIVE_INFINITY]);
  });
});

interface Table {
  readonly scheduler: string;
  readonly config: SchedulerConfig;
  readonly steps: number;
  readonly sigmas: number[];
  readonly timesteps: number[];
}

describe("tables of levels, to the last bit with torch's square root", () => {
  const tables: Table[] = reference("tables");
  it.each(tables.map((t) => [`${t.scheduler} ${JSON.stringify(t.config)} ${t.steps} steps`, t] as const))(
    "%s",
    (_, { scheduler, config, steps, sigmas, timesteps }) => {
      const named = { _class_name: scheduler, ...config };
      const c = settings(ruleOf(named).defaults, named);
      const round = scheduler === "DPMSolverSDEScheduler" ? (t: number) => t : f32;
      const grid = pointGrid(c, { steps }, round, sqrt);
      // Heun and DPM++ SDE of the reference list every level but the first twice.
      const doubled = scheduler === "EulerDiscreteScheduler" ? 1 : 2;
      expect(grid.sigmas).toEqual(sigmas.filter((_, i) => doubled === 1 || i === 0 || i % 2 === 1));
      const shown = timesteps.filter((_, i) => i % doubled === 0).map(f32);
      expect(grid.timesteps.map(f32)).toEqual(shown);
    },
  );

  it("published levels keep the correctly rounded root, which is never farther off than a bit", () => {
    for (const { scheduler, config, steps, sigmas } of tables) {
      if (scheduler !== "EulerDiscreteScheduler" || config.rescale_betas_zero_snr) continue;
      const own = createScheduler({ _class_name: scheduler, ...config }, { steps }).sigmas!;
      expect(own).toBeCloseTo32(sigmas, { rel: 2.5e-7 });
    }
  });
});

describe("DEIS on curves whose levels lie close together", () => {
  const runs: (Omit<Table, "sigmas"> & { samples: number[][] })[] = reference("trajectories");
  it.each(runs.map((t) => [`${JSON.stringify(t.config)} ${t.steps} steps`, t] as const))("%s", (_, run) => {
    const scheduler = createScheduler({ _class_name: run.scheduler, ...run.config }, { steps: run.steps });
    let sample: Float32Array = Float32Array.from(
      { length: 8 },
      (_, i) => f32(Math.cos(7.1 * (i + 1))) * scheduler.initNoiseSigma,
    );
    for (const [i, want] of run.samples.entries()) {
      const bias = f32(0.1 * Math.sin(scheduler.timesteps[i]! / 100));
      const output = sample.map((v) => f32(f32(f32(0.3) * f32(Math.tanh(v))) + bias));
      sample = scheduler.step(output, i, sample);
      expect(sample).toBeCloseTo32(want, { abs: 1e-6 * Math.max(...want.map(Math.abs)) });
    }
  });
});
