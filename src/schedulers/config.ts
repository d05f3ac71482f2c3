import { DiffusionError, nearest } from "../errors.js";
import { sigmaSchedules } from "./lists.js";

/**
 * A diffusers `scheduler_config.json`, or a part of one. Keys that a class does not know are ignored, keys that
 * are absent take the class's defaults, as `Class.from_config` does it.
 */
export interface SchedulerConfig {
  readonly _class_name?: string;
  readonly [key: string]: unknown;
}

type Check<T> = (key: string, value: unknown) => T;

const refuse = (key: string, value: unknown, expected: string, hint?: string): DiffusionError =>
  new DiffusionError(
    "BAD_OPTION",
    `scheduler config: ${key} must be ${expected}, not ${typeof value === "string" ? `"${value}"` : String(value)}`,
    hint ? { hint } : {},
  );

const flag: Check<boolean> = (key, value) => {
  if (typeof value !== "boolean") throw refuse(key, value, "true or false");
  return value;
};

const number =
  (min: number, max: number, expected = `a number from ${min} to ${max}`): Check<number> =>
  (key, value) => {
    if (typeof value !== "number" || !(value >= min && value <= max)) throw refuse(key, value, expected);
    return value;
  };

const whole =
  (min: number, max: number): Check<number> =>
  (key, value) => {
    if (!Number.isInteger(value)) throw refuse(key, value, `a whole number from ${min} to ${max}`);
    return number(min, max, `a whole number from ${min} to ${max}`)(key, value);
  };

const oneOf =
  <T extends string>(...choices: T[]): Check<T> =>
  (key, value) => {
    if (choices.includes(value as T)) return value as T;
    const close = typeof value === "string" ? nearest(value, choices) : undefined;
    throw refuse(key, value, `one of ${choices.join(", ")}`, close && `did you mean ${close}?`);
  };

const list =
  (check: Check<number>): Check<readonly number[]> =>
  (key, value) => {
    if (!Array.isArray(value)) throw refuse(key, value, "a list of numbers");
    return value.map((item, i) => check(`${key}[${i}]`, item));
  };

const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (key, value) =>
    value === null ? null : check(key, value);

/** Every key that some scheduler reads, and what it may be. Names and meanings are those of diffusers. */
const checks = {
  num_train_timesteps: whole(1, 1_000_000),
  beta_start: number(0, 1),
  beta_end: number(0, 1),
  beta_schedule: oneOf("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"),
  trained_betas: orNull(list(number(0, 1))),
  prediction_type: oneOf("epsilon", "sample", "v_prediction", "original_sample"),
  rescale_betas_zero_snr: flag,
  timestep_spacing: oneOf("leading", "linspace", "trailing"),
  steps_offset: whole(0, 1_000_000),
  set_alpha_to_one: flag,
  clip_sample: flag,
  clip_sample_range: number(0, Number.MAX_VALUE),
  thresholding: flag,
  dynamic_thresholding_ratio: number(0, 1),
  sample_max_value: number(0, Number.MAX_VALUE),
  variance_type: orNull(
    oneOf("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"),
  ),
  skip_prk_steps: flag,
  use_karras_sigmas: flag,
  use_exponential_sigmas: flag,
  use_beta_sigmas: flag,
  use_lu_lambdas: flag,
  interpolation_type: oneOf("linear", "log_linear"),
  timestep_type: oneOf("discrete", "continuous"),
  sigma_min: orNull(number(0, Number.MAX_VALUE)),
  sigma_max: orNull(number(0, Number.MAX_VALUE)),
  final_sigmas_type: oneOf("zero", "sigma_min"),
  solver_order: whole(1, 3),
  solver_type: oneOf("midpoint", "heun", "logrho", "bh1", "bh2"),
  algorithm_type: oneOf("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"),
  lower_order_final: flag,
  euler_at_final: flag,
  lambda_min_clipped: number(-Infinity, Infinity, "a number"),
  predict_x0: flag,
  disable_corrector: list(whole(0, 1_000_000)),
  original_inference_steps: whole(1, 1_000_000),
  timestep_scaling: number(0, Number.MAX_VALUE),
  sigma_data: number(0, Number.MAX_VALUE),
  sigma_schedule: oneOf("karras", "exponential"),
  rho: number(Number.MIN_VALUE, Number.MAX_VALUE, "a number above 0"),
  /** Of the Brownian path, in place of a picture's own seed. */
  noise_sampler_seed: orNull(whole(0, Number.MAX_SAFE_INTEGER)),
  /** Ours: one of AUTOMATIC1111's schedules in place of the diffusers flags, for every rule that works on sigmas. */
  schedule: orNull(oneOf(...sigmaSchedules)),
  /** Ours: where diffusers and k-diffusion (AUTOMATIC1111) disagree on the same method, whose numbers to give. */
  dialect: oneOf("diffusers", "k-diffusion"),
  /** Ours: AUTOMATIC1111 computes one level more for DPM2 and DPM++ 3M and leaves out the last but one. */
  discard_next_to_last_sigma: flag,
};

/** A complete configuration: every key has a value, checked. */
export type Settings = { readonly [K in keyof typeof checks]: ReturnType<(typeof checks)[K]> };

/** What a key means to a class that does not have it. */
const neutral: Settings = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: "linear",
  trained_betas: null,
  prediction_type: "epsilon",
  rescale_betas_zero_snr: false,
  timestep_spacing: "linspace",
  steps_offset: 0,
  set_alpha_to_one: true,
  clip_sample: false,
  clip_sample_range: 1,
  thresholding: false,
  dynamic_thresholding_ratio: 0.995,
  sample_max_value: 1,
  variance_type: null,
  skip_prk_steps: false,
  use_karras_sigmas: false,
  use_exponential_sigmas: false,
  use_beta_sigmas: false,
  use_lu_lambdas: false,
  interpolation_type: "linear",
  timestep_type: "discrete",
  sigma_min: null,
  sigma_max: null,
  final_sigmas_type: "zero",
  solver_order: 2,
  solver_type: "midpoint",
  algorithm_type: "dpmsolver++",
  lower_order_final: true,
  euler_at_final: false,
  lambda_min_clipped: -Infinity,
  predict_x0: true,
  disable_corrector: [],
  original_inference_steps: 50,
  timestep_scaling: 10,
  sigma_data: 0.5,
  sigma_schedule: "karras",
  rho: 7,
  noise_sampler_seed: null,
  schedule: null,
  dialect: "diffusers",
  discard_next_to_last_sigma: false,
};

/** The keys that a class knows, with its defaults. */
export type ClassDefaults = Partial<Settings>;

const neutrally = (...keys: (keyof Settings)[]): ClassDefaults =>
  Object.fromEntries(keys.map((key) => [key, neutral[key]]));

const betas = neutrally(
  "num_train_timesteps",
  "beta_start",
  "beta_end",
  "beta_schedule",
  "trained_betas",
  "prediction_type",
);
const latentBetas = { ...betas, beta_start: 0.00085, beta_end: 0.012 };
const spacing = neutrally("timestep_spacing", "steps_offset");
const leading = { ...spacing, timestep_spacing: "leading" } as const;
const threshold = neutrally("thresholding", "dynamic_thresholding_ratio", "sample_max_value");
const clip = neutrally("clip_sample", "clip_sample_range");
const zeroSnr = neutrally("rescale_betas_zero_snr");
const ours = neutrally("schedule", "dialect", "discard_next_to_last_sigma");
const flags = { ...neutrally("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), ...ours };
const secondOrder = { ...latentBetas, ...spacing, ...flags };
const sigmaRange = neutrally("sigma_min", "sigma_max", "final_sigmas_type");
const dpmSolver = {
  ...betas,
  ...threshold,
  ...flags,
  ...neutrally("solver_order", "solver_type", "algorithm_type", "lower_order_final"),
  ...neutrally("final_sigmas_type", "lambda_min_clipped", "variance_type"),
};
const consistency = {
  ...latentBetas,
  ...leading,
  ...clip,
  ...threshold,
  ...zeroSnr,
  ...neutrally("set_alpha_to_one", "original_inference_steps", "timestep_scaling"),
  beta_schedule: "scaled_linear",
} as const;
const ancestorsOfLatents = { ...betas, ...leading, ...clip, ...threshold, ...zeroSnr, clip_sample: true };

const edm = {
  ...neutrally("num_train_timesteps", "prediction_type", "sigma_data", "sigma_schedule", "rho"),
  ...neutrally("final_sigmas_type"),
  sigma_min: 0.002,
  sigma_max: 80,
};

/** The constructor arguments of each diffusers class and their defaults (diffusers 0.38, `schedulers/`). */
export const classDefaults = {
  DDIMScheduler: { ...ancestorsOfLatents, set_alpha_to_one: true },
  DDPMScheduler: { ...ancestorsOfLatents, variance_type: "fixed_small" },
  PNDMScheduler: { ...betas, ...leading, skip_prk_steps: false, set_alpha_to_one: false },
  IPNDMScheduler: neutrally("num_train_timesteps", "trained_betas"),
  EulerDiscreteScheduler: {
    ...betas,
    ...spacing,
    ...flags,
    ...zeroSnr,
    ...sigmaRange,
    ...neutrally("interpolation_type", "timestep_type"),
  },
  EulerAncestralDiscreteScheduler: { ...betas, ...spacing, ...zeroSnr, ...ours },
  LMSDiscreteScheduler: { ...betas, ...spacing, ...flags },
  HeunDiscreteScheduler: { ...secondOrder, ...clip },
  KDPM2DiscreteScheduler: secondOrder,
  KDPM2AncestralDiscreteScheduler: secondOrder,
  DPMSolverSDEScheduler: { ...secondOrder, ...neutrally("noise_sampler_seed") },
  DPMSolverMultistepScheduler: {
    ...dpmSolver,
    ...spacing,
    ...zeroSnr,
    ...neutrally("euler_at_final", "use_lu_lambdas"),
  },
  DPMSolverSinglestepScheduler: { ...dpmSolver, lower_order_final: false },
  DEISMultistepScheduler: {
    ...betas,
    ...threshold,
    ...flags,
    ...spacing,
    ...neutrally("solver_order", "lower_order_final"),
  },
  UniPCMultistepScheduler: {
    ...betas,
    ...threshold,
    ...flags,
    ...spacing,
    ...zeroSnr,
    ...sigmaRange,
    ...neutrally("solver_order", "lower_order_final", "predict_x0", "disable_corrector"),
    solver_type: "bh2",
  },
  LCMScheduler: consistency,
  TCDScheduler: consistency,
  EDMEulerScheduler: edm,
  EDMDPMSolverMultistepScheduler: {
    ...edm,
    ...threshold,
    ...neutrally("solver_order", "algorithm_type", "solver_type", "lower_order_final", "euler_at_final"),
  },
} satisfies Record<string, ClassDefaults>;

/** For AUTOMATIC1111's own samplers, which have no diffusers class: all that shapes betas and sigmas. */
export const kDiffusionDefaults: ClassDefaults = { ...betas, ...spacing, ...flags, ...zeroSnr };

/**
 * `Class.from_config(config)`: the class's defaults, overlaid with the keys of the config that the class knows.
 * @throws {DiffusionError} BAD_OPTION for a value that the key cannot have or flags that contradict each other,
 * UNSUPPORTED for flow matching.
 */
export function settings(defaults: ClassDefaults, config: SchedulerConfig): Settings {
  if (config.use_flow_sigmas === true || config.prediction_type === "flow_prediction")
    throw new DiffusionError("UNSUPPORTED", "scheduler config: flow matching is not supported", {
      hint: "this library runs Stable Diffusion 1, 2 and XL; use a config with epsilon or v_prediction",
    });
  const acting = unreadKeys[String(config._class_name)];
  if (acting !== undefined && config[acting] !== undefined && config[acting] !== null)
    throw new DiffusionError("UNSUPPORTED", `scheduler config: ${acting} is not supported`, {
      hint: "it changes pictures of this class; take it out of the config to do without",
    });
  const own = (Object.keys(defaults) as (keyof Settings)[]).map((key) => [
    key,
    checks[key](key, config[key] ?? defaults[key]),
  ]);
  const result = { ...neutral, ...Object.fromEntries(own) } as Settings;
  const chosen = (
    ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"] as const
  ).filter((key) => result[key]);
  if (chosen.length > 1 || (chosen.length === 1 && result.schedule))
    throw new DiffusionError(
      "BAD_OPTION",
      `scheduler config: ${[...chosen, ...(result.schedule ? ["schedule"] : [])].join(" and ")} contradict each other`,
      { hint: "choose one schedule of sigmas" },
    );
  return result;
}

/** What a class of diffusers' reads and we do not, when it is given. */
const unreadKeys: Readonly<Record<string, string>> = {
  UniPCMultistepScheduler: "solver_p",
};

/** Keys that say where a configuration is from, act only with others that are refused, or are refused themselves. */
const silent = new Set([
  ...["_class_name", "_diffusers_version", "_name_or_path"],
  ...["use_flow_sigmas", "flow_shift", "shift_terminal", "use_dynamic_shifting", "time_shift_type"],
  ...Object.values(unreadKeys),
]);

/**
 * Keys of a configuration that say something and that no class here reads, as far as is known; those of other classes
 * are left over, as in diffusers.
 */
export const unknownSchedulerKeys = (config: SchedulerConfig): string[] =>
  Object.keys(config).filter(
    (key) => !Object.hasOwn(checks, key) && !silent.has(key) && (config[key] ?? null) !== null,
  );
