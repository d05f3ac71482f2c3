import type { SchedulerConfig } from "../schedulers/config.js";
import type { SchedulerName } from "../schedulers/names.js";
import { type ControlOptions, controlOptions } from "./control-options.js";
import type { Described, Descriptions } from "./described.js";
import { type ImageOptions, imageOptions } from "./image-options.js";
import { type RunOptions, runOptions } from "./run-options.js";
import { type SamplingOptions, samplingOptions } from "./sampling-options.js";
import { type TextOptions, textOptions } from "./text-options.js";

/** The mode is never passed: what is given implies it. */
export interface GenerateOptions
  extends TextOptions,
    SamplingOptions,
    ImageOptions,
    ControlOptions,
    RunOptions {}

export type OptionName = keyof GenerateOptions;

/** What is known of each option: its values, and what follows from it elsewhere. */
export const options = {
  ...textOptions,
  ...samplingOptions,
  ...imageOptions,
  ...controlOptions,
  ...runOptions,
} as const satisfies Descriptions<GenerateOptions>;

type Known = typeof options;

/** Names of the options whose description says something. */
export type NamesWith<Said extends object> = {
  [Name in OptionName]: Known[Name] extends Said ? Name : never;
}[OptionName];

/** Options that decide about the picture as they are given. */
type Kept = NamesWith<{ kept: true }>;
/** Those of them that have a value where none is given. */
type KeptAlways = NamesWith<{ kept: true; fallback: unknown }>;

/** What is kept of the options under their own names. */
export type KeptOptions = Readonly<Required<Pick<GenerateOptions, KeptAlways>>> &
  Readonly<Pick<GenerateOptions, Exclude<Kept, KeptAlways>>>;

/** The same descriptions, for those who go through all of them. */
export const descriptions = Object.entries(options) as readonly [OptionName, Described][];

/** What a model brings as its own defaults, in the generation_defaults.json beside its model_index.json. */
export type GenerationDefaults = Omit<
  Pick<GenerateOptions, NamesWith<{ ofModel: true }>>,
  "scheduler" | "negativePrompt"
> & {
  readonly scheduler?: SchedulerName | SchedulerConfig;
  readonly negativePrompt?: string;
};

/** Names of the options of which something is said. */
export const namesWith = <Key extends "served" | "axis" | "kept" | "ofModel">(key: Key) =>
  descriptions.flatMap(([name, described]) => (described[key] ? [name] : [])) as NamesWith<
    Record<Key, true>
  >[];
