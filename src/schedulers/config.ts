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
export const checks = {
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

/** Classes that diffusers' own code has for parallel sampling, and that step as the plain ones do. */
const twins: Readonly<Record<string, string>> = {
  DDIMParallelScheduler: "DDIMScheduler",
  DDPMParallelScheduler: "DDPMScheduler",
};

/** The class by which a class of diffusers' steps. */
export const steppingClass = (className: string): string => twins[className] ?? className;

/** A complete configuration: every key has a value, checked. */
export type Settings = { readonly [K in keyof typeof checks]: ReturnType<(typeof checks)[K]> };

/** What a class of diffusers' reads and we do not, when it is given. */
export const unreadKeys: Readonly<Record<string, string>> = {
  UniPCMultistepScheduler: "solver_p",
};

/** Keys that say where a configuration is from, act only with others that are refused, or are refused themselves. */
const silent = new Set([
  ...["_class_name", "_diffusers_version", "_name_or_path"],
  ...["use_flow_sigmas", "flow_shift", "shift_terminal", "use_dynamic_shifting", "time_shift_type"],
  ...Object.values(unreadKeys),
]);

export const isSilentKey = (key: string): boolean => silent.has(key);

/**
 * Keys of a configuration that say something and that no class here reads, as far as is known; those of other classes
 * are left over, as in diffusers.
 */
export const unknownSchedulerKeys = (config: SchedulerConfig): string[] =>
  Object.keys(config).filter(
    (key) => !Object.hasOwn(checks, key) && !silent.has(key) && (config[key] ?? null) !== null,
  );
