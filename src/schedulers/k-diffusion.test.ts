import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Run } from "./plan.js";
import { noiseSchedule } from "./schedule.js";
import { createScheduler, ruleOf, stableDiffusion } from "./scheduler.js";
import { settings } from "./settings.js";
import { namedSigmas } from "./sigmas.js";

/**
 * Computed by k-diffusion 0.1.1 on torch 2.9 (float32) with AUTOMATIC1111's schedules, on Stable Diffusion's betas:
 * the network, start and noise are the functions below; `calls` are network calls, `sample` is the result.
 */
const reference = JSON.parse(readFileSync(new URL("./k-diffusion.json", import.meta.url), "utf8")) as {
  schedules: Record<string, number[]>;
  runs: { sampler: string; schedule: string; steps: number; eta?: number; calls: number; sample: number[] }[];
};

const f32 = Math.fround;
const network = (x: Float32Array, t: number): Float32Array =>
  x.map((v) => f32(f32(0.3) * f32(Math.tanh(v))) + f32(0.1 * Math.sin(t / 100)));

function generate(sampler: string, schedule: string, run: Run): { calls: number; sample: Float32Array } {
  const scheduler = createScheduler({ sampler, schedule }, run);
  let asked = 0;
  const noise = () => {
    const k = asked++;
    return Float32Array.from({ length: 4 }, (_, i) => Math.sin(12.9898 * (k * 4 + i + 1)) * 1.5);
  };
  let sample: Float32Array = Float32Array.from(
    { length: 4 },
    (_, i) => f32(Math.cos(7.1 * (i + 1))) * scheduler.initNoiseSigma,
  );
  let calls = 0;
  for (; calls < scheduler.timesteps.length; calls++) {
    const output = network(scheduler.scaleInput(sample, calls), scheduler.timesteps[calls]!);
    sample = scheduler.step(output, calls, sample, noise);
  }
  return { calls, sample };
}

describe("AUTOMATIC1111's samplers and schedules", () => {
  it.each(
    reference.runs.map(
      (r) => [`${r.sampler}, ${r.schedule}, ${r.steps} steps, eta ${r.eta ?? 1}`, r] as const,
    ),
  )("%s", (_, { sampler, schedule, steps, eta, calls, sample }) => {
    const got = generate(sampler, schedule, { steps, ...(eta !== undefined && { eta }) });
    if (sampler !== "DPM adaptive") expect(got.calls).toBe(calls);
    else expect(got.calls).toBeLessThanOrEqual(calls);
    expect(got.sample).toBeCloseTo32(sample, { abs: 1e-5 * Math.max(...sample.map(Math.abs)) });
  });

  const config = { ...stableDiffusion, _class_name: "EulerDiscreteScheduler" };
  const table = noiseSchedule(settings(ruleOf(config).defaults, config)).sigmas;
  it.each(Object.entries(reference.schedules))("the levels of %s steps", (name, sigmas) => {
    const [schedule, n] = name.split(" ") as [Parameters<typeof namedSigmas>[0], string];
    expect(namedSigmas(schedule, Number(n), table)).toBeCloseTo32(sigmas, { rel: 2e-6 });
  });
});
