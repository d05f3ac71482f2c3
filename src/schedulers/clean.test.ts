import { expect, it } from "vitest";
import { schedulerEntries } from "./catalog.js";
import { createScheduler, type Scheduler, schedulerConfig } from "./scheduler.js";

const names = schedulerEntries.map(({ name }) => name);
const predictions = ["epsilon", "v_prediction", "sample"] as const;
const numbers = (seed: number) => Float32Array.from({ length: 12 }, (_, i) => Math.sin(3.7 * (i + 1) + seed));
const picture = numbers(0);

/** What a sample at an evaluation is made of, as the network's input tells: what it is divided by, or its own share. */
function mixOf(scheduler: Scheduler, evaluation: number): [signal: number, noise: number] {
  const [none, one] = [Float32Array.of(0), Float32Array.of(1)];
  const scale = 1 / scheduler.scaleInput(one, evaluation)[0]!;
  // Not what `addNoise` says: rules with a middle add noise there for where the step leads.
  if (scale > 1 + 1e-6) return [1, Math.sqrt(scale ** 2 - 1)];
  return [scheduler.addNoise(one, none, evaluation)[0]!, scheduler.addNoise(none, one, evaluation)[0]!];
}

/** The answer of a network that knows the picture. */
function answer(
  type: (typeof predictions)[number],
  sample: Float32Array,
  [signal, noise]: [number, number],
): Float32Array {
  const norm = Math.hypot(signal, noise);
  return sample.map((x, i) => {
    const clean = picture[i]!;
    const inIt = (x - signal * clean) / noise;
    if (type === "epsilon") return inIt;
    return type === "sample" ? clean : (signal * inIt - noise * clean) / norm;
  });
}

/** Of the rules that do not run them all. EDM's networks answer in a way of their own, and are below. */
const own: Readonly<Record<string, readonly (typeof predictions)[number][]>> = {
  edm_euler: [],
  edm_dpmpp_2m: [],
  ipndm: ["v_prediction"], // whatever it is told
  pndm: ["epsilon", "v_prediction"],
};
const typesOf = (name: string) => own[name] ?? predictions;

it.each(names.flatMap((name) => typesOf(name).map((type) => [name, type] as const)))(
  "%s tells the clean sample of every evaluation, of %s",
  (name, type) => {
    const scheduler = createScheduler({ ...schedulerConfig(name), prediction_type: type }, { steps: 4 });
    let sample: Float32Array = numbers(5).map((x) => x * scheduler.initNoiseSigma);
    for (let i = 0; i < scheduler.timesteps.length; i++) {
      const output = answer(type, sample, mixOf(scheduler, i));
      expect(scheduler.clean!(output, i, sample), `evaluation ${i}`).toBeCloseTo32(picture, { abs: 2e-3 });
      sample = scheduler.step(output, i, sample, () => numbers(i + 9));
    }
  },
);

/** Where the last step leads to no noise at all, it leads to what the network takes for clean. */
it.each(["euler", "euler_a", "heun", "dpmpp_2s_a", "dpmpp_sde", "lcm", "edm_euler"])(
  "%s ends at the clean sample that it tells of",
  (name) => {
    const scheduler = createScheduler(name, { steps: 3 });
    let sample: Float32Array = numbers(1).map((x) => x * scheduler.initNoiseSigma);
    let told = sample;
    for (let i = 0; i < scheduler.timesteps.length; i++) {
      const output = scheduler.scaleInput(sample, i).map((x) => 0.3 * Math.tanh(x) + 0.1);
      told = scheduler.clean!(output, i, sample);
      sample = scheduler.step(output, i, sample, () => numbers(i + 2));
    }
    expect(told).toBeCloseTo32(sample, { abs: 1e-5, rel: 1e-5 });
  },
);

it("the variance that a network also predicts is no part of it", () => {
  const scheduler = createScheduler("ddpm", { steps: 2, shape: [1, 2, 3, 2] });
  const [sample, output] = [numbers(1), numbers(2)];
  const both = Float32Array.from({ length: 24 }, (_, i) =>
    i % 4 < 2 ? output[Math.floor(i / 4) * 2 + (i % 4)]! : 9,
  );
  expect(scheduler.clean!(both, 0, sample)).toEqual(scheduler.clean!(output, 0, sample));
});

it("of a sample that is nothing but noise, a prediction of the noise tells nothing", () => {
  const model = { ...schedulerConfig("ddim"), rescale_betas_zero_snr: true, timestep_spacing: "trailing" };
  const scheduler = createScheduler(model, { steps: 2 });
  expect(mixOf(scheduler, 0)[0]).toBe(0);
  expect(scheduler.clean!(numbers(2), 0, numbers(1))).toEqual(numbers(1));
});

it("twice as many numbers are refused where no variance is read", () => {
  const [ddim, ddpm] = ["ddim", "ddpm"].map((name) =>
    createScheduler(name, { steps: 2, shape: [1, 2, 3, 2] }),
  );
  const [sample, both] = [numbers(1), new Float32Array(24)];
  expect(() => ddim!.step(both, 0, sample)).toThrow("output has 24 numbers, the sample 12");
  expect(ddpm!.step(both, 0, sample, () => numbers(3))).toHaveLength(12);
});
