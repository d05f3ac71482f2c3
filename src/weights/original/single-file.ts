import { basename } from "node:path";
import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";
import {
  type Component,
  component,
  type Layout,
  type ModelSource,
  type TokenizerSource,
} from "../component.js";
import { openFolder } from "../folder.js";
import { openTensorFile } from "../formats/tensor-file.js";
import {
  clipConfig,
  controlNetConfig,
  type Family,
  lowResScheduler,
  type Prediction,
  schedulerConfig,
  unetConfig,
  vaeConfig,
} from "./config.js";
import { mapped, textMapping } from "./mapping.js";
import { controlNetOf, type TextPart, unetPrefix, vaeOf } from "./parts.js";
import { findParts } from "./recognise.js";

export interface SingleFileOptions {
  /** Folder of CLIP's tokenizer, which no single file holds: the same for all of them. */
  readonly tokenizer: string;
  /** A diffusers folder of the same architecture: its configurations, tokenizers and schedulers are taken as they are. */
  readonly config?: string;
  /** What the UNet predicts, where the file does not tell (Stable Diffusion 2). */
  readonly prediction?: Prediction;
}

/**
 * Opens a whole model in one file, in the layout of the original code (Stable Diffusion 1, 2, XL, inpainting,
 * instruct-pix2pix, the times-4 upscaler). EMA copies and training's constants are not looked at.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT, MODEL_KIND (what was recognised, what was not), UNSUPPORTED
 */
export function openSingleFile(path: string, options: SingleFileOptions): ModelSource {
  const { stored, metadata } = readNames(path);
  const { unet, vae, texts, family } = named(path, () => findParts(stored));
  const base = options.config === undefined ? undefined : openFolder(options.config);
  const configs = named(path, () => {
    const encoderConfigs = texts.map((text) => clipConfig(mapped(stored, textMapping(text)), text));
    const pooled = encoderConfigs[1]?.projection_dim as number | undefined;
    return {
      encoders: base?.textEncoders.map(({ config }) => config) ?? encoderConfigs,
      unet: base?.unet.config ?? unetConfig(unet, family, pooled),
      vae: base?.vae?.config ?? vaeConfig(vae.part, family),
    };
  });
  const pipeline = base?.pipeline ?? pipelineOf(path, family, configs.unet.in_channels as number);
  const prediction = options.prediction ?? predictionOf(stored, metadata, family, pipeline);
  const lowRes = family === "upscaler" ? { lowResScheduler: base?.lowResScheduler ?? lowResScheduler } : {};
  return {
    path,
    pipeline,
    settings: base?.settings ?? settingsOf(pipeline, family),
    unet: componentAt(path, configs.unet, { by: "original", network: "unet", prefix: unetPrefix }),
    vae: componentAt(path, configs.vae, { by: "original", network: "vae", prefix: vae.prefix }),
    textEncoders: texts.map((text, i) =>
      componentAt(path, configs.encoders[i]!, { by: "original", network: "text", ...text }),
    ),
    tokenizers: base?.tokenizers ?? texts.map((text) => tokenizerOf(options.tokenizer, text)),
    scheduler: base?.scheduler ?? schedulerConfig(family, pipeline, prediction, stored.has("ztsnr")),
    ...lowRes,
  };
}

/**
 * Opens a VAE in the original layout, alone in its file or in a whole model.
 *
 * @throws DiffusionError as `openSingleFile`
 */
export function openSingleFileVae(path: string, family: Family = "sd1"): Component {
  const vae = vaeOf(readNames(path).stored);
  if (!vae) throw new DiffusionError("MODEL_KIND", `${path} holds no VAE in the original layout`);
  const config = named(path, () => vaeConfig(vae.part, family));
  return componentAt(path, config, { by: "original", network: "vae", prefix: vae.prefix });
}

/**
 * Opens a ControlNet in a file of its own, in the original layout or in diffusers' without its config.json.
 *
 * @param base the UNet that it is for: what shapes do not tell is as there; without it, only the weights can be used
 * @returns undefined where the file holds none
 */
export function openSingleFileControlNet(path: string, base?: Component): Component | undefined {
  const found = controlNetOf(readNames(path).stored);
  if (!found) return undefined;
  // Nothing in the file tells the one published kind that averages over the picture.
  const isShuffle = /shuffle/i.test(basename(path));
  const config = named(path, () => controlNetConfig(found.part, base?.config ?? {}, isShuffle));
  return componentAt(path, config, { by: "original", network: "controlnet", prefix: found.prefix });
}

function readNames(path: string): { stored: Tensors; metadata: ReadonlyMap<string, string> } {
  const file = openTensorFile(path);
  file.close();
  return { stored: file.tensors, metadata: file.metadata };
}

/** Errors about tensors get the name of the file. */
function named<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof DiffusionError)) throw error;
    const hint = error.hint === undefined ? {} : { hint: error.hint };
    throw new DiffusionError(error.code, `${path}: ${error.message}`, { ...hint, cause: error });
  }
}

/** Pipelines by the UNet's input channels: latents, and what is put beside them. */
const byChannels = new Map([
  [4, "StableDiffusionPipeline"],
  [8, "StableDiffusionInstructPix2PixPipeline"],
  [9, "StableDiffusionInpaintPipeline"],
]);
const byChannelsXl = new Map([
  [4, "StableDiffusionXLPipeline"],
  [9, "StableDiffusionXLInpaintPipeline"],
]);

function pipelineOf(path: string, family: Family, channels: number): string {
  if (family === "upscaler") return "StableDiffusionUpscalePipeline";
  const pipeline = (family === "sdxl" ? byChannelsXl : byChannels).get(channels);
  if (pipeline === undefined)
    throw new DiffusionError(
      "UNSUPPORTED",
      `${path}: it is of the kind ${family}, but its UNet takes ${channels} channels`,
      {
        hint: "Supported are 4 (text to image), 9 (inpainting), 8 (instruct-pix2pix, Stable Diffusion 1 and 2).",
      },
    );
  return pipeline;
}

/** What the file says; else Stable Diffusion 2 for text is taken for the 768 version, as diffusers does. */
function predictionOf(
  stored: Tensors,
  metadata: ReadonlyMap<string, string>,
  family: Family,
  pipeline: string,
): Prediction {
  const said = metadata.get("modelspec.prediction_type");
  if (said !== undefined) return said.startsWith("v") ? "v_prediction" : "epsilon";
  if (stored.has("v_pred") || family === "upscaler") return "v_prediction";
  return family === "sd2" && pipeline === "StableDiffusionPipeline" ? "v_prediction" : "epsilon";
}

function settingsOf(pipeline: string, family: Family): JsonObject {
  return {
    _class_name: pipeline,
    ...(family === "sdxl" ? { force_zeros_for_empty_prompt: true } : {}),
    ...(family === "upscaler" ? { max_noise_level: 350 } : {}),
  };
}

const tokenizerOf = (folder: string, { openClip }: TextPart): TokenizerSource =>
  openClip ? { folder, padToken: "!" } : { folder };

/** A network of the file, under the class that its configuration names. */
function componentAt(path: string, config: JsonObject, layout: Layout): Component {
  const [architecture] = Array.isArray(config.architectures) ? config.architectures : [];
  return component(String(config._class_name ?? architecture), config, { path, layout });
}
