import type { WholeOptions } from "../options/resolved.js";
import { idleSchedule, takesEta } from "../schedulers/catalog.js";

/** What was asked for and has no effect, one sentence each. */
export const unusedNotes = (options: WholeOptions): string[] => [
  ...etaNotes(options),
  ...scheduleNotes(options),
];

function etaNotes({ eta, scheduler }: WholeOptions): string[] {
  if (eta === undefined || scheduler === "custom" || takesEta(scheduler)) return [];
  return [`eta ${eta} has no effect: ${scheduler._class_name} does not take it`];
}

function scheduleNotes({ scheduler, schedulerName: name, ...options }: WholeOptions): string[] {
  if (scheduler === "custom" || name === undefined) return [];
  const { steps, strength = 1, denoisingStart = 0, denoisingEnd = 1, hires } = options;
  const isWhole = strength === 1 && denoisingStart === 0 && denoisingEnd === 1 && !hires;
  const idle = idleSchedule(name, scheduler, isWhole ? { steps } : undefined);
  if (idle === undefined) return [];
  const sampler = typeof name === "string" ? name : name.sampler;
  return [`the schedule ${idle} has no effect: ${sampler} goes its own way from noise to picture`];
}
