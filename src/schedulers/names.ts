import { DiffusionError, demand, nearest } from "../errors.js";
import { type SchedulerConfig, steppingClass } from "./config.js";
import { type SchedulerRule, type SigmaSchedule, sigmaSchedules } from "./lists.js";
import { type Rule, rules } from "./registry.js";

/** A rule, or a rule with one of AUTOMATIC1111's schedules behind it: "euler", "dpmpp_2m_karras". */
export type SchedulerName = SchedulerRule | `${SchedulerRule}_${SigmaSchedule}`;

/** AUTOMATIC1111's pair: a sampler's and a schedule type's label, such as "DPM++ 2M" and "Karras". */
export interface SamplerPair {
  readonly sampler: string;
  readonly schedule?: string | undefined;
}

/** AUTOMATIC1111's labels of schedule types. "Automatic" takes the sampler's own default. */
const scheduleLabels: Record<string, SigmaSchedule | "automatic"> = {
  ...Object.fromEntries(sigmaSchedules.map((name) => [name.replaceAll("_", " "), name])),
  automatic: "automatic",
  "sgm uniform": "sgm_uniform",
  sgmuniform: "sgm_uniform",
  ddim: "ddim_uniform",
  ays: "align_your_steps",
};

export interface Named {
  readonly rule: Rule;
  readonly name: SchedulerRule;
  readonly schedule?: SigmaSchedule | "automatic" | undefined;
  /** Labels mean AUTOMATIC1111's own levels (k-diffusion), our names mean those of diffusers. */
  readonly label: boolean;
}

const entries = Object.entries(rules) as [SchedulerRule, Rule][];

/**
 * Our names ("dpmpp_2m_karras"), diffusers' classes ("EulerDiscreteScheduler", "EulerDiscrete"), AUTOMATIC1111's
 * labels ("DPM++ 2M Karras", "Euler a"), their short names ("k_euler_a") and pairs.
 * @throws {DiffusionError} BAD_OPTION with the nearest name.
 */
export function parsedName(wanted: string | SamplerPair): Named {
  demand("scheduler", wanted, "text", "object");
  const text = typeof wanted === "string" ? wanted : wanted.sampler;
  demand("scheduler", text, "text");
  const pair = typeof wanted === "string" ? undefined : scheduleOf(wanted.schedule);
  const found = byName(text) ?? byClass(text) ?? byLabel(text);
  if (!found) throw unknown("scheduler", text, [...entries.map(([name]) => name), ...labels()]);
  if (typeof wanted === "string") return found;
  return {
    ...found,
    label: true,
    schedule: pair === "automatic" ? (found.schedule ?? pair) : (pair ?? found.schedule),
  };
}

function byName(text: string): Named | undefined {
  for (const [name, rule] of entries) {
    if (text === name) return { rule, name, label: false };
    const schedule = text.startsWith(`${name}_`) ? text.slice(name.length + 1) : undefined;
    if (schedule && (sigmaSchedules as readonly string[]).includes(schedule))
      return { rule, name, schedule: schedule as SigmaSchedule, label: false };
  }
  return undefined;
}

function byClass(text: string): Named | undefined {
  const wanted = steppingClass(`${text.replace(/Scheduler$/, "")}Scheduler`);
  const found = entries.find(([, rule]) => rule.className === wanted);
  return found && { rule: found[1], name: found[0], label: false };
}

function byLabel(text: string): Named | undefined {
  const wanted = text.trim().toLowerCase();
  for (const [name, rule] of entries)
    for (const label of [rule.label, ...(rule.aliases ?? [])]) {
      const known = label?.toLowerCase();
      if (known === undefined || !wanted.startsWith(known)) continue;
      const rest = wanted.slice(known.length);
      if (rest === "") return { rule, name, label: true };
      if (rest === "_ka") return { rule, name, schedule: "karras", label: true };
      const schedule = rest.startsWith(" ") ? scheduleLabels[rest.trim()] : undefined;
      if (schedule) return { rule, name, schedule, label: true };
    }
  return undefined;
}

function scheduleOf(label: string | undefined): SigmaSchedule | "automatic" | undefined {
  if (label === undefined) return undefined;
  const schedule = scheduleLabels[label.trim().toLowerCase().replaceAll("_", " ")];
  if (!schedule) throw unknown("schedule type", label, Object.keys(scheduleLabels));
  return schedule;
}

const labels = (): string[] => entries.flatMap(([, rule]) => (rule.label ? [rule.label] : []));

function unknown(kind: string, wanted: string, candidates: readonly string[]): DiffusionError {
  const close = nearest(wanted, candidates);
  return new DiffusionError("BAD_OPTION", `there is no ${kind} "${wanted}"`, {
    hint: close ? `did you mean ${close}?` : `there are ${[...new Set(candidates)].join(", ")}`,
  });
}

/** The configuration keys that a name stands for, on top of the model's. */
export function namedKeys({ rule, name, schedule, label }: Named): SchedulerConfig {
  return {
    ...rule.preset,
    ...scheduleKeys(rule, name, schedule, label),
    _class_name: rule.className ?? name,
  };
}

/** What runs a model with EDM's preconditioning in place of a rule. */
const edmRules: Partial<Record<SchedulerRule, string>> = {
  euler: "EDMEulerScheduler",
  dpmpp_2m: "EDMDPMSolverMultistepScheduler",
  dpmpp_2m_sde: "EDMDPMSolverMultistepScheduler",
  dpmpp_2m_sde_heun: "EDMDPMSolverMultistepScheduler",
};

/**
 * The configuration keys of a name on a model with EDM's preconditioning, whose levels are not a table of betas.
 * @throws {DiffusionError} BAD_OPTION where there is no such rule or schedule
 */
export function edmKeys({ rule, name, schedule }: Named, model: SchedulerConfig): SchedulerConfig {
  const className = edmRules[name];
  if (!className)
    throw new DiffusionError("BAD_OPTION", `${name} does not run models with EDM preconditioning`, {
      hint: `this model's scheduler is ${model._class_name}; use ${Object.keys(edmRules).join(", ")}`,
    });
  if (schedule && !["automatic", "karras", "exponential"].includes(schedule))
    throw new DiffusionError("BAD_OPTION", `a model with EDM preconditioning has no ${schedule} schedule`, {
      hint: "use karras or exponential, or leave the schedule out",
    });
  const curve = schedule && schedule !== "automatic" ? { sigma_schedule: schedule } : {};
  return { ...rule.preset, ...curve, _class_name: className };
}

function scheduleKeys(
  rule: Rule,
  name: SchedulerRule,
  schedule: Named["schedule"],
  label: boolean,
): SchedulerConfig {
  if (!("schedule" in rule.defaults)) {
    if (schedule === undefined || schedule === "automatic" || (label && schedule === "uniform")) return {};
    throw new DiffusionError(
      "BAD_OPTION",
      `${name} has no ${schedule} schedule: it does not work on sigmas`,
      {
        hint: `leave the schedule out, or use it with euler, dpmpp_2m, …`,
      },
    );
  }
  const flag = {
    karras: "use_karras_sigmas",
    exponential: "use_exponential_sigmas",
    beta: "use_beta_sigmas",
  };
  const none = Object.fromEntries(Object.values(flag).map((key) => [key, false]));
  if (label && rule.onTimesteps) return {};
  if (label) {
    const own = schedule === "automatic" ? (rule.automatic ?? "uniform") : (schedule ?? "uniform");
    return {
      ...none,
      schedule: own,
      dialect: "k-diffusion",
      discard_next_to_last_sigma: rule.discards ?? false,
    };
  }
  if (schedule === undefined) return {};
  const key = schedule in flag ? flag[schedule as keyof typeof flag] : undefined;
  return key && key in rule.defaults ? { ...none, schedule: null, [key]: true } : { ...none, schedule };
}
