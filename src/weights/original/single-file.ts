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
import { looksLike } from "../file-kinds.js";
import { openFolder } from "../folder.js";
import { openTensorFile } from "../formats/tensor-file.js";
import { architectureNotes } from "./architecture.js";
import { clipConfig, controlNetConfig, type Family, isDiffusersVae, isXl, vaeConfig } from "./config.js";
import { mapped, textMapping } from "./mapping.js";
import { refuseOtherKind } from "./other-kind.js";
import { controlNetOf, type Found, familyOf, isWholeVae, type Parts, type TextPart, vaeOf } from "./parts.js";
import { edmLatents, type Marks, samplingOf, scheduleTable } from "./prediction.js";
import { findParts, incomplete, inGroups, leftOver } from "./recognise.js";
import { lowResScheduler, type Prediction } from "./schedulers.js";
import { isT2iAdapter, t2iAdapterConfig } from "./t2i-adapter.js";
import { isTaesdDecoder, isTaesdEncoder, taesdConfig } from "./taesd.js";
import { unetConfig } from "./unet-config.js";

export interface SingleFileOptions {
  /** Folder of CLIP's tokenizer, which no single file holds: the same for all of them. */
  readonly tokenizer: string;
  /**
   * A diffusers folder of the same architecture: its configurations, tokenizers and schedulers are taken as they are, and
   * the networks that the file lacks.
   */
  readonly config?: string;
  /** What the UNet predicts, whatever the file says (`samplingOf`). */
  readonly prediction?: Prediction;
}

/** Opens a VAE that is given beside the file, for models of a pipeline. */
export type OpenVae = (pipeline: string) => Component;

/**
 * Opens a whole model in one file, in the layout of the original code (Stable Diffusion 1, 2, XL and its refiner,
 * distilled ones, inpainting, instruct-pix2pix, the times-4 upscaler), or a UNet by itself, with the rest given. What is
 * in the file and neither used nor known to be harmless is in the notes.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT, MODEL_KIND (what was recognised, what was not), UNSUPPORTED
 */
export function openSingleFile(path: string, options: SingleFileOptions, openVae?: OpenVae): ModelSource {
  const marks = readMarks(path);
  const base = options.config === undefined ? undefined : openFolder(options.config);
  if (base && isDiffusersUNet(marks.stored)) {
    named(path, () => refuseOtherKind(base, marks.stored));
    return withUNet(path, base, options.prediction);
  }
  return named(path, () => openParts(path, marks, { ...options, base, openVae }));
}

interface Rest {
  readonly tokenizer: string;
  readonly base: ModelSource | undefined;
  readonly openVae: OpenVae | undefined;
  readonly prediction?: Prediction;
}

function openParts(path: string, marks: Marks, { base, openVae, tokenizer, prediction }: Rest): ModelSource {
  const { stored } = marks;
  const found = findParts(stored);
  const { unet, texts } = found;
  if (base) refuseOtherKind(base, unet.part);
  // One that is given stands in for half a VAE; otherwise what it lacks is an error when it is read.
  const vae = found.vae && (isWholeVae(found.vae.part) || !openVae) ? found.vae : undefined;
  const parts = { unet, ...(vae && { vae }), texts };
  const lacks = [
    ...(vae || openVae || base?.vae ? [] : ["a VAE"]),
    ...(texts.length > 0 || base?.textEncoders.length ? [] : ["a text encoder"]),
  ];
  if (lacks.length > 0) throw incomplete(stored, parts, lacks);
  const family = familyOf(unet.part, texts);
  const encoders = texts.map((text, i) => {
    const config = base?.textEncoders[i]?.config ?? clipConfig(mapped(stored, textMapping(text)), text);
    return componentAt(path, config, { by: "original", network: "text", ...text });
  });
  const pooled = encoders.at(-1)?.config.projection_dim as number | undefined;
  const config = base?.unet.config ?? unetConfig(unet.part, family, pooled);
  const pipeline = base?.pipeline ?? pipelineOf(family, config.in_channels as number);
  const { scheduler, notes } = samplingOf(marks, family, pipeline, {
    prediction,
    scheduler: base?.scheduler,
  });
  const lowRes = family === "upscaler" ? { lowResScheduler: base?.lowResScheduler ?? lowResScheduler } : {};
  return {
    path,
    pipeline,
    settings: base?.settings ?? settingsOf(pipeline, family),
    unet: componentAt(path, config, { by: "original", network: "unet", prefix: unet.prefix }),
    vae: vae
      ? ownVae(path, marks, vae, { base, family })
      : withEdmLatents(openVae?.(pipeline) ?? base!.vae!, marks),
    textEncoders: encoders.length > 0 ? encoders : base!.textEncoders,
    tokenizers: base?.tokenizers ?? texts.map((text) => tokenizerOf(tokenizer, text)),
    scheduler,
    notes: [
      ...notes,
      ...architectureNotes(marks.metadata, family),
      ...unused(path, marks.stored, parts),
      ...(config.mid_block_type === null ? [noMiddle] : []),
    ],
    ...lowRes,
  };
}

const noMiddle = "its UNet has no middle block";

function unused(path: string, stored: Tensors, parts: Parts): string[] {
  const names = leftOver(stored, parts);
  return names.length === 0 ? [] : [`${basename(path)} holds what is not used: ${inGroups(names)}`];
}

function ownVae(
  path: string,
  marks: Marks,
  vae: Found,
  { base, family }: { base: ModelSource | undefined; family: Family },
): Component {
  const plain = base?.vae?.config ?? vaeConfig(vae.part, family);
  const config = { ...plain, ...edmLatents(marks, plain.latent_channels as number) };
  return componentAt(path, config, { by: "original", network: "vae", prefix: vae.prefix });
}

/** A VAE from elsewhere for a file that says how its latents are scaled. */
function withEdmLatents(vae: Component, marks: Marks): Component {
  const latents = edmLatents(marks, Number(vae.config.latent_channels ?? 4));
  return latents ? component(vae.className, { ...vae.config, ...latents }, vae.weights) : vae;
}

const isDiffusersUNet = (stored: Tensors): boolean =>
  stored.has("conv_in.weight") &&
  stored.has("conv_out.weight") &&
  stored.has("time_embedding.linear_1.weight");

/** A UNet with diffusers' names and without its folder, in place of another model's. */
function withUNet(path: string, base: ModelSource, prediction: Prediction | undefined): ModelSource {
  const { className, config } = base.unet;
  return {
    ...base,
    path,
    unet: component(className, config, { path, layout: { by: "diffusers" } }),
    scheduler: { ...base.scheduler, ...(prediction && { prediction_type: prediction }) },
  };
}

/**
 * Opens a VAE in the original layout, alone in its file or in a whole model, one with diffusers' names in a file of its own,
 * or the decoder of TAESD (`isDecoderOnly`).
 *
 * @param pipeline of the model that it is for
 * @param model its VAE, if it has one
 * @throws DiffusionError as `openSingleFile`
 */
export function openSingleFileVae(path: string, pipeline: string, model?: Component): Component {
  const stored = readNames(path);
  const isDiffusers = isDiffusersVae(stored);
  const original = vaeOf(stored);
  // Half a one tells nothing: files of many kinds bring it.
  const whole = original && isWholeVae(original.part) ? original : undefined;
  const vae = isDiffusers ? { prefix: "", part: stored } : whole;
  if (isTaesdDecoder(stored))
    return componentAt(
      path,
      named(path, () => taesdConfig(stored)),
      { by: "original", network: "taesd_decoder" },
    );
  if (!vae) throw noVae(path, stored);
  const family = pipeline.includes("XL") ? "sdxl" : pipeline.includes("Upscale") ? "upscaler" : "sd1";
  const config = { ...named(path, () => vaeConfig(vae.part, family)), ...scalesOf(model) };
  const layout = { by: "original", network: "vae", prefix: vae.prefix } as const;
  return componentAt(path, config, isDiffusers ? { by: "diffusers" } : layout);
}

/** How latents are scaled is the model's affair; a file of weights alone says nothing of it. */
function scalesOf(vae: Component | undefined): JsonObject {
  const keys = ["scaling_factor", "shift_factor", "latents_mean", "latents_std"];
  const known = vae?.className === "AutoencoderKL" ? vae.config : {};
  return Object.fromEntries(keys.flatMap((key) => (known[key] === undefined ? [] : [[key, known[key]]])));
}

function noVae(path: string, stored: Tensors): DiffusionError {
  const other = looksLike(stored.keys(), "vae");
  const look = other ? `; it looks like ${other}` : "";
  return isTaesdEncoder(stored)
    ? new DiffusionError("UNSUPPORTED", `${path} is the encoder of TAESD, which makes no pictures`, {
        hint: "As taesd, give the decoder: taesd_decoder in place of taesd_encoder.",
      })
    : new DiffusionError(
        "MODEL_KIND",
        `${path} holds no VAE, ControlNet or T2I-Adapter that is known${look}`,
      );
}

/**
 * Opens a ControlNet in a file of its own, in the original layout or in diffusers' without its config.json, or a
 * T2I-Adapter in the original layout.
 *
 * @param base the UNet that it is for: what shapes do not tell is as there; without it, only the weights can be used
 * @returns undefined where the file holds neither
 * @throws DiffusionError UNSUPPORTED for ControlNets of other kinds (union, Control-LoRA), and T2I-Adapters of other kinds
 */
export function openSingleFileControl(path: string, base?: Component): Component | undefined {
  const stored = readNames(path);
  if (isT2iAdapter(stored)) {
    const config = named(path, () => t2iAdapterConfig(stored));
    return componentAt(path, config, { by: "original", network: "t2i_adapter" });
  }
  const found = controlNetOf(stored);
  if (!found) return undefined;
  const other = looksLike(stored.keys(), "control");
  if (other)
    throw new DiffusionError("UNSUPPORTED", `${path} is ${other}`, {
      hint: "Use a ControlNet that was made for one kind of picture and is whole in itself.",
    });
  // Nothing in the file tells the one published kind that averages over the picture.
  const isShuffle = /shuffle/i.test(basename(path));
  const config = named(path, () => controlNetConfig(found.part, base?.config ?? {}, isShuffle));
  return componentAt(path, config, { by: "original", network: "controlnet", prefix: found.prefix });
}

/** Of tensors that are no weights, and small: the largest is the schedule's table, in double precision. */
const MAX_MARK_BYTES = 8192;

function readMarks(path: string): Marks {
  const file = openTensorFile(path);
  try {
    const { tensors: stored, metadata } = file;
    const values = new Map<string, readonly number[]>();
    for (const [name, { bytes }] of stored)
      if ((/^(edm_|global_step$)/.test(name) || name === scheduleTable) && bytes <= MAX_MARK_BYTES)
        values.set(name, [...file.readFloat32(name)]);
    return { stored, metadata, value: (name) => values.get(name) };
  } finally {
    file.close();
  }
}

const readNames = (path: string): Tensors => readMarks(path).stored;

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

function pipelineOf(family: Family, channels: number): string {
  if (family === "upscaler") return "StableDiffusionUpscalePipeline";
  if (family === "refiner" && channels === 4) return "StableDiffusionXLImg2ImgPipeline";
  const pipeline = (isXl(family) ? byChannelsXl : byChannels).get(channels);
  if (pipeline === undefined)
    throw new DiffusionError(
      "UNSUPPORTED",
      `it is of the kind ${family}, but its UNet takes ${channels} channels`,
      {
        hint: "Supported are 4 (text to image), 9 (inpainting), 8 (instruct-pix2pix, Stable Diffusion 1 and 2).",
      },
    );
  return pipeline;
}

function settingsOf(pipeline: string, family: Family): JsonObject {
  return {
    _class_name: pipeline,
    ...(family === "sdxl" ? { force_zeros_for_empty_prompt: true } : {}),
    ...(family === "refiner" ? { requires_aesthetics_score: true, force_zeros_for_empty_prompt: false } : {}),
    ...(family === "refiner" ? { text_encoder_2: ["transformers", "CLIPTextModelWithProjection"] } : {}),
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
