import { expect, test } from "vitest";
import { idleSchedule, samplerPair, schedulerEntries, scheduleTypes } from "./catalog.js";
import { createScheduler, schedulerConfig } from "./scheduler.js";

const levels = (choice: Parameters<typeof createScheduler>[0], run: object) => {
  const { timesteps, initNoiseSigma } = createScheduler(choice, run);
  return JSON.stringify([timesteps, initNoiseSigma]);
};

// What AUTOMATIC1111 runs with a schedule, each by its pair; those that refuse one are not asked.
const samplers = schedulerEntries
  .filter(({ label, name, takesSchedule }) => label !== name && (takesSchedule || name === "unipc"))
  .filter(({ name }) => name !== "dpm_adaptive")
  .map(({ label }) => label);

test.each(samplers)("%s: a schedule changes the levels of a run, or is known to be idle", (sampler) => {
  for (const run of [{ steps: 6 }, { steps: 6, strength: 0.5 }])
    for (const schedule of scheduleTypes) {
      const pair = { sampler, schedule };
      const isWhole = !("strength" in run);
      const idle = idleSchedule(pair, schedulerConfig(pair), isWhole ? run : undefined);
      const changed = levels(pair, run) !== levels({ sampler, schedule: "uniform" }, run);
      // "normal" is "uniform" by another name for the levels of these models.
      if (!["uniform", "normal"].includes(schedule))
        expect(`${schedule} ${idle}`).toBe(`${schedule} ${changed ? undefined : schedule}`);
    }
});

test("of DPM adaptive, which finds its levels on the way, it is known as well", () => {
  for (const choice of ["dpm_adaptive_karras", { sampler: "DPM adaptive", schedule: "Karras" }]) {
    expect(idleSchedule(choice, schedulerConfig(choice), { steps: 6 })).toBe("karras");
    // Image to image begins where the schedule says.
    expect(idleSchedule(choice, schedulerConfig(choice))).toBeUndefined();
  }
});

test("AUTOMATIC1111's UniPC has no schedule, ours has", () => {
  expect(samplerPair({ sampler: "UniPC", schedule: "Karras" })).toEqual({ sampler: "UniPC" });
  expect(samplerPair("unipc_karras")).toEqual({ sampler: "UniPC", schedule: "karras" });
  expect(idleSchedule("unipc_karras", schedulerConfig("unipc_karras"), { steps: 6 })).toBeUndefined();
});
