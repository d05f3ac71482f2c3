import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DiffusionError } from "../errors.js";
import { samplerPair, schedulerEntries } from "./catalog.js";
import type { SchedulerConfig } from "./config.js";
import { sigmaSchedules } from "./lists.js";
import type { Run } from "./plan.js";
import {
  createScheduler,
  type Scheduler,
  type SchedulerChoice,
  schedulerConfig,
  stableDiffusion,
} from "./scheduler.js";

const names = schedulerEntries.map(({ name }) => name);
const noiseOf = (k: number, length: number) =>
  Float32Array.from({ length }, (_, i) => Math.sin(12.9898 * (k * length + i + 1)) * 1.5);

/** Runs a scheduler to its end with a network and returns every sample. */
function samplesOf(
  scheduler: Scheduler,
  first: Float32Array,
  network: (input: Float32Array, t: number, i: number) => Float32Array,
): Float32Array[] {
  let asked = 0;
  let sample = first;
  const samples: Float32Array[] = [];
  for (let i = 0; i < scheduler.timesteps.length; i++) {
    const output = network(scheduler.scaleInput(sample, i), scheduler.timesteps[i]!, i);
    sample = scheduler.step(output, i, sample, () => noiseOf(asked++, sample.length));
    samples.push(sample);
  }
  return samples;
}

const smooth = (x: Float32Array, t: number) => x.map((v) => 0.3 * Math.tanh(v) + 0.1 * Math.sin(t / 100));

function refusal(choice: SchedulerChoice, run?: Run): DiffusionError {
  try {
    createScheduler(choice, run);
  } catch (error) {
    expect(error).toBeInstanceOf(DiffusionError);
    return error as DiffusionError;
  }
  throw new Error("was accepted");
}

describe("names", () => {
  it.each([
    ["ddim", "DDIMScheduler", {}],
    ["dpmpp_2m", "DPMSolverMultistepScheduler", { algorithm_type: "dpmsolver++", solver_order: 2 }],
    ["dpmpp_2m_karras", "DPMSolverMultistepScheduler", { use_karras_sigmas: true }],
    ["dpmpp_2m_sde_exponential", "DPMSolverMultistepScheduler", { use_exponential_sigmas: true }],
    ["euler_a_karras", "EulerAncestralDiscreteScheduler", { schedule: "karras" }],
    ["euler_sgm_uniform", "EulerDiscreteScheduler", { schedule: "sgm_uniform" }],
    ["restart", "restart", {}],
    ["EulerDiscreteScheduler", "EulerDiscreteScheduler", {}],
    ["LMSDiscrete", "LMSDiscreteScheduler", {}],
    ["DPM++ 2M Karras", "DPMSolverMultistepScheduler", { schedule: "karras", dialect: "k-diffusion" }],
    ["DPM++ 2M SDE Heun Exponential", "DPMSolverMultistepScheduler", { solver_type: "heun" }],
    ["euler a", "EulerAncestralDiscreteScheduler", { schedule: "uniform" }],
    ["k_dpmpp_2m_ka", "DPMSolverMultistepScheduler", { schedule: "karras" }],
    ["DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", { discard_next_to_last_sigma: true }],
    ["PLMS", "PNDMScheduler", {}],
  ])("%s", (name, _class_name, keys) => {
    expect(schedulerConfig(name)).toMatchObject({ _class_name, ...keys });
    expect(createScheduler(name, { steps: 5 }).timesteps.length).toBeGreaterThan(0);
  });

  it("takes AUTOMATIC1111's pairs, by label or by name", () => {
    const karras = createScheduler("DPM++ 2M Karras", { steps: 9 });
    for (const schedule of ["Karras", "karras"])
      expect(createScheduler({ sampler: "DPM++ 2M", schedule }, { steps: 9 }).sigmas).toEqual(karras.sigmas);
    expect(schedulerConfig({ sampler: "DPM++ SDE", schedule: "Automatic" }).schedule).toBe("karras");
    expect(schedulerConfig({ sampler: "DPM++ SDE Exponential", schedule: "Automatic" }).schedule).toBe(
      "exponential",
    );
    expect(schedulerConfig({ sampler: "Euler", schedule: "Align Your Steps" }).schedule).toBe(
      "align_your_steps",
    );
    expect(schedulerConfig({ sampler: "DDIM", schedule: "Automatic" })._class_name).toBe("DDIMScheduler");
  });

  it("puts a scheduler on a model's configuration as from_config does", () => {
    const model = {
      ...stableDiffusion,
      timestep_spacing: "leading",
      prediction_type: "v_prediction",
      extra: [1],
    };
    expect(schedulerConfig("euler", model)).toEqual({ ...model, _class_name: "EulerDiscreteScheduler" });
    const timesteps = (name: string, config: SchedulerConfig) => [
      ...createScheduler(schedulerConfig(name, config), { steps: 4 }).timesteps,
    ];
    expect(timesteps("euler", stableDiffusion)).toEqual([999, 666, 333, 0]); // Euler's own default spacing
    expect(timesteps("euler", model)).toEqual([751, 501, 251, 1]);
    expect(timesteps("ddim", stableDiffusion)).toEqual([751, 501, 251, 1]);
    expect(timesteps("pndm", stableDiffusion)).toEqual([751, 501, 501, 251, 1]);
  });
});

describe("models with EDM's preconditioning", () => {
  const model = {
    _class_name: "EDMDPMSolverMultistepScheduler",
    ...{ prediction_type: "epsilon", sigma_min: 0.002, sigma_max: 80, sigma_data: 0.5, solver_order: 2 },
  };

  it("run in EDM's own rules, whatever name is given", () => {
    expect(schedulerConfig("euler", model)).toEqual({ ...model, _class_name: "EDMEulerScheduler" });
    expect(schedulerConfig("DPM++ 2M Karras", model)).toMatchObject({
      _class_name: "EDMDPMSolverMultistepScheduler",
      sigma_schedule: "karras",
    });
    expect(schedulerConfig("dpmpp_2m_sde", model)).toMatchObject({ algorithm_type: "sde-dpmsolver++" });
    for (const name of ["ddim", "heun", "dpmpp_sde", "euler_a"])
      expect(() => schedulerConfig(name, model)).toThrow(/EDM preconditioning/);
    expect(() => schedulerConfig("euler_beta", model)).toThrow(/no beta schedule/);
  });

  it("are not what other models are", () => {
    expect(() => schedulerConfig("edm_euler", stableDiffusion)).toThrow(/runs only models with EDM/);
  });

  it("classes of parallel sampling step as the plain ones", () => {
    for (const name of ["DDIM", "DDPM"]) {
      const run = (className: string) => {
        const scheduler = createScheduler({ ...stableDiffusion, _class_name: className }, { steps: 3 });
        let sample: Float32Array = Float32Array.of(0.5, -1);
        const noise = () => Float32Array.of(0.25, 2);
        for (const i of scheduler.timesteps.keys())
          sample = scheduler.step(sample.map(Math.sin), i, sample, noise);
        return [[...scheduler.timesteps], [...sample]];
      };
      expect(run(`${name}ParallelScheduler`)).toEqual(run(`${name}Scheduler`));
      expect(schedulerConfig(`${name}ParallelScheduler`)._class_name).toBe(`${name}Scheduler`);
      expect(samplerPair(`${name}ParallelScheduler`)).toEqual(samplerPair(`${name}Scheduler`));
    }
  });

  it("an unknown class is never answered with the name of another", () => {
    for (const wanted of [
      "EDMHeunScheduler",
      "CogVideoXDDIMScheduler",
      "DPMSolverMultistepInverseScheduler",
    ]) {
      const { hint } = refusal({ _class_name: wanted });
      expect(hint).not.toMatch(/did you mean/);
      expect(hint).toMatch(/no other stands in/);
    }
  });
});

describe("as many steps as training timesteps", () => {
  const known = schedulerEntries.map((entry) => entry.name).filter((name) => name !== "dpm_adaptive"); // finds its steps
  it.each(known)("%s runs them, or refuses them at once", (name) => {
    for (const steps of [1, 2, 3, 499, 501, 999, 1000]) {
      let scheduler: Scheduler;
      try {
        scheduler = createScheduler(name, { steps });
      } catch (error) {
        expect((error as DiffusionError).code).toBe("BAD_OPTION");
        continue;
      }
      let sample: Float32Array = Float32Array.of(0.5, -0.25);
      for (let i = 0; i < scheduler.timesteps.length; i++)
        sample = scheduler.step(Float32Array.of(0.1, -0.2), i, sample, () => Float32Array.of(0.3, -0.1));
      expect(sample.every(Number.isFinite)).toBe(true);
    }
  });

  it("pndm runs all 1000", () => {
    expect(createScheduler("pndm", { steps: 1000 }).timesteps).toHaveLength(1001);
  });
});

describe("the list", () => {
  const formulas: Record<string, (n: number) => number> = {
    N: (n) => n,
    "2N - 1": (n) => 2 * n - 1,
    "N + 1 (with Runge-Kutta N + 9)": (n) => n + 1,
  };
  it.each(schedulerEntries.filter((s) => s.name !== "dpm_adaptive"))(
    "counts the calls of $name",
    ({ name, calls }) => {
      for (const steps of [2, 7, 20, 40])
        expect(createScheduler(name, { steps }).timesteps).toHaveLength(formulas[calls]!(steps));
    },
  );

  it.each(schedulerEntries)("says truly whether $name adds noise", ({ name, stochastic }) => {
    let asked = 0;
    const scheduler = createScheduler(name, { steps: 24, ...(stochastic === "eta" && { eta: 0.5 }) });
    let sample: Float32Array = noiseOf(3, 8);
    for (let i = 0; i < scheduler.timesteps.length; i++)
      sample = scheduler.step(smooth(sample, 1), i, sample, () => noiseOf(asked++, 8));
    expect(asked > 0).toBe(stochastic !== false);
  });
});

describe("refusals", () => {
  it.each<[string, SchedulerChoice, Run | undefined, RegExp, RegExp?]>([
    ["a misspelt name", "eular", undefined, /no scheduler "eular"/, /euler/],
    ["a misspelt label", "DPM++ 2M Karas", undefined, /no scheduler "DPM\+\+ 2M Karas"/, /DPM\+\+ 2M/],
    [
      "a misspelt schedule",
      { sampler: "Euler", schedule: "Karas" },
      undefined,
      /no schedule type "Karas"/,
      /karras/,
    ],
    [
      "a misspelt class",
      { _class_name: "EulerDiscretScheduler" },
      undefined,
      /EulerDiscretScheduler/,
      /EulerDiscreteScheduler/,
    ],
    ["no class", { beta_start: 0.1 }, undefined, /_class_name is missing/],
    ["a schedule without sigmas", "ddim_karras", undefined, /ddim has no karras schedule/],
    ["0 steps", "euler", { steps: 0 }, /steps must be a whole number from 1 to 1000, not 0/],
    ["-1 steps", "ddim", { steps: -1 }, /not -1/],
    ["1.5 steps", "pndm", { steps: 1.5 }, /not 1.5/],
    ["NaN steps", "unipc", { steps: Number.NaN }, /not NaN/],
    ["1001 steps", "dpmpp_2m", { steps: 1001 }, /not 1001/, /1000 timesteps/],
    ["too many steps for LCM", "lcm", { steps: 60 }, /at most 50, not 60/],
    ["steps and timesteps", "euler", { steps: 2, timesteps: [900, 10] }, /not several/],
    ["rising timesteps", "euler", { timesteps: [10, 900] }, /fall strictly/],
    ["a timestep outside", "ddim", { timesteps: [1000, 1] }, /between 0 and 999/],
    ["a fractional timestep in a table", "ddim", { timesteps: [500.5, 1] }, /500.5/],
    ["rising sigmas", "euler", { sigmas: [1, 2, 0] }, /fall strictly/],
    ["sigmas for DDIM", "ddim", { sigmas: [10, 0] }, /ddim cannot run custom sigmas/],
    ["a list and a curve", "euler_karras", { timesteps: [900, 10] }, /contradict/],
    ["strength that leaves nothing", "euler", { steps: 10, strength: 0.05 }, /leaves none of 10/],
    ["strength above 1", "euler", { steps: 10, strength: 1.5 }, /strength must be/],
    [
      "two curves",
      { _class_name: "EulerDiscreteScheduler", use_karras_sigmas: true, use_beta_sigmas: true },
      undefined,
      /use_karras_sigmas and use_beta_sigmas contradict/,
    ],
    [
      "an unknown value",
      { _class_name: "DDIMScheduler", timestep_spacing: "trailling" },
      undefined,
      /timestep_spacing must be one of/,
      /trailing/,
    ],
    ["a NaN", { _class_name: "DDIMScheduler", beta_end: Number.NaN }, undefined, /beta_end must be a number/],
    ["a string for a number", { _class_name: "DDIMScheduler", beta_end: "0.1" }, undefined, /beta_end/],
    [
      "a noise solver that ends at zero",
      { _class_name: "DPMSolverMultistepScheduler", algorithm_type: "dpmsolver" },
      undefined,
      /final_sigmas_type zero/,
    ],
    [
      "PNDM on a sample predictor",
      { _class_name: "PNDMScheduler", prediction_type: "sample" },
      undefined,
      /predicts the sample/,
    ],
    ["Runge-Kutta with 3 steps", { _class_name: "PNDMScheduler" }, { steps: 3 }, /at least 4 steps/],
    ["a negative eta", "ddim", { steps: 4, eta: -1 }, /eta must be/],
    ["a NaN eta", "euler_a", { steps: 4, eta: Number.NaN }, /eta must be/],
    ["TCD with eta 2", "tcd", { steps: 4, eta: 2 }, /eta/],
  ])("%s", (_, choice, run, message, hint) => {
    const error = refusal(choice, run);
    expect(error.code).toBe("BAD_OPTION");
    expect(error.message).toMatch(message);
    if (hint) expect(error.hint).toMatch(hint);
  });

  it("flow matching", () => {
    expect(refusal({ _class_name: "UniPCMultistepScheduler", use_flow_sigmas: true }).code).toBe(
      "UNSUPPORTED",
    );
  });

  it("a step outside the run, and a stochastic rule without noise", () => {
    const scheduler = createScheduler("euler_a", { steps: 3 });
    const sample = noiseOf(1, 4);
    expect(() => scheduler.step(sample, 3, sample)).toThrow(/step 3 of a run with steps 0 to 2/);
    expect(() => scheduler.step(sample, 0, sample)).toThrow(/noise function/);
    expect(() => scheduler.step(noiseOf(1, 3), 0, sample)).toThrow(/output has 3 numbers, the sample 4/);
    expect(() => scheduler.addNoise(sample, noiseOf(1, 3), 0)).toThrow(/noise has 3 numbers/);
  });

  it("accepts what real files contain", () => {
    const config = {
      ...stableDiffusion,
      _class_name: "DPMSolverMultistepScheduler",
      lambda_min_clipped: -Infinity,
    };
    expect(
      createScheduler({ ...config, _diffusers_version: "0.6", trained_betas: null }, { steps: 5 }).timesteps,
    ).toHaveLength(5);
  });
});

const anyConfig = fc.record({
  name: fc.constantFrom(
    ...names.filter((n) => n !== "ipndm" && !n.startsWith("edm_") && n !== "dpm_adaptive"),
  ),
  schedule: fc.option(fc.constantFrom(...sigmaSchedules)),
  steps: fc.integer({ min: 1, max: 60 }),
  timestep_spacing: fc.constantFrom("leading", "linspace", "trailing"),
  prediction_type: fc.constantFrom("epsilon", "v_prediction"),
  steps_offset: fc.constantFrom(0, 1),
  betas: fc.constantFrom(
    { beta_schedule: "linear", beta_start: 0.0001, beta_end: 0.02 },
    { beta_schedule: "scaled_linear", beta_start: 0.00085, beta_end: 0.012 },
  ),
});

function schedulerOf({
  name,
  schedule,
  steps,
  betas,
  ...keys
}: typeof anyConfig extends fc.Arbitrary<infer T> ? T : never) {
  const { takesSchedule } = schedulerEntries.find((s) => s.name === name)!;
  const distilled = name === "lcm" || name === "tcd";
  const model = { ...stableDiffusion, ...betas, ...keys };
  const choice = schedule && takesSchedule ? `${name}_${schedule}` : name;
  return createScheduler(schedulerConfig(choice, model), { steps: distilled ? Math.min(steps, 50) : steps });
}

/** Rules that visit levels more than once, go back up, or whose last levels share a whole timestep. */
const repeats = new Set(["pndm", "heun", "dpm2", "dpm2_a", "dpmpp_sde", "dpmpp_2s_a", "restart", "dpm_fast"]);
const rounds = new Set([
  "dpmpp_2m",
  "dpmpp_2m_sde",
  "dpmpp_2m_sde_heun",
  "dpmpp_3m_sde",
  "dpm_single",
  "deis",
  "unipc",
]);

describe("properties", () => {
  it("any configuration has finite timesteps in order, and finite samples", () => {
    fc.assert(
      fc.property(anyConfig, (config) => {
        const scheduler = schedulerOf(config);
        const { timesteps } = scheduler;
        expect(timesteps.every((t) => Number.isFinite(t) && t >= 0 && t < 1000)).toBe(true);
        if (!repeats.has(config.name))
          for (let i = 1; i < timesteps.length; i++) {
            if (rounds.has(config.name) && config.schedule)
              expect(timesteps[i]!).toBeLessThanOrEqual(timesteps[i - 1]!);
            else expect(timesteps[i]!).toBeLessThan(timesteps[i - 1]!);
          }
        const first = noiseOf(0, 4).map((v) => v * scheduler.initNoiseSigma);
        for (const sample of samplesOf(scheduler, first, smooth))
          expect(sample.every(Number.isFinite)).toBe(true);
      }),
      { numRuns: 300, seed: 4 },
    );
  });

  it("noise that a perfect network knows comes off again", () => {
    const exact = names.filter((n) => n !== "ipndm" && !n.startsWith("edm_") && n !== "lcm" && n !== "ddpm");
    const deterministic = exact.filter(
      (n) => schedulerEntries.find((s) => s.name === n)!.stochastic !== true,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...deterministic),
        fc.integer({ min: 2, max: 40 }),
        fc.double({ min: 0.2, max: 1, noNaN: true }),
        (name, steps, strength) => {
          const run: Run = { steps, strength, eta: 0 };
          const skipped = steps - Math.floor(steps * strength);
          if (skipped === steps) return;
          // Flaws of the reference in image to image: PNDM loses a step because its repeated timestep is cut off, LMS
          // weighs its first derivatives as if it had the ones before.
          if ((name === "pndm" || name === "lms") && skipped > 0) return;
          const scheduler = createScheduler({ ...schedulerConfig(name), set_alpha_to_one: true }, run);
          const [clean, noise] = [noiseOf(1, 16), noiseOf(2, 16)];
          const samples = samplesOf(scheduler, scheduler.addNoise(clean, noise, 0), () => noise);
          // DEIS and PNDM end at the first training timestep, where 3 % of the noise is left.
          const leftover = name === "deis" || name === "pndm" || name === "tcd" ? 0.1 : 2e-4;
          expect(samples.at(-1)!).toBeCloseTo32(clean, { abs: leftover });
        },
      ),
      { numRuns: 200, seed: 5 },
    );
  });

  it("stochastic rules end on the clean sample that the network predicts", () => {
    const clean = noiseOf(1, 16);
    for (const name of [
      "euler_a",
      "dpm2_a",
      "dpmpp_sde",
      "dpmpp_2s_a",
      "dpmpp_2m_sde",
      "dpmpp_3m_sde",
      "restart",
      "lcm",
      "ddpm",
    ]) {
      const config = { ...schedulerConfig(name), prediction_type: "sample" };
      const scheduler = createScheduler(config, { steps: 12 });
      const first = scheduler.addNoise(clean, noiseOf(2, 16), 0);
      expect(samplesOf(scheduler, first, () => clean).at(-1)!, name).toBeCloseTo32(clean, { abs: 1e-5 });
    }
  });

  it("two runs never share state, and a run can be taken again", () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.integer({ min: 4, max: 25 }), (name, steps) => {
        const [a, b] = [createScheduler(name, { steps }), createScheduler(name, { steps })];
        const first = (s: Scheduler, k: number) => noiseOf(k, 4).map((v) => v * s.initNoiseSigma);
        const alone = samplesOf(a, first(a, 1), smooth);
        // b runs on another sample at the same time as a runs again.
        let [x, y] = [first(a, 1), first(b, 9)] as [Float32Array, Float32Array];
        let asked = 0;
        for (let i = 0; i < a.timesteps.length; i++) {
          x = a.step(smooth(a.scaleInput(x, i), a.timesteps[i]!), i, x, () => noiseOf(asked++, 4));
          if (i < b.timesteps.length)
            y = b.step(smooth(b.scaleInput(y, i), b.timesteps[i]!), i, y, () => noiseOf(7, 4));
          expect(x).toEqual(alone[i]);
        }
      }),
      { numRuns: 60, seed: 6 },
    );
  });

  it("dpm_adaptive tells its timesteps on the way", () => {
    const scheduler = createScheduler("dpm_adaptive", { eta: 0 });
    expect(scheduler.timesteps).toHaveLength(1);
    const samples = samplesOf(
      scheduler,
      noiseOf(0, 16).map((v) => v * scheduler.initNoiseSigma),
      smooth,
    );
    expect(samples).toHaveLength(scheduler.timesteps.length);
    expect(samples.length).toBeGreaterThan(10);
    const nothing = createScheduler("dpm_adaptive");
    expect(() => samplesOf(nothing, noiseOf(0, 4), (x) => x.map(() => Number.NaN))).toThrow(/not finite/);
  });
});
