import { expect, test } from "vitest";
import { createScheduler, type ModelInfo, schedulerConfig, schedulerEntries } from "../../index.js";
import { checkSteps } from "./steps.js";

const sd1 = schedulerConfig("pndm");
const info: ModelInfo = {
  ...{ path: "", name: "sd1", kind: "text", size: 512, factor: 8 },
  scheduler: "PNDMScheduler",
  schedulerConfig: sd1,
  usual: { steps: 20, width: 512, height: 512 },
};
const check = (more: object) => checkSteps([{ kind: "generate", model: "sd1", count: 1, ...more }], info);

test("what no run could finish is refused, with the words of a run", () => {
  expect(() => check({ scheduler: "lcm", steps: 51 })).toThrow("at most 50");
  expect(() => check({ scheduler: { sampler: "LCM" }, steps: 51 })).toThrow("at most 50");
  expect(() => check({ image: "", strength: 0.3, steps: 3 })).toThrow("leaves none");
  expect(() => check({ steps: 1001 })).toThrow();
});

test("every scheduler either takes as many steps as the model was trained with, or is refused", () => {
  for (const { name } of schedulerEntries) {
    const accepted = isAccepted(() => check({ scheduler: name, steps: 1000 }));
    expect([name, isAccepted(() => run(name, 1000))]).toEqual([name, accepted]);
  }
});

test("what is accepted runs to its end", () => {
  for (const scheduler of ["pndm", "ddim", "dpmpp_2m", "euler", "heun", "unipc"])
    for (const steps of [1, 20, 999]) {
      check({ scheduler, steps });
      expect(Number.isFinite(run(scheduler, steps))).toBe(true);
    }
});

function run(scheduler: string, steps: number): number {
  const rule = createScheduler(schedulerConfig(scheduler, sd1), { steps });
  let sample: Float32Array = Float32Array.of(rule.initNoiseSigma);
  for (let i = 0; i < rule.timesteps.length; i++)
    sample = rule.step(Float32Array.of(0.1), i, sample, () => Float32Array.of(0.5));
  return sample[0]!;
}

function isAccepted(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}
