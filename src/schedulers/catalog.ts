import { neutral } from "./class-defaults.js";
import { checks, isSilentKey, type SchedulerConfig } from "./config.js";
import { sigmaSchedules } from "./lists.js";
import { parsedName, type SamplerPair } from "./names.js";
import { type Rule, rules } from "./registry.js";
import { createScheduler, ruleOf } from "./scheduler.js";

/** One scheduler as people choose it from a list. */
export interface SchedulerEntry {
  /** What `scheduler` takes: "dpmpp_2m". */
  readonly name: string;
  /** AUTOMATIC1111's label, "DPM++ 2M"; the name where that web UI has none. */
  readonly label: string;
  readonly aliases: readonly string[];
  /** The diffusers class, where there is one. */
  readonly className?: string;
  /** Whether it works on noise levels, so that a schedule type ("karras") can be put behind it. */
  readonly takesSchedule: boolean;
  readonly order: string;
  /** Evaluations of the network for N steps, in words: "N", "2N - 1". */
  readonly calls: string;
  /** Whether it adds noise on the way; "eta": only with `eta` above 0. */
  readonly stochastic: boolean | "eta";
  /** arXiv number. */
  readonly paper: string;
}

/** Every scheduler that `createScheduler` knows, in the registry's order. */
export const schedulerEntries: readonly SchedulerEntry[] = Object.entries<Rule>(rules).map(
  ([name, rule]) => ({
    name,
    label: rule.label ?? name,
    aliases: rule.aliases ?? [],
    ...(rule.className && { className: rule.className }),
    takesSchedule: "schedule" in rule.defaults && !rule.onTimesteps,
    order: rule.order,
    calls: rule.calls,
    stochastic: rule.noise === "eta" ? "eta" : rule.noise !== "none",
    paper: rule.paper,
  }),
);

/** The schedule types (sigma schedules) that can stand behind a scheduler. */
export const scheduleTypes: readonly string[] = sigmaSchedules;

/**
 * AUTOMATIC1111's labels of a choice, as its parameters text has them: "dpmpp_2m_karras" is "DPM++ 2M" with
 * schedule "karras".
 *
 * @throws {DiffusionError} BAD_OPTION with the nearest name
 */
export function samplerPair(choice: string | SamplerPair): SamplerPair {
  const { rule, name, schedule, label } = parsedName(choice);
  const isUsed = schedule && !(label && rule.onTimesteps);
  return { sampler: rule.label ?? name, ...(isUsed && { schedule }) };
}

/**
 * The schedule type of a choice, where it changes nothing: AUTOMATIC1111 runs the sampler on timesteps, or the rule takes
 * only the schedule's ends, which most have in common. Where a run begins in the middle, it lies where the schedule says.
 *
 * @param config of the choice on a model
 * @param run a whole one, from noise; absent: some runs begin in the middle
 */
export function idleSchedule(
  choice: string | SamplerPair,
  config: SchedulerConfig,
  run?: { readonly steps: number },
): string | undefined {
  const { rule, schedule, label } = parsedName(choice);
  if (schedule === undefined || schedule === "automatic" || schedule === "uniform") return undefined;
  if (label && rule.onTimesteps) return schedule;
  if (!rule.takesEndsOnly || !run) return undefined;
  // Of the two rules, the one that knows its levels beforehand.
  const levels = (keys: SchedulerConfig) =>
    createScheduler({ ...config, ...keys, _class_name: "dpm_fast" }, run).timesteps.join();
  const flags = { use_karras_sigmas: false, use_exponential_sigmas: false, use_beta_sigmas: false };
  return levels({ ...flags, schedule: label ? "uniform" : null }) === levels({}) ? schedule : undefined;
}

/** Whether each step but the last of a configured scheduler evaluates the network twice. */
export const isSecondOrder = (config: SchedulerConfig): boolean => ruleOf(config).calls === "2N - 1";

/** Whether what the network says decides about the next steps of a configured scheduler. */
export const findsItsSteps = (config: SchedulerConfig): boolean =>
  ruleOf(config).calls === "found on the way";

/** Whether `eta` means something to a configured scheduler. */
export const takesEta = (config: SchedulerConfig): boolean => ruleOf(config).takesEta ?? false;

/**
 * Keys of a configuration that say something and that its class does not read. Those that stand in the model's file as
 * well, or say what the class does anyway, are none: configurations are made out of others.
 *
 * @param config over the model's
 */
export function idleKeys(config: SchedulerConfig, model: SchedulerConfig): string[] {
  const { defaults } = ruleOf({ ...model, ...config });
  const same = (key: string) =>
    [model[key], Object.hasOwn(checks, key) ? neutral[key as keyof typeof neutral] : undefined]
      .map((value) => JSON.stringify(value))
      .includes(JSON.stringify(config[key]));
  return Object.keys(config).filter(
    (key) =>
      !Object.hasOwn(defaults, key) && !isSilentKey(key) && (config[key] ?? null) !== null && !same(key),
  );
}
