import { checkLocateOptions, type LocateOptions } from "../options/load.js";
import { readModel } from "../runtime/model.js";
import { openModel } from "../weights/model.js";
import { clipTokenizerFolder, locateModel, nameOfModel } from "./model-source.js";

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
  /** Folder for `loadTokenizer`, where the model reads text. */
  readonly tokenizer?: string;
}

/**
 * Describes a model without loading its weights.
 *
 * @param model as `StableDiffusion.load` takes it; hub models are downloaded, or found in the cache
 * @throws DiffusionError for models that cannot be found or used
 */
export async function describeModel(model: string, options: LocateOptions = {}): Promise<ModelInfo> {
  checkLocateOptions(options);
  const path = await locateModel(model, options);
  const { source, unet, vae, factor, textEncoders } = readModel(
    openModel(path, {
      tokenizer: clipTokenizerFolder(),
      ...(options.variant && { variant: options.variant }),
    }),
  );
  const [tokenizer] = source.tokenizers;
  const beside = unet.config.inChannels - (vae?.latentChannels ?? unet.config.inChannels);
  return {
    path,
    name: nameOfModel(path),
    kind: kinds[beside] ?? (textEncoders.length === 0 ? "unconditional" : "text"),
    size: unet.config.sampleSize * factor,
    factor,
    scheduler: String(source.scheduler._class_name),
    ...(tokenizer && { tokenizer: tokenizer.folder }),
  };
}

/** By how many channels the UNet has beside the latents. */
const kinds: Partial<Record<number, ModelInfo["kind"]>> = { 3: "upscaling", 4: "instruct", 5: "inpainting" };
