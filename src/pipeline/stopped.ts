import type { ResolvedOptions } from "../options/resolved.js";

/** Where a generation was when `stop` ended it. */
export interface Stopped {
  /** Steps of all pictures that were run, and those that were to be; the latter absent where nobody knew. */
  readonly step: number;
  readonly steps?: number;
  /** Pictures that were begun, and those that were asked for. */
  readonly begun: number;
  readonly pictures: number;
}

/** What the owner of the pictures should know of it. */
export function stoppedNote({ step, steps, begun, pictures }: Stopped): string {
  if (begun === 0) return "stopped before the first step: there is no picture";
  const where = `stopped after ${step}${steps === undefined ? "" : ` of ${steps}`} steps`;
  const left = pictures - begun;
  if (left === 0) return where;
  return `${where}: ${left} of ${pictures} pictures had not been begun and ${left === 1 ? "is" : "are"} left out`;
}

/** One of a part of the work, where the whole has one of its own. */
export const isStoppedNote = (note: string): boolean => note.startsWith("stopped ");

/** The options of the pictures that were begun, which are the first ones. */
export function ofBegun(options: ResolvedOptions, begun: number): ResolvedOptions {
  const { prompts, negativePrompts, prompts2, negativePrompts2, seeds, variation } = options;
  if (begun === seeds.length) return options;
  const first = <T>(values: readonly T[]) => values.slice(0, begun);
  return {
    ...options,
    ...{ prompts: first(prompts), negativePrompts: first(negativePrompts), seeds: first(seeds) },
    ...(prompts2 && { prompts2: first(prompts2) }),
    ...(negativePrompts2 && { negativePrompts2: first(negativePrompts2) }),
    ...(variation && { variation: { ...variation, seeds: first(variation.seeds) } }),
  };
}
