import { z } from "zod";
import { DiffusionError } from "../errors.js";
import { firstProblem, inWords } from "../expectations.js";
import { steppingClass } from "../schedulers/config.js";
import { createScheduler, schedulerConfig } from "../schedulers/scheduler.js";
import { contradicts, refuseForModel } from "./contradictions.js";
import { type Described, schemaOf } from "./described.js";
import { type GenerateOptions, type GenerationDefaults, namesWith, options } from "./options.js";
import { unknownOption } from "./refusal.js";
import type { ModelTraits } from "./resolved.js";
import { checkedSize } from "./sizes.js";

const described: Readonly<Record<string, Described>> = {
  ...Object.fromEntries(namesWith("ofModel").map((name) => [name, options[name]])),
  // What a file can hold of them.
  scheduler: { schema: z.union([z.string(), z.record(z.string(), z.unknown())]) },
  negativePrompt: { schema: z.string() },
};
const schema = schemaOf(described);

/**
 * What a model's generation_defaults.json says, checked as the options of a call are: names, values, and whether they mean
 * something to the model. Keys that begin with "_" are for people.
 *
 * @throws DiffusionError FILE_FORMAT that names the file, the key, and the name that may be meant
 */
export function checkGenerationDefaults(
  path: string,
  content: Readonly<Record<string, unknown>>,
  model: ModelTraits,
): GenerationDefaults {
  const values = Object.fromEntries(Object.entries(content).filter(([key]) => !key.startsWith("_")));
  try {
    checkNamesAndValues(values);
    const defaults = values as GenerationDefaults;
    const { width, height, scheduler } = defaults;
    refuseForModel(defaults, model);
    checkedSize({ ...(width !== undefined && { width }), ...(height !== undefined && { height }) }, model);
    if (scheduler !== undefined)
      createScheduler(schedulerConfig(scheduler, model.scheduler), {
        steps: usualSteps({ ...model, defaults }),
      });
    return defaults;
  } catch (cause) {
    if (!(cause instanceof DiffusionError)) throw cause;
    const { message, hint } = cause;
    throw new DiffusionError("FILE_FORMAT", `${path}: ${message}`, { cause, ...(hint && { hint }) });
  }
}

function checkNamesAndValues(values: object): void {
  const { error } = schema.safeParse(values);
  if (!error) return;
  const problem = firstProblem(error, values);
  const { path, unknownKey } = problem;
  if (unknownKey === undefined) throw new DiffusionError("FILE_FORMAT", inWords(problem, "the file"));
  throw unknownOption(schema, { path, key: unknownKey });
}

/** What a picture of a model is made with where neither the call nor anything else says it. */
export type UsualOptions = GenerationDefaults &
  Required<Pick<GenerationDefaults, "steps" | "width" | "height">>;

/** The model's own defaults, completed by those of its kind. */
export const usualOptions = (model: ModelTraits): UsualOptions => ({
  steps: usualSteps(model),
  ...(model.hasText && { guidance: usualGuidance(model) }),
  width: model.size,
  height: model.size,
  ...model.defaults,
});

export function usualGuidance({ defaults, guidanceEmbedding, sees }: ModelTraits): number {
  if (defaults?.guidance !== undefined) return defaults.guidance;
  if (guidanceEmbedding) return 8.5;
  return sees === "lowres" ? 9 : 7.5;
}

export function usualSteps(model: ModelTraits): number {
  if (model.defaults?.steps !== undefined) return model.defaults.steps;
  if (model.guidanceEmbedding) return 4;
  if (model.sees === "lowres") return model.hasText ? 75 : 100;
  const isDdpm =
    !model.hasText &&
    model.factor === 1 &&
    steppingClass(String(model.scheduler._class_name)) === "DDPMScheduler";
  return isDdpm ? 1000 : 20;
}

/**
 * What was asked for, and for the rest the model's own defaults. One that contradicts what was asked gives way.
 *
 * @param hasSize a picture or latents to start from say how large the result is
 */
export function withGenerationDefaults(
  asked: GenerateOptions,
  { defaults = {} }: ModelTraits,
  hasSize: boolean,
): GenerateOptions {
  const open = Object.entries(defaults).filter(([key]) => {
    const name = key as keyof GenerationDefaults;
    if (hasSize && (name === "width" || name === "height")) return false;
    return asked[name] === undefined && !contradicts(name, asked);
  });
  return { ...asked, ...(Object.fromEntries(open) as GenerateOptions) };
}
