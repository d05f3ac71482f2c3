import { type ClassDefaults, classDefaults, kDiffusionDefaults } from "./class-defaults.js";
import type { SchedulerConfig, Settings } from "./config.js";
import type { SchedulerRule, SigmaSchedule } from "./lists.js";
import type { Plan, Run } from "./plan.js";
import { ddim } from "./rules/ddim.js";
import { ddpm } from "./rules/ddpm.js";
import { deis } from "./rules/deis.js";
import { dpmAdaptive } from "./rules/dpm-adaptive.js";
import { dpmFast } from "./rules/dpm-fast.js";
import { dpmMultistep } from "./rules/dpm-multistep.js";
import { dpmSinglestep } from "./rules/dpm-singlestep.js";
import { dpm2, dpm2Ancestral } from "./rules/dpm2.js";
import { dpmpp2sAncestral } from "./rules/dpmpp-2s-ancestral.js";
import { dpmppSde } from "./rules/dpmpp-sde.js";
import { edmEuler } from "./rules/edm-euler.js";
import { edmMultistep } from "./rules/edm-multistep.js";
import { euler } from "./rules/euler.js";
import { eulerAncestral } from "./rules/euler-ancestral.js";
import { heun } from "./rules/heun.js";
import { ipndm } from "./rules/ipndm.js";
import { lcm } from "./rules/lcm.js";
import { lms } from "./rules/lms.js";
import { pndm } from "./rules/pndm.js";
import { restart } from "./rules/restart.js";
import { tcd } from "./rules/tcd.js";
import { uniPc } from "./rules/unipc.js";

/** One scheduler: who it is, and the function that plans a run of it. */
export interface Rule {
  /** The diffusers class, where there is one. */
  readonly className?: keyof typeof classDefaults;
  /** AUTOMATIC1111's label and its short names, where it has the sampler. */
  readonly label?: string;
  readonly aliases?: readonly string[];
  readonly paper: string;
  readonly order: string;
  /** Evaluations of the network for N steps. */
  readonly calls: "N" | "2N - 1" | "N + 1 (with Runge-Kutta N + 9)" | "found on the way";
  /** What the rule adds at every step: nothing, independent noise, or increments of a Brownian path. */
  readonly noise: "none" | "gaussian" | "brownian" | "eta";
  /** Whether `eta` says how much noise; to the others it means nothing. */
  readonly takesEta?: true;
  /** AUTOMATIC1111's schedule for "Automatic", where it is not "uniform". */
  readonly automatic?: SigmaSchedule;
  /** AUTOMATIC1111 runs it on timesteps, without a schedule of sigmas, although it has sigmas here. */
  readonly onTimesteps?: boolean;
  /** Goes its own way between the highest and the lowest of a schedule's levels. */
  readonly takesEndsOnly?: true;
  /** AUTOMATIC1111 leaves out the last level but one. */
  readonly discards?: boolean;
  /** Keys that make this rule out of its class. */
  readonly preset?: SchedulerConfig;
  readonly defaults: ClassDefaults;
  readonly plan: (settings: Settings, run: Run) => Plan;
}

const of = (className: keyof typeof classDefaults) => ({ className, defaults: classDefaults[className] });

export const rules: Readonly<Record<SchedulerRule, Rule>> = {
  ddim: {
    ...of("DDIMScheduler"),
    label: "DDIM",
    paper: "2010.02502",
    order: "1",
    calls: "N",
    noise: "eta",
    takesEta: true,
    plan: ddim,
  },
  ddpm: {
    ...of("DDPMScheduler"),
    paper: "2006.11239",
    order: "1",
    calls: "N",
    noise: "gaussian",
    plan: ddpm,
  },
  pndm: {
    ...of("PNDMScheduler"),
    label: "PLMS",
    paper: "2202.09778",
    order: "4",
    calls: "N + 1 (with Runge-Kutta N + 9)",
    noise: "none",
    plan: pndm,
  },
  euler: {
    ...of("EulerDiscreteScheduler"),
    label: "Euler",
    aliases: ["k_euler"],
    paper: "2206.00364",
    order: "1",
    calls: "N",
    noise: "none",
    plan: euler,
  },
  euler_a: {
    ...of("EulerAncestralDiscreteScheduler"),
    label: "Euler a",
    aliases: ["k_euler_a", "k_euler_ancestral"],
    paper: "2206.00364",
    order: "1",
    calls: "N",
    noise: "gaussian",
    takesEta: true,
    plan: eulerAncestral,
  },
  dpmpp_2m: {
    ...of("DPMSolverMultistepScheduler"),
    label: "DPM++ 2M",
    aliases: ["k_dpmpp_2m"],
    paper: "2211.01095",
    order: "2",
    calls: "N",
    noise: "none",
    preset: { algorithm_type: "dpmsolver++", solver_order: 2, solver_type: "midpoint" },
    plan: dpmMultistep,
  },
  dpmpp_2m_sde: {
    ...of("DPMSolverMultistepScheduler"),
    label: "DPM++ 2M SDE",
    aliases: ["k_dpmpp_2m_sde"],
    automatic: "exponential",
    paper: "2211.01095",
    order: "2",
    calls: "N",
    noise: "gaussian",
    preset: { algorithm_type: "sde-dpmsolver++", solver_order: 2, solver_type: "midpoint" },
    plan: dpmMultistep,
  },
  dpmpp_2m_sde_heun: {
    ...of("DPMSolverMultistepScheduler"),
    label: "DPM++ 2M SDE Heun",
    aliases: ["k_dpmpp_2m_sde_heun"],
    automatic: "exponential",
    paper: "2211.01095",
    order: "2",
    calls: "N",
    noise: "gaussian",
    preset: { algorithm_type: "sde-dpmsolver++", solver_order: 2, solver_type: "heun" },
    plan: dpmMultistep,
  },
  dpmpp_3m_sde: {
    ...of("DPMSolverMultistepScheduler"),
    label: "DPM++ 3M SDE",
    aliases: ["k_dpmpp_3m_sde"],
    automatic: "exponential",
    discards: true,
    paper: "2211.01095",
    order: "3",
    calls: "N",
    noise: "gaussian",
    preset: {
      algorithm_type: "sde-dpmsolver++",
      solver_order: 3,
      solver_type: "heun",
      lower_order_final: false,
      dialect: "k-diffusion",
    },
    plan: dpmMultistep,
  },
  dpmpp_sde: {
    ...of("DPMSolverSDEScheduler"),
    label: "DPM++ SDE",
    aliases: ["k_dpmpp_sde"],
    automatic: "karras",
    paper: "2211.01095",
    order: "2",
    calls: "2N - 1",
    noise: "brownian",
    takesEta: true,
    plan: dpmppSde,
  },
  dpm_single: {
    ...of("DPMSolverSinglestepScheduler"),
    paper: "2206.00927",
    order: "1 to 3 (2)",
    calls: "N",
    noise: "none",
    plan: dpmSinglestep,
  },
  lms: {
    ...of("LMSDiscreteScheduler"),
    label: "LMS",
    aliases: ["k_lms"],
    paper: "2206.00364",
    order: "4",
    calls: "N",
    noise: "none",
    plan: lms,
  },
  heun: {
    ...of("HeunDiscreteScheduler"),
    label: "Heun",
    aliases: ["k_heun"],
    paper: "2206.00364",
    order: "2",
    calls: "2N - 1",
    noise: "none",
    plan: heun,
  },
  dpm2: {
    ...of("KDPM2DiscreteScheduler"),
    label: "DPM2",
    aliases: ["k_dpm_2"],
    automatic: "karras",
    discards: true,
    paper: "2206.00364",
    order: "2",
    calls: "2N - 1",
    noise: "none",
    plan: dpm2,
  },
  dpm2_a: {
    ...of("KDPM2AncestralDiscreteScheduler"),
    label: "DPM2 a",
    aliases: ["k_dpm_2_a"],
    automatic: "karras",
    discards: true,
    paper: "2206.00364",
    order: "2",
    calls: "2N - 1",
    noise: "gaussian",
    takesEta: true,
    plan: dpm2Ancestral,
  },
  deis: {
    ...of("DEISMultistepScheduler"),
    paper: "2204.13902",
    order: "1 to 3 (2)",
    calls: "N",
    noise: "none",
    plan: deis,
  },
  unipc: {
    ...of("UniPCMultistepScheduler"),
    label: "UniPC",
    onTimesteps: true,
    paper: "2302.04867",
    order: "1 to 3 (2)",
    calls: "N",
    noise: "none",
    plan: uniPc,
  },
  lcm: {
    ...of("LCMScheduler"),
    label: "LCM",
    aliases: ["k_lcm"],
    paper: "2310.04378",
    order: "1",
    calls: "N",
    noise: "gaussian",
    plan: lcm,
  },
  tcd: {
    ...of("TCDScheduler"),
    paper: "2402.19159",
    order: "1",
    calls: "N",
    noise: "eta",
    takesEta: true,
    plan: tcd,
  },
  edm_euler: {
    ...of("EDMEulerScheduler"),
    paper: "2206.00364",
    order: "1",
    calls: "N",
    noise: "none",
    plan: edmEuler,
  },
  edm_dpmpp_2m: {
    ...of("EDMDPMSolverMultistepScheduler"),
    paper: "2211.01095",
    order: "1 to 3 (2)",
    calls: "N",
    noise: "none",
    plan: edmMultistep,
  },
  ipndm: { ...of("IPNDMScheduler"), paper: "2204.13902", order: "4", calls: "N", noise: "none", plan: ipndm },
  dpmpp_2s_a: {
    label: "DPM++ 2S a",
    aliases: ["k_dpmpp_2s_a"],
    automatic: "karras",
    paper: "2211.01095",
    order: "2",
    calls: "2N - 1",
    noise: "gaussian",
    defaults: kDiffusionDefaults,
    takesEta: true,
    plan: dpmpp2sAncestral,
  },
  restart: {
    label: "Restart",
    automatic: "karras",
    paper: "2306.14878",
    order: "2",
    calls: "2N - 1",
    noise: "gaussian",
    defaults: kDiffusionDefaults,
    plan: restart,
  },
  dpm_fast: {
    label: "DPM fast",
    aliases: ["k_dpm_fast"],
    paper: "2206.00927",
    order: "3",
    calls: "N",
    noise: "gaussian",
    defaults: kDiffusionDefaults,
    takesEta: true,
    takesEndsOnly: true,
    plan: dpmFast,
  },
  dpm_adaptive: {
    label: "DPM adaptive",
    aliases: ["k_dpm_ad"],
    paper: "2206.00927",
    order: "3",
    calls: "found on the way",
    noise: "gaussian",
    defaults: kDiffusionDefaults,
    takesEta: true,
    takesEndsOnly: true,
    plan: dpmAdaptive,
  },
};
