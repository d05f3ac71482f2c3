import { z } from "zod";
import { firstProblem, inWords } from "../../expectations.js";
import { nearest, preprocessors, type Size } from "../../index.js";
import { type OptionName, options } from "../../options/options.js";
import { saidOf, servedSchemas } from "../../options/schema.js";
import { Refusal } from "../refusal.js";
import { gridCells, gridRequest } from "./grid.js";
import type { Limits } from "./limits.js";

const whole = z.number().int();
const share = z.number().min(0).max(1);
const side = whole.min(1).max(16_384);
const size = z.strictObject({ width: side, height: side });
const seed = z.union([whole.min(0), z.string().min(1).max(200)]);
const margin = whole.min(0).max(4096).optional();
const base64 = z.string().describe("PNG, JPEG or WebP in base64, or a data: URL; never an address");

const level = whole.min(0).max(255);
const preprocessor = z.union([
  z.enum(preprocessors),
  z.strictObject({ name: z.literal("canny"), low: level.optional(), high: level.optional() }),
]);

/** A ControlNet or T2I-Adapter. @param image in base64, or its key; its mask likewise */
const control = (image: z.ZodString) =>
  z.strictObject({
    model: z.string().max(200).describe("a name from GET /controls; never a path"),
    image,
    mask: image.optional().describe("of ControlNets for inpainting: white or transparent = a hole"),
    preprocess: z.union([preprocessor, z.array(preprocessor).max(4)]).optional(),
    scale: z.number().min(0).max(10).optional(),
    start: share.optional(),
    end: share.optional(),
    guess: z.boolean().optional(),
  });
/** Pictures that an IP-Adapter sees beside the prompt. @param image in base64, or its key */
const picturePrompt = (image: z.ZodString) =>
  z.strictObject({
    model: z.string().max(200).describe("a name from GET /ip-adapters; never a path"),
    image: z.union([image, z.array(image).min(1).max(most.seen)]),
    scale: z.number().min(0).max(10).optional(),
    start: share.optional(),
    end: share.optional(),
  });
const most = { controls: 3, images: 256, seen: 8 };

/** Options of the library with bounds of the server's own, which a stranger's values must keep. */
const bounded = {
  prompt: z.string(),
  negativePrompt: z.string(),
  width: side,
  height: side,
  steps: options.steps.schema.max(1000),
  guidance: options.guidance.schema.max(100),
  deepCache: z.strictObject({ interval: options.deepCache.schema.shape.interval.max(100) }),
  clipSkip: options.clipSkip.schema.max(24),
  seed: seed.describe(
    "digits in a string are a number of up to 64 bits, other text goes through seedrandom; picture i uses seed + i",
  ),
  count: whole.min(1),
  scheduler: z.union([
    z.string().max(100),
    z.strictObject({ sampler: z.string().max(100), schedule: z.string().max(100).optional() }),
  ]),
  variation: z.strictObject({ seed: seed.optional(), strength: share }),
  seedSize: size,
  maskBlur: options.maskBlur.schema.max(512),
  onlyMasked: z.union([z.boolean(), z.strictObject({ padding: whole.min(0).max(4096) })]),
  expand: z.strictObject({ left: margin, top: margin, right: margin, bottom: margin }),
  hires: z.strictObject({
    scale: z.number().min(1).max(8).optional(),
    width: side.optional(),
    height: side.optional(),
    strength: share.optional(),
    steps: whole.min(1).max(1000).optional(),
    upscaler: z.string().max(100).optional(),
  }),
} satisfies Partial<Record<OptionName, z.ZodType>>;

type Bounded = typeof bounded;

/** What decides about a picture, under the library's names. Pictures stand apart: they are base64 on the wire. */
const settings = {
  ...servedSchemas,
  ...(Object.fromEntries(
    Object.entries(bounded).map(([name, schema]) => [name, saidOf(name as keyof Bounded, schema)]),
  ) as { [Name in keyof Bounded]: z.ZodOptional<Bounded[Name]> }),
  grid: gridRequest.optional(),
  refiner: z
    .strictObject({
      model: z.string().max(200).describe("a name from GET /models; never a path"),
      switchAt: z.number().gt(0).lt(1).describe("share of the noise schedule at which it goes on"),
    })
    .optional()
    .describe("a second model, such as SDXL's refiner, that finishes what the first has begun from noise"),
};

/** Lists by name, which the prompts of a stored request draw from. */
const lists = z.record(z.string(), z.array(z.string()).readonly());

export const generateRequest = z
  .strictObject({
    kind: z.literal("generate").optional(),
    model: z.string().max(200).optional().describe("a name from GET /models; never a path"),
    ...settings,
    wildcards: z
      .boolean()
      .optional()
      .describe(
        "__name__ in prompts draws a line of the server's lists, {a|b} one of its parts; by the seed of each picture (default: both are plain text)",
      ),
    image: base64.optional(),
    images: z
      .array(base64)
      .min(1)
      .max(most.images)
      .optional()
      .describe(
        "in place of image: picture i of the job starts from number i, after the last from the first",
      ),
    mask: base64.optional().describe("white or transparent = repaint"),
    controlnet: z.array(control(base64)).min(1).max(most.controls).optional(),
    ipAdapter: z.array(picturePrompt(base64)).min(1).max(most.controls).optional(),
  })
  .describe("The mode is implied: image is image to image, mask is inpainting, expand is outpainting.");
export type GenerateRequest = z.infer<typeof generateRequest>;

export const upscaleRequest = z.strictObject({
  kind: z.literal("upscale"),
  image: base64,
  scale: z.number().min(1).max(8).optional(),
  width: side.optional(),
  height: side.optional(),
  upscaler: z.string().max(100).optional(),
});
export type UpscaleRequest = z.infer<typeof upscaleRequest>;

/** A file beside the model, as the server that accepted the job has it. */
const namedFile = z.strictObject({
  kind: z.enum(["lora", "embed", "vae", "control", "ip-adapter", "upscaler"]),
  name: z.string(),
  sha256: z.string(),
});
export type NamedFile = z.infer<typeof namedFile>;
/** Those that the request names, for workers to compare with theirs. */
const files = z.array(namedFile).optional();

const storedGenerate = z.strictObject({
  kind: z.literal("generate"),
  model: z.string(),
  /** Name of the autoencoder that was chosen when the job came, if not the model's own. */
  vae: z.string().optional(),
  webuiSteps: z.boolean().optional(),
  /** What becomes of mentions of LoRAs that nobody has: refused by default; of the web UI's API they are left out and told. */
  missingLoras: z.literal("ignore").optional(),
  ...settings,
  count: whole.min(1),
  files,
  wildcards: lists.optional(),
  image: z.string().optional(),
  images: z.array(z.string()).min(1).max(most.images).optional(),
  mask: z.string().optional(),
  controlnet: z.array(control(z.string())).min(1).max(most.controls).optional(),
  ipAdapter: z.array(picturePrompt(z.string())).min(1).max(most.controls).optional(),
});
const storedUpscale = z.strictObject({
  kind: z.literal("upscale"),
  image: z.string(),
  width: whole.min(1),
  height: whole.min(1),
  upscaler: z.string(),
  files,
  /** Only its middle. */
  crop: size.optional(),
});

/** A job as it is kept: a model that exists, and pictures by the key of the image store. */
export const storedRequest = z.discriminatedUnion("kind", [storedGenerate, storedUpscale]);
export type StoredRequest = z.infer<typeof storedRequest>;
export type StoredGenerate = z.infer<typeof storedGenerate>;
export type StoredUpscale = z.infer<typeof storedUpscale>;

/** Reads a body with a schema; the first problem becomes one sentence. */
export function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problem = firstProblem(result.error, value);
  const { path, unknownKey } = problem;
  const names = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const near = path === "" && unknownKey !== undefined ? nearest(unknownKey, names) : undefined;
  throw new Refusal(
    400,
    "BAD_OPTION",
    inWords(problem, "body"),
    near ? { hint: `did you mean ${near}?` } : {},
  );
}

/** Keys of all pictures that a request brings along. */
export function pictureKeys(request: StoredRequest): string[] {
  if (request.kind === "upscale") return [request.image];
  const { image, images = [], mask, controlnet = [], ipAdapter = [] } = request;
  const followed = [...controlnet, ...ipAdapter].flatMap(({ image }) => image);
  const holes = controlnet.map((control) => control.mask);
  return [image, ...images, mask, ...followed, ...holes].filter((key) => key !== undefined);
}

/** A request with the one of its `images` that picture i starts from. */
export function startOf({ images, ...request }: StoredGenerate, i: number): StoredGenerate {
  return images ? { ...request, image: images[i % images.length]! } : request;
}

/** Numbers beyond 2^53 come as digits in a string; other text is a seed of its own. */
export function parseSeed(seed: number | string): number | bigint | string {
  if (typeof seed === "number" || !/^\d{1,20}$/.test(seed)) return seed;
  return Number.isSafeInteger(Number(seed)) ? Number(seed) : BigInt(seed);
}

/** Refuses jobs with more pictures or longer texts than one client may have; see jobs/plan.ts for what they take. */
export function checkCounts(request: StoredGenerate, limits: Limits): void {
  const pictures = picturesOf(request);
  const count = pictures.reduce((sum, picture) => sum + picture.count, 0);
  const texts = pictures.flatMap(({ prompt = "", negativePrompt = "" }) => [prompt, negativePrompt]);
  if (count > limits.count)
    throw tooLarge(`${count} pictures in one job are too many`, `at most ${limits.count}`);
  if (texts.some(({ length }) => length > limits.promptLength))
    throw tooLarge("the prompt is too long", `at most ${limits.promptLength} characters`);
}

/** Refuses pictures that are only enlarged to more than the server makes. */
export function checkEnlarged({ width, height }: Size, { resultPixels }: Pick<Limits, "resultPixels">): void {
  if (width * height > 16 * resultPixels)
    throw tooLarge(
      `${width} x ${height} are more pixels than this server makes`,
      `at most ${16 * resultPixels}`,
    );
}

/** One request for each cell of a grid, or the request itself. */
export function picturesOf(request: StoredGenerate): StoredGenerate[] {
  const cells = gridCells(request);
  return cells.length > 0 ? cells : [request];
}

export const tooLarge = (message: string, hint: string): Refusal =>
  new Refusal(400, "TOO_LARGE", message, { hint });
