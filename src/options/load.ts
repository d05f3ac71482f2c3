import { z } from "zod";
import type { OnProgress } from "../events.js";
import { firstProblem } from "../expectations.js";
import {
  type Precision,
  type Prediction,
  precisions,
  predictions,
  type RuntimeName,
  runtimes,
} from "./choices.js";
import { type Descriptions, schemaOf } from "./described.js";
import { refusal, requireObject, unknownOption, withoutUndefined } from "./refusal.js";

/** How a model of the hub is found and fetched, and who hears of it. */
export interface FindOptions {
  /** Of a hub model: branch, tag or commit. */
  revision?: string;
  /** For gated hub models. Default: HF_TOKEN, or the token file. */
  token?: string;
  /** Never asks the hub: what was downloaded before is used. Default false. */
  offline?: boolean;
  signal?: AbortSignal;
  onProgress?: OnProgress;
}

export interface LocateOptions extends FindOptions {
  /** Takes the float16 files of a model that has both. */
  readonly variant?: "fp16";
}

export interface DescribeOptions extends LocateOptions {
  /** Of a single file that says or holds too little, as for loading it. */
  readonly config?: string;
}

export interface LoadOptions extends FindOptions {
  /** Default "fp32". */
  precision?: Precision;
  /** "graph" (default) is the fast one, "eager" the reference. */
  runtime?: RuntimeName;
  /**
   * Of a single file that says or holds too little: a diffusers folder (or hub name) of the same family. Its configs,
   * tokenizers and scheduler are taken, and the networks that the file lacks.
   */
  config?: string;
  /** What the UNet predicts, whatever the model says. Default: what it says, or what its kind usually does. */
  prediction?: Prediction;
  /**
   * An autoencoder in place of the model's: a folder with config.json and weights, a single file (the original layout,
   * by itself or in a whole model), or a hub name.
   */
  vae?: string;
  /** A small decoder (AutoencoderTiny, such as madebyollin/taesd) for results and previews: folder, its author's file, or hub name. */
  taesd?: string;
  /** What `taesd` decodes: "all" (default), or "previews", which leaves results to the VAE. */
  taesdFor?: "all" | "previews";
  /** Folder of LoRAs that prompts may name: `<lora:name:0.8>` is name.safetensors in it, or in a folder in it. */
  loraDir?: string;
  /**
   * Folder of learned words (textual inversions: .safetensors, .pt, .bin). A prompt that says the name of a file in it,
   * without the ending, means that word.
   */
  embeddingsDir?: string;
  /** Encodes and decodes in tiles: always or never. Default: where a picture would take too much memory. */
  vaeTiling?: boolean;
  /**
   * Default true: networks stay loaded after their use. False: text encoders, the UNet and the VAE, which are used one
   * after another, each give their memory back, and are loaded anew for the next picture.
   */
  keepLoaded?: boolean;
  /** Where converted weights and graphs are kept. Default: TFJS_DIFFUSION_CACHE, else the user's cache folder. */
  cacheDir?: string;
  /** Threads of the processor. Default: one for each physical core. */
  threads?: number;
  /** Bytes of private memory that the process that computes may take (on Linux); beyond it, it is ended and started anew. */
  memoryLimit?: number;
  /** Milliseconds that one run of a network may take before its process counts as hung, and is started anew. */
  hangMs?: number;
}

/** Options of loading that a network which enlarges pictures takes. */
export const upscalerOptionNames = [
  ...(["revision", "token", "offline"] as const),
  ...(["precision", "runtime", "threads", "memoryLimit", "hangMs", "cacheDir"] as const),
] as const;

/** Of a network that enlarges pictures. */
export type UpscalerOptions = Pick<LoadOptions, (typeof upscalerOptionNames)[number]>;

/** Of a network that stands in a `tf.model`. */
export interface LayerOptions extends LocateOptions {
  /** As `StableDiffusion.load` takes it; absent: the default model. */
  readonly model?: string;
  /** Samples in a batch. Default 1. */
  readonly batch?: number;
  /** Sides of the picture in pixels. Default: the model's own. */
  readonly width?: number;
  readonly height?: number;
}

// Each says what a value must be.
const text = z.string({ error: "text" });
const flag = z.boolean({ error: "true or false" });
const count = z.int({ error: "a whole number above 0" }).min(1, { error: "a whole number above 0" });
/** TensorFlow starts all of them at once, and aborts where the system refuses one. */
const threads = count.max(1024, { error: "at most 1024" });
const amount = z.number({ error: "a number above 0" }).positive({ error: "above 0" });
const oneOf = <Word extends string>(words: readonly [Word, ...Word[]]) =>
  z.enum(words, { error: [words.slice(0, -1).join(", "), words.at(-1)].filter(Boolean).join(" or ") });

const finding = {
  revision: { schema: text, about: "of a hub model: branch, tag or commit", flag: "<name>" },
  token: { schema: text },
  offline: { schema: flag, about: "never ask the hub", flag: "" },
  signal: { schema: z.instanceof(AbortSignal, { error: "an AbortSignal" }) },
  onProgress: {
    schema: z.custom<OnProgress>((value) => typeof value === "function", { error: "a function" }),
  },
} as const satisfies Descriptions<FindOptions>;

/** What is known of each option of loading. */
export const loadOptions = {
  loraDir: {
    schema: text,
    about: "where <lora:name:0.8> in prompts finds its files",
    flag: "<folder>",
  },
  embeddingsDir: {
    schema: text,
    about: "learned words (textual inversions), which prompts call by the names of their files",
    flag: "<folder>",
  },
  vae: { schema: text, about: "another autoencoder: folder, file or hub name", flag: "<model>" },
  taesd: {
    schema: text,
    about: "a small decoder for results and previews: folder, file or hub name",
    flag: "<model>",
  },
  taesdFor: {
    schema: oneOf(["all", "previews"]),
    about: "what --taesd decodes: all (default), or previews, which leaves results to the VAE",
    flag: "<what>",
  },
  config: {
    schema: text,
    about:
      "of a single file that says or holds too little: a folder or hub name of a whole model of its family",
    flag: "<model>",
  },
  prediction: {
    schema: oneOf(predictions),
    about: "what the UNet predicts, where the model does not say it or says it wrongly",
    flag: "<kind>",
  },
  vaeTiling: { schema: flag },
  ...finding,
  precision: { schema: oneOf(precisions), about: "of the weights (default: fp32)", flag: "<name>" },
  runtime: {
    schema: oneOf(runtimes),
    about: "graph (default) is fast, eager the reference",
    flag: "<name>",
  },
  keepLoaded: { schema: flag },
  threads: { schema: threads, about: "of the processor (default: one for each core)", flag: "<n>" },
  memoryLimit: { schema: amount },
  hangMs: { schema: amount },
  cacheDir: {
    schema: text,
    about: "for converted weights (default: TFJS_DIFFUSION_CACHE, or the user's cache)",
    flag: "<folder>",
  },
} as const satisfies Descriptions<LoadOptions>;

const loadSchema = schemaOf(loadOptions);

const locateSchema = schemaOf({
  ...finding,
  variant: { schema: oneOf(["fp16"]) },
} satisfies Descriptions<LocateOptions>);

const describeSchema = locateSchema.extend({ config: text.optional() });

const upscalerSchema = schemaOf(
  Object.fromEntries(upscalerOptionNames.map((name) => [name, loadOptions[name]])),
);

const layerSchema = locateSchema.extend({
  model: text.optional(),
  batch: count.optional(),
  width: count.optional(),
  height: count.optional(),
} satisfies Record<Exclude<keyof LayerOptions, keyof LocateOptions>, z.ZodType>);

/** Options of loading a model, for those who tell them apart from those of a picture. */
export const loadOptionNames: readonly string[] = Object.keys(loadOptions);

/**
 * Refuses unknown options and values of the wrong kind, each in one sentence.
 *
 * @throws DiffusionError BAD_OPTION with the nearest name
 */
export function checkLoadOptions(options: LoadOptions): void {
  check(loadSchema, options);
  if (options.taesdFor !== undefined && options.taesd === undefined)
    throw refusal("taesdFor needs taesd", "it says what that decodes");
}
export const checkDescribeOptions = (options: DescribeOptions): void => check(describeSchema, options);
export const checkUpscalerOptions = (options: UpscalerOptions): void => check(upscalerSchema, options);
export const checkLayerOptions = (options: LayerOptions): void => check(layerSchema, options);

export function check(schema: z.ZodObject, options: object): void {
  requireObject("options", options);
  const given = withoutUndefined(options);
  const { error } = schema.safeParse(given);
  if (!error) return;
  const { path, unknownKey } = firstProblem(error, given);
  if (unknownKey !== undefined) throw unknownOption(schema, { path, key: unknownKey });
  throw refusal(`${path || "options"} must be ${error.issues[0]!.message}, got ${String(given[path])}`);
}
