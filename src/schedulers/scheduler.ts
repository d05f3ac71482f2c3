import { DiffusionError, demand, nearest } from "../errors.js";
import { type SchedulerConfig, type Settings, steppingClass } from "./config.js";
import { edmKeys, type Named, namedKeys, parsedName, type SamplerPair, type SchedulerName } from "./names.js";
import type { NoiseRange, NoiseSource, Plan, Run, Step } from "./plan.js";
import { cleanIn, splitVariance } from "./prediction.js";
import { type Rule, rules } from "./registry.js";
import { settings } from "./settings.js";
import { divided, linear } from "./vector.js";

/** A scheduler of the user's own, for a run on a model with this scheduler_config.json. */
export type SchedulerFactory = (run: Run, model: SchedulerConfig) => Scheduler;
export type SchedulerChoice = SchedulerName | (string & {}) | SamplerPair | SchedulerConfig;

/**
 * One run: what happens between two evaluations of the network. Arrays are samples of any shape, flat; results are
 * new arrays. `step` is the index of an evaluation. Steps are taken in order; step 0, or one out of order, begins a
 * new history.
 */
export interface Scheduler {
  /**
   * The timestep of every evaluation, as diffusers' `timesteps`: rules of higher order have more evaluations than
   * steps. "dpm_adaptive" finds its timesteps on the way: its list grows with every step, so read `length` anew.
   */
  readonly timesteps: readonly number[];
  /** Noise level at every evaluation and behind the last one, for the rules that work on sigmas. */
  readonly sigmas?: readonly number[];
  /** What unit noise is multiplied by to become the first sample. */
  readonly initNoiseSigma: number;
  /**
   * Present when the rule's noise is meant to come from one Brownian path between these levels (`brownianNoise` in
   * src/latents/brownian.ts); independent noise is then a different, coarser sampler.
   */
  readonly brownian?: NoiseRange;
  /** The network's input for a sample. */
  scaleInput(sample: Float32Array, step: number): Float32Array;
  /**
   * The next sample. `noise` is asked once for every portion that the rule adds, in the reference's order, and told
   * the levels between which it lies.
   * @throws {DiffusionError} BAD_OPTION when the configuration has no solution at this step.
   */
  step(output: Float32Array, step: number, sample: Float32Array, noise?: NoiseSource): Float32Array;
  /**
   * The clean sample that the network's output means, before anything is clipped, which previews show; without it they
   * show the noisy one.
   */
  clean?(output: Float32Array, step: number, sample: Float32Array): Float32Array;
  /** A clean sample brought to the noise level of a step. */
  addNoise(clean: Float32Array, noise: Float32Array, step: number): Float32Array;
}

/** What Stable Diffusion 1 ships: the model behind a scheduler that is made from a bare name. */
export const stableDiffusion: SchedulerConfig = {
  _class_name: "PNDMScheduler",
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  prediction_type: "epsilon",
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
  clip_sample: false,
};

/**
 * A scheduler for one run. A name (or an AUTOMATIC1111 pair) runs on Stable Diffusion 1's noise schedule; see
 * `schedulerConfig` for the one of another model. A configuration is read as `_class_name` reads it in diffusers.
 * @throws {DiffusionError} BAD_OPTION for names, values and runs that do not exist.
 */
export function createScheduler(scheduler: SchedulerChoice, run: Run = {}): Scheduler {
  demand("run", run, "object");
  for (const name of Object.keys(run)) if (!Object.hasOwn(runNames, name)) throw unknownOfRun(name);
  const config = isConfig(scheduler) ? scheduler : schedulerConfig(scheduler, modelOf(parsedName(scheduler)));
  const rule = ruleOf(config);
  if (run.eta !== undefined && !(run.eta >= 0 && run.eta < Number.POSITIVE_INFINITY))
    throw new DiffusionError("BAD_OPTION", `eta must be a number of at least 0, not ${run.eta}`);
  const whole = settings(rule.defaults, config);
  return running(rule.plan(whole, run), whole, run.shape?.at(-1));
}

/** What a run may say. */
const runNames: Readonly<Record<keyof Run, true>> = {
  ...({ steps: true, timesteps: true, sigmas: true, strength: true, eta: true, shape: true } as const),
  ...({ churn: true, order: true, useClippedModelOutput: true } as const),
  ...({ originalSteps: true, scheduleStrength: true } as const),
};

function unknownOfRun(name: string): DiffusionError {
  const near = nearest(name, Object.keys(runNames));
  return new DiffusionError("BAD_OPTION", `a run of a scheduler has no ${name}`, {
    hint: near ? `did you mean ${near}?` : `it has ${Object.keys(runNames).join(", ")}`,
  });
}

/** The model behind a scheduler that is made from a bare name. */
const modelOf = ({ rule }: Named): SchedulerConfig =>
  isEdm(rule.className) ? { _class_name: rule.className as string } : stableDiffusion;

const isEdm = (className: unknown): boolean => typeof className === "string" && className.startsWith("EDM");

/**
 * The configuration of a scheduler on a model: `Class.from_config(model, overrides)`. Keys that the model's file
 * lacks take the defaults of the new class, not of the old one. Models with EDM's preconditioning run only in EDM's
 * own rules, which stand behind the usual names.
 * @throws {DiffusionError} BAD_OPTION for a name that cannot run the model
 */
export function schedulerConfig(
  scheduler: SchedulerChoice,
  model: SchedulerConfig = stableDiffusion,
): SchedulerConfig {
  demand("model", model, "object");
  if (isConfig(scheduler)) return { ...model, ...scheduler };
  const named = parsedName(scheduler);
  const [edmModel, edmRule] = [isEdm(model._class_name), isEdm(named.rule.className)];
  if (edmModel && !edmRule) return { ...model, ...edmKeys(named, model) };
  if (edmRule && !edmModel && model._class_name !== undefined)
    throw new DiffusionError(
      "BAD_OPTION",
      `${named.name} runs only models with EDM preconditioning, and this one's scheduler is ${model._class_name}`,
      { hint: `leave the scheduler out, or use ${named.name === "edm_euler" ? "euler" : "dpmpp_2m"}` },
    );
  return { ...model, ...namedKeys(named) };
}

const isConfig = (scheduler: SchedulerChoice): scheduler is SchedulerConfig =>
  typeof scheduler === "object" && scheduler !== null && !("sampler" in scheduler);

export function ruleOf(config: SchedulerConfig): Rule {
  const wanted = config._class_name;
  if (typeof wanted !== "string")
    throw new DiffusionError("BAD_OPTION", "scheduler config: _class_name is missing", {
      hint: 'for example { "_class_name": "EulerDiscreteScheduler" }',
    });
  const known = Object.entries<Rule>(rules);
  const rule = known.find(
    ([name, rule]) => rule.className === steppingClass(wanted) || (!rule.className && name === wanted),
  );
  if (rule) return rule[1];
  // No "did you mean": another class may read the same network's output as something else.
  const classes = known.map(([name, rule]) => rule.className ?? name);
  throw new DiffusionError("BAD_OPTION", `there is no scheduler class "${wanted}" here`, {
    hint: `it may read the network in its own way, so that no other stands in for it; there are ${[...new Set(classes)].join(", ")}`,
  });
}

/** Brings a plan to life: opens a history at step 0, shifts indices by what image to image leaves out. */
function running(plan: Plan, { prediction_type }: Settings, channels: number | undefined): Scheduler {
  let step: Step | undefined;
  let expected = 0;
  const { begin } = plan;
  const mostAnswers = plan.takesVariance ? 2 : 1;
  const live = begin === 0 ? plan.timesteps : plan.timesteps.slice(begin);
  const checked = (i: number): number => {
    if (Number.isInteger(i) && i >= 0 && i < live.length) return i + begin;
    throw new DiffusionError(
      "BAD_OPTION",
      `scheduler: step ${i} of a run with steps 0 to ${live.length - 1}`,
    );
  };
  return {
    timesteps: live,
    ...(plan.sigmas && { sigmas: begin === 0 ? plan.sigmas : plan.sigmas.slice(begin) }),
    initNoiseSigma: plan.initNoiseSigma,
    ...(plan.brownian && { brownian: plan.brownian }),
    scaleInput(sample, i) {
      const scale = plan.inputScale(checked(i));
      return scale === 1 ? sample : divided(sample, scale);
    },
    step(output, i, sample, noise = missingNoise) {
      const evaluation = checked(i);
      fitting("output", output, sample, mostAnswers);
      if (!step || i === 0 || i !== expected) step = plan.start();
      expected = i + 1;
      return step(output, evaluation, sample, noise);
    },
    clean(output, i, sample) {
      const evaluation = checked(i);
      fitting("output", output, sample, mostAnswers);
      const answer = splitVariance(output, sample.length, channels).output;
      if (plan.clean) return plan.clean(answer, evaluation, sample);
      return cleanIn(prediction_type, sample, answer, plan.mix(evaluation));
    },
    addNoise(clean, noise, i) {
      fitting("noise", noise, clean, 1);
      const [signal, level] = plan.mix(checked(i));
      return linear([signal, clean], [level, noise]);
    },
  };
}

/** An array of another length than the sample's (or than `most` times it, for predicted variances) is refused. */
function fitting(what: string, values: Float32Array, sample: Float32Array, most: 1 | 2): void {
  if (values.length === sample.length || values.length === most * sample.length) return;
  throw new DiffusionError(
    "BAD_OPTION",
    `scheduler: ${what} has ${values.length} numbers, the sample ${sample.length}`,
  );
}

const missingNoise: NoiseSource = () => {
  throw new DiffusionError("BAD_OPTION", "this scheduler adds noise: give step() a noise function");
};
