import type { Settings } from "./config.js";

/** What a key means to a class that does not have it. */
export const neutral: Settings = {
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
