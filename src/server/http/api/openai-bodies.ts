import { z } from "zod";
import { firstProblem, inWords } from "../../../expectations.js";
import { nearest } from "../../../index.js";
import { Refusal } from "../../refusal.js";
import { ParameterRefusal } from "./openai-errors.js";

const numeric = z.coerce.number();

/** What generations, edits and variations share. Forms send numbers as text, so they are coerced. */
const shared = {
  model: z.string().max(200).nullish(),
  n: numeric.int().min(1).max(10).nullish(),
  size: z
    .string()
    .regex(/^(auto|\d{1,5}x\d{1,5})$/, 'must be "auto" or like "512x512"')
    .nullish(),
  quality: z.enum(["auto", "low", "medium", "high", "standard", "hd"]).nullish(),
  response_format: z.enum(["b64_json", "url"]).nullish(),
  output_format: z.enum(["png", "jpeg", "webp"]).nullish(),
  output_compression: numeric.int().min(0).max(100).nullish(),
  background: z.enum(["auto", "opaque", "transparent"]).nullish(),
  stream: z.union([z.boolean(), z.enum(["true", "false"]).transform((text) => text === "true")]).nullish(),
  partial_images: numeric.int().min(0).max(3).nullish(),
  style: z.string().nullish(),
  input_fidelity: z.string().nullish(),
  // Beyond OpenAI's API: the knobs of diffusion models.
  negative_prompt: z.string().nullish(),
  steps: numeric.int().min(1).max(1000).nullish(),
  guidance: numeric.min(0).max(100).nullish(),
  seed: numeric.int().min(0).nullish(),
  scheduler: z.string().max(100).nullish(),
  strength: numeric.min(0).max(1).nullish(),
};

export const generationsBody = z.object({ prompt: z.string(), ...shared });
export const editsBody = z
  .object({ prompt: z.string(), ...shared })
  .describe("multipart/form-data with image (or image[]), and mask to repaint a part only");
export const variationsBody = z.object({ ...shared }).describe("multipart/form-data with image");
export type Body = z.infer<typeof variationsBody> & { readonly prompt?: string };

/** What decides about pictures at OpenAI and not here, which is told. */
export const withoutEffect = ["style", "input_fidelity"] as const;
/** What clients send that decides nothing about pictures. */
const withoutMeaning = ["user", "moderation", "safety_identifier"];
/** Fields of forms that hold files, which are read by themselves. */
export const files = ["image", "image[]", "mask"];

/**
 * @param others further names that a body may have
 * @throws ParameterRefusal with the first thing that is wrong
 */
export function check<T>(
  schema: z.ZodObject & z.ZodType<T>,
  value: unknown,
  others: readonly string[] = [],
): T {
  const result = schema.safeParse(value);
  if (result.success) {
    const names = [...Object.keys(schema.shape), ...withoutMeaning, ...others];
    const unknown = Object.keys(value as object).find((name) => !names.includes(name));
    if (unknown === undefined) return result.data;
    const near = nearest(unknown, names);
    // In OpenAI's words.
    throw new ParameterRefusal(unknown, `Unknown parameter: '${unknown.slice(0, 100)}'.`, {
      code: "unknown_parameter",
      ...(near && { hint: `did you mean ${near}?` }),
    });
  }
  const problem = firstProblem(result.error, value);
  throw new ParameterRefusal(problem.path, inWords(problem, "body"));
}

export const badBody = (): never => {
  throw new Refusal(400, "BAD_JSON", "the body cannot be read");
};
