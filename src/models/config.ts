import { z } from "zod";
import { DiffusionError } from "../errors.js";
import { inWords, problemsOf } from "../expectations.js";

/**
 * What the readers of the checkpoints' config.json files share. Each turns a file into the typed config of its
 * network. Absent keys take the defaults of diffusers' and transformers' classes; keys that only matter in training
 * are ignored.
 */

export const count = z.number().int().positive().max(65_536);
export const perLevel = z.array(count).min(1).max(16);
/** No network has more in a block; a config made to exhaust memory does. */
const MOST_LAYERS = 64;
export const layers = z.number().int().positive().max(MOST_LAYERS);
export const layersPerLevel = z.array(layers).min(1).max(16);
/** Of transformers behind a layer, which may have none. */
export const depth = z.number().int().nonnegative().max(MOST_LAYERS);
export const sampleSize = nullable(z.union([count, z.array(count)]));
export const silu = z.enum(["silu", "swish"]).default("silu");

export function nullable<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform((value) => value ?? undefined);
}

/** The keys that a reader looks at. */
export const keysOf = (schema: z.ZodObject): readonly string[] => Object.keys(schema.shape);

/** One value for all levels, or a list with one for each. */
export const spread = <T>(value: T | readonly T[], levels: number): T[] =>
  Array.isArray(value) ? [...value] : Array(levels).fill(value);

/** @throws DiffusionError MODEL_KIND, naming the file, the keys and what they must be */
export function parse<T extends z.ZodType>(schema: T, json: unknown, file: string): z.infer<T> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const problems = problemsOf(result.error, json).map((problem) => inWords(problem, "the file"));
  throw new DiffusionError("MODEL_KIND", `${file} cannot be used: ${problems.join("; ")}`, {
    hint: "the network of this checkpoint is of a kind that is not supported, or the file is damaged",
  });
}

export const unusable = (file: string, problem: string) =>
  new DiffusionError("MODEL_KIND", `${file} cannot be used: ${problem}`);

export function requireLengths(
  file: string,
  levels: number,
  lists: Record<string, readonly unknown[]>,
): void {
  for (const [key, list] of Object.entries(lists))
    if (list.length !== levels)
      throw unusable(file, `${key} has ${list.length} entries for ${levels} levels of block_out_channels`);
}

export function requireDivisible(
  file: string,
  what: string,
  widths: readonly number[],
  divisors: readonly number[],
): void {
  widths.forEach((width, i) => {
    if (width % divisors[i]! !== 0)
      throw unusable(file, `block_out_channels ${width} does not divide by ${what} ${divisors[i]}`);
  });
}

export const firstOf = (value: number | number[] | undefined): number | undefined =>
  Array.isArray(value) ? value[0] : value;
