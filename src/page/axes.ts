import type { GenerateView, RequestView } from "./server.js";
import type { Word } from "./words.js";

/** An axis of a grid as it is typed; no option, no axis. */
export interface AxisSetting {
  readonly option: AxisOption | "";
  readonly values: string;
}
export const noAxis: AxisSetting = { option: "", values: "" };

/**
 * Numbers of "More settings", under the API's names: their range, and their name in a picture's text. 0 leaves them out.
 */
export const furtherNumbers = {
  guidanceRescale: { min: 0, max: 1, step: 0.05, field: "Guidance rescale", from: 0 },
  // The web UI counts from 1.
  clipSkip: { min: 0, max: 11, step: 1, field: "Clip skip", from: 1 },
} as const satisfies Partial<Record<Word, object>>;

export type FurtherNumber = keyof typeof furtherNumbers;
export const furtherNames = Object.keys(furtherNumbers) as readonly FurtherNumber[];

const numbers = ["steps", "guidance", "seed", "strength", ...furtherNames] as const;
const texts = ["prompt", "negativePrompt"] as const satisfies readonly Word[];

export type AxisOption = (typeof numbers)[number] | (typeof texts)[number] | "scheduler";

/** What an axis may vary in a form. */
export function axisOptions(mode: string): readonly AxisOption[] {
  if (mode === "unconditional") return ["steps", "seed", "scheduler"];
  const takesStrength = mode === "image" || mode === "inpaint" || mode === "outpaint";
  const fitting = numbers.filter((option) => option !== "strength" || takesStrength);
  return [...fitting, "scheduler", ...texts];
}

/** Prompts have commas of their own. */
export const separatorOf = (option: AxisSetting["option"]): string =>
  texts.some((text) => text === option) ? "|" : ",";

function axisOf({ option, values }: AxisSetting, options: readonly AxisOption[]): Grid["x"] | undefined {
  if (option === "" || !options.includes(option)) return undefined;
  const given = values
    .split(separatorOf(option))
    .map((value) => value.trim())
    .filter(Boolean);
  const isNumber = numbers.some((number) => number === option);
  return {
    option,
    values: given.map((value) => (isNumber && !Number.isNaN(Number(value)) ? Number(value) : value)),
  };
}

/** As a job has it; a form offers fewer options. */
export type Grid = NonNullable<GenerateView["grid"]>;

/** The grid that a form asks for. A single axis may stand in either field. */
export function gridOf(
  { x, y }: { readonly x: AxisSetting; readonly y: AxisSetting },
  options: readonly AxisOption[],
): Grid | undefined {
  const [first, second] = [x, y].map((axis) => axisOf(axis, options)).filter((axis) => axis !== undefined);
  return first && { x: first, ...(second && { y: second }) };
}

/** The grid of a job. */
export const gridOfRequest = (request: RequestView): Grid | undefined =>
  request.kind === "generate" ? request.grid : undefined;

/** The request of one cell, row by row. */
export function cellOf(request: RequestView, index: number): RequestView {
  const grid = gridOfRequest(request);
  if (!grid) return request;
  const { x, y } = grid;
  const columns = x.values.length;
  return {
    ...request,
    [x.option]: x.values[index % columns],
    ...(y && { [y.option]: y.values[Math.floor(index / columns)] }),
  };
}
