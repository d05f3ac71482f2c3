/** The schedulers by our names, in the order that lists show them; `registry.ts` says what each is. */
export const schedulerRules = [
  "ddim",
  "ddpm",
  "pndm",
  "euler",
  "euler_a",
  "dpmpp_2m",
  "dpmpp_2m_sde",
  "dpmpp_2m_sde_heun",
  "dpmpp_3m_sde",
  "dpmpp_sde",
  "dpm_single",
  "lms",
  "heun",
  "dpm2",
  "dpm2_a",
  "deis",
  "unipc",
  "lcm",
  "tcd",
  "edm_euler",
  "edm_dpmpp_2m",
  "ipndm",
  "dpmpp_2s_a",
  "restart",
  "dpm_fast",
  "dpm_adaptive",
] as const;

export type SchedulerRule = (typeof schedulerRules)[number];

/** Schedules of noise levels (sigmas) by AUTOMATIC1111's names; `sigmas.ts` has the formulas. */
export const sigmaSchedules = [
  "uniform",
  "karras",
  "exponential",
  "polyexponential",
  "sgm_uniform",
  "kl_optimal",
  "align_your_steps",
  "simple",
  "normal",
  "ddim_uniform",
  "beta",
] as const;
export type SigmaSchedule = (typeof sigmaSchedules)[number];
