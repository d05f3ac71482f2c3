import { z } from "zod";
import type { OnProgress } from "../events.js";
import { firstProblem, inWords } from "../expectations.js";
import type { Margins } from "../image/outpaint.js";
import { preprocessors } from "../image/preprocess.js";
import type { SchedulerChoice, SchedulerFactory } from "../schedulers/scheduler.js";
import { maskedContents, outputs, promptSyntaxes, resizeModes, rngNames } from "./choices.js";
import type { ControlInput, GenerateOptions, ImageInput, IpAdapterInput, MaskInput } from "./options.js";
import { refusal, unknownOption, withoutUndefined } from "./refusal.js";

const share = z.number().min(0).max(1);
const whole = z.number().int();
const text = z.union([z.string(), z.array(z.string()).min(1)]);
const seed = z.union([z.number(), z.bigint(), z.string()]);
const size = z.strictObject({ width: whole.min(1), height: whole.min(1) });
const given = <T>() => z.custom<T>((value) => value !== null && value !== undefined);
const sizes = {
  original: size.optional(),
  crop: z.strictObject({ left: whole, top: whole }).optional(),
  target: size.optional(),
};

const values = (rank: number) =>
  z.strictObject({ shape: z.array(whole.min(1)).length(rank), data: z.instanceof(Float32Array) });
const threshold = z.number().min(0).max(100_000);
const preprocessor = z.union([
  z.enum(preprocessors),
  z.strictObject({
    name: z.literal("canny"),
    low: threshold.optional(),
    high: threshold.optional(),
    norm: z.enum(["l1", "l2"]).optional(),
  }),
]);
const conditioning = z.strictObject({ context: values(3), pooled: values(2).optional() });

const ipAdapter = z.strictObject({
  model: z.string().optional(),
  imageEncoder: z.string().optional(),
  image: given<ImageInput | readonly ImageInput[]>(),
  scale: z.number().optional(),
  start: share.optional(),
  end: share.optional(),
} satisfies Record<keyof IpAdapterInput, z.ZodType>);

const schema = z.strictObject({
  prompt: text.optional(),
  negativePrompt: text.optional(),
  promptSyntax: z.enum(promptSyntaxes).optional(),
  promptEmbeds: conditioning.optional(),
  negativePromptEmbeds: conditioning.optional(),
  prompt2: text.optional(),
  negativePrompt2: text.optional(),
  width: whole.min(1).optional(),
  height: whole.min(1).optional(),
  sizes: z.strictObject({ ...sizes, negative: z.strictObject(sizes).optional() }).optional(),
  steps: whole.min(1).optional(),
  guidance: z.number().min(0).optional(),
  guidanceInterval: z.tuple([share, share]).optional(),
  deepCache: z.strictObject({ interval: whole.min(2) }).optional(),
  tokenMerging: z.number().gt(0).max(0.75).optional(),
  guidanceRescale: share.optional(),
  imageGuidance: z.number().min(0).optional(),
  eta: share.optional(),
  clipSkip: whole.min(0).optional(),
  seed: seed.optional(),
  count: whole.min(1).max(1000).optional(),
  variation: z.strictObject({ seed: seed.optional(), strength: share }).optional(),
  seedSize: size.optional(),
  rng: z.enum(rngNames).optional(),
  scheduler: given<SchedulerChoice | SchedulerFactory>().optional(),
  denoisingStart: share.optional(),
  denoisingEnd: share.optional(),
  image: given<ImageInput>().optional(),
  strength: share.optional(),
  exactSteps: z.boolean().optional(),
  resizeMode: z.enum(resizeModes).optional(),
  mask: given<MaskInput>().optional(),
  maskInvert: z.boolean().optional(),
  maskBlur: z.number().min(0).max(1024).optional(),
  maskedContent: z.enum(maskedContents).optional(),
  onlyMasked: z.union([z.boolean(), z.strictObject({ padding: whole.min(0) })]).optional(),
  expand: given<Partial<Margins>>().optional(),
  expandStep: whole.min(8).optional(),
  seamStrength: share.optional(),
  hires: z
    .strictObject({
      scale: z.number().positive().max(16).optional(),
      width: whole.min(1).optional(),
      height: whole.min(1).optional(),
      strength: share.optional(),
      steps: whole.min(1).optional(),
      upscaler: z.string().optional(),
    })
    .optional(),
  controlnet: z
    .array(
      z.strictObject({
        model: z.string(),
        image: given<ImageInput>(),
        preprocess: z.union([preprocessor, z.array(preprocessor)]).optional(),
        scale: z.number().optional(),
        start: share.optional(),
        end: share.optional(),
        guess: z.boolean().optional(),
      } satisfies Record<keyof ControlInput, z.ZodType>),
    )
    .min(1)
    .optional(),
  ipAdapter: z.union([ipAdapter, z.array(ipAdapter).min(1)]).optional(),
  noiseLevel: whole.min(0).optional(),
  tiles: z.strictObject({ size: whole.min(8).optional(), overlap: whole.min(0).optional() }).optional(),
  latents: values(4).optional(),
  output: z.enum(outputs).optional(),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z.custom<OnProgress>((value) => typeof value === "function").optional(),
  preview: z.union([z.boolean(), z.strictObject({ every: whole.min(1) })]).optional(),
} satisfies Record<keyof GenerateOptions, z.ZodType>);

/** Options that a call may hold, for those who pass on the options of others. */
export const optionNames: readonly string[] = Object.keys(schema.shape);

/**
 * Refuses unknown options and values of the wrong kind, each in one sentence.
 *
 * @param others names that may be meant by an unknown one, too
 * @throws DiffusionError BAD_OPTION with the nearest name
 */
export function checkOptions(options: GenerateOptions, others: readonly string[] = []): void {
  const given = withoutUndefined(options);
  const { error } = schema.safeParse(given);
  if (!error) return;
  const problem = firstProblem(error, given);
  const { path, unknownKey } = problem;
  if (unknownKey === undefined) throw refusal(inWords(problem, "options"));
  throw unknownOption(path, unknownKey, [...optionNames, ...others]);
}
