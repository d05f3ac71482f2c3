import { demand } from "../errors.js";
import { traitsOf } from "../generation/loaded.js";
import { type UsualOptions, usualOptions } from "../options/generation-defaults.js";
import { checkDescribeOptions, type DescribeOptions } from "../options/load.js";
import type { GenerationDefaults } from "../options/options.js";
import type { ModelTraits } from "../options/resolved.js";
import { readModel } from "../runtime/model.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import { openModel } from "../weights/model.js";
import { clipTokenizerFolder, locateModel, requireModel } from "./model-source.js";

/** What a model is and can do, read from its configs and the headers of its weights. */
export interface ModelInfo {
  /** Folder or file on disk. */
  readonly path: string;
  readonly name: string;
  /** What its UNet is shown beside the latents: a mask and what it leaves, an image to change or to enlarge, or text. */
  readonly kind: "text" | "inpainting" | "instruct" | "upscaling" | "unconditional";
  /** Side of its own pictures in pixels. */
  readonly size: number;
  /** Pixels per latent cell: sizes must be multiples of it. */
  readonly factor: number;
  /** diffusers' class of the model's own scheduler. */
  readonly scheduler: string;
  /** The whole configuration of it. */
  readonly schedulerConfig?: SchedulerConfig;
  /** What `generate` takes where a call says nothing. */
  readonly usual: UsualOptions;
  /** The part of it that the model's own generation_defaults.json says. */
  readonly generationDefaults?: GenerationDefaults;
  /** What fills in the options that are left out, see `planGeneration`. */
  readonly traits: ModelTraits;
  /** Folder for `loadTokenizer`, where the model reads text. */
  readonly tokenizer?: string;
}

/**
 * Describes a model without loading its weights.
 *
 * @param model as `StableDiffusion.load` takes it; hub models are downloaded, or found in the cache
 * @throws DiffusionError for models that cannot be found or used
 */
export async function describeModel(model: string, given: DescribeOptions = {}): Promise<ModelInfo> {
  requireModel(model);
  demand("options", given, "object");
  const { config, ...options } = given;
  checkDescribeOptions({ ...options, ...(config !== undefined && { config }) });
  const path = await locateModel(model, options);
  const opening = {
    tokenizer: clipTokenizerFolder(),
    ...(options.variant && { variant: options.variant }),
    ...(config !== undefined && { config: await locateModel(config, options) }),
  };
  const read = readModel(openModel(path, opening));
  const traits = traitsOf(read);
  const { name, sees, hasText, size, factor, scheduler, defaults } = traits;
  const [tokenizer] = read.source.tokenizers;
  return {
    ...{ path, name, size, factor },
    kind: sees === "latents" && !hasText ? "unconditional" : kinds[sees],
    scheduler: String(scheduler._class_name),
    schedulerConfig: scheduler,
    usual: usualOptions(traits),
    ...(defaults && { generationDefaults: defaults }),
    traits,
    ...(tokenizer && { tokenizer: tokenizer.folder }),
  };
}

/** By what the UNet sees beside the latents. */
const kinds: Record<ModelTraits["sees"], ModelInfo["kind"]> = {
  latents: "text",
  mask: "inpainting",
  image: "instruct",
  lowres: "upscaling",
};
