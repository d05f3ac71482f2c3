import type { z } from "zod";
import { firstProblem, inWords } from "../expectations.js";
import type { Values } from "../latents/latents.js";
import { refuseEmptyWindows } from "./control-options.js";
import { type Described, schemaOf } from "./described.js";
import {
  descriptions,
  type GenerateOptions,
  type NamesWith,
  namesWith,
  type OptionName,
  options,
} from "./options.js";
import { refusal, requireObject, unknownOption, withoutUndefined } from "./refusal.js";

const schema = schemaOf(options);

/** Options that a call may hold, for those who pass on the options of others. */
export const optionNames: readonly string[] = descriptions.map(([name]) => name);

/**
 * Refuses unknown options and values of the wrong kind, each in one sentence.
 *
 * @param others names that may be meant by an unknown one, too
 * @throws DiffusionError BAD_OPTION with the nearest name
 */
export function checkOptions(asked: GenerateOptions, others: readonly string[] = []): void {
  requireObject("options", asked);
  const given = withoutUndefined(asked);
  const { error } = schema.safeParse(given);
  if (!error) {
    refuseNoNumbers(asked);
    refuseEmptyWindows(given);
    return;
  }
  const problem = firstProblem(error, given);
  const { path, unknownKey } = problem;
  if (unknownKey === undefined) throw refusal(inWords(problem, "options"));
  throw unknownOption(schema, { path, key: unknownKey }, others);
}

/** Numbers that would make a picture of nothing but noise, or of grey, without a word. */
function refuseNoNumbers({ latents, image, promptEmbeds, negativePromptEmbeds }: GenerateOptions): void {
  const all: Readonly<Record<string, Values | undefined>> = {
    latents,
    ...(typeof image === "object" && "shape" in image && { image }),
    "promptEmbeds.context": promptEmbeds?.context,
    "promptEmbeds.pooled": promptEmbeds?.pooled,
    "negativePromptEmbeds.context": negativePromptEmbeds?.context,
    "negativePromptEmbeds.pooled": negativePromptEmbeds?.pooled,
  };
  for (const [name, values] of Object.entries(all)) {
    const wrong = values?.data.findIndex((value) => !Number.isFinite(value)) ?? -1;
    if (wrong >= 0)
      throw refusal(`${name}: number ${wrong} is ${values!.data[wrong]}`, "expected finite ones");
  }
}

type Served = NamesWith<{ served: true }>;

/** Options that a stranger may send as they are, with what is said about them: the library's own checks. */
export const servedSchemas = Object.fromEntries(
  namesWith("served").map((name) => [name, saidOf(name, options[name].schema)]),
) as { readonly [Name in Served]: z.ZodOptional<(typeof options)[Name]["schema"]> };

/** A schema of an option that need not be given, with what is said about it. */
export function saidOf<Schema extends z.ZodType>(name: OptionName, schema: Schema): z.ZodOptional<Schema> {
  const { about }: Described = options[name];
  return about === undefined ? schema.optional() : schema.optional().describe(about);
}
