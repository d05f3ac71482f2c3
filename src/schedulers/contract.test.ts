import { expect, it } from "vitest";
import { keepingContract } from "./contract.js";
import { createScheduler, type Scheduler } from "./scheduler.js";

const euler = () => createScheduler("euler", { steps: 2 });
const sample = Float32Array.of(1, 2);

it("a scheduler that keeps the contract is as it was", () => {
  const [own, kept] = [euler(), keepingContract(euler())];
  expect(kept.timesteps).toEqual(own.timesteps);
  expect(kept.sigmas).toEqual(own.sigmas);
  expect(kept.initNoiseSigma).toBe(own.initNoiseSigma);
  expect(kept.step(sample, 0, kept.scaleInput(sample, 0))).toEqual(
    own.step(sample, 0, own.scaleInput(sample, 0)),
  );
  expect(kept.addNoise(sample, sample, 0)).toEqual(own.addNoise(sample, sample, 0));
  expect(kept.clean!(sample, 1, sample)).toEqual(own.clean!(sample, 1, sample));
  expect(keepingContract(createScheduler("dpmpp_sde", { steps: 2 })).brownian).toBeDefined();
});

it.each<[string, Partial<Record<keyof Scheduler, unknown>>, string]>([
  ["no step", { step: undefined }, "scheduler: step is no function"],
  ["a clean that is no function", { clean: 5 }, "scheduler: clean is no function"],
  ["no timesteps", { timesteps: [] }, "scheduler: timesteps must be a list with at least one number"],
  ["a timestep that is no number", { timesteps: [9, Number.NaN] }, "scheduler: timesteps[1] is NaN"],
  [
    "no level",
    { initNoiseSigma: undefined },
    "scheduler: initNoiseSigma must be a number above 0, got undefined",
  ],
])("%s is named", (_, change, message) => {
  expect(() => keepingContract({ ...euler(), ...change } as Scheduler)).toThrow(message);
});

it("what it makes of a sample must be one", () => {
  const short = keepingContract({ ...euler(), step: () => new Float32Array(1) });
  expect(() => short.step(sample, 0, sample)).toThrow(
    "scheduler: step must return a Float32Array of 2 numbers",
  );
  const list = keepingContract({ ...euler(), scaleInput: () => [1, 2] as never });
  expect(() => list.scaleInput(sample, 0)).toThrow("scheduler: scaleInput must return a Float32Array");
  expect(() => keepingContract(undefined as never)).toThrow("must return an object");
});
