import type { Tensors } from "../checkpoint.js";
import { type Family, isDiffusersVae, type Part } from "./config.js";
import { contextWidth } from "./unet-config.js";

/** Where single files have their UNet; files that hold nothing else may leave it out. */
export const unetPrefixes = ["model.diffusion_model.", "diffusion_model.", ""];
/** Where single files have their VAE. */
export const vaePrefixes = ["first_stage_model.", "vae."];

export interface TextPart {
  readonly prefix: string;
  readonly openClip: boolean;
  /** The last layer and the projection are there, but not used: Stable Diffusion 2 reads the layer before. */
  readonly penultimate: boolean;
}

/** The tensors below a prefix, without it. */
export function below(stored: Tensors, prefix: string): Part {
  const part = new Map<string, { dtype: string; shape: readonly number[] }>();
  for (const [name, info] of stored) if (name.startsWith(prefix)) part.set(name.slice(prefix.length), info);
  return part;
}

export interface Found {
  readonly prefix: string;
  readonly part: Part;
}

/** The networks of a single file; a pruned one lacks some. */
export interface Parts {
  readonly unet: Found;
  readonly vae?: Found;
  readonly texts: readonly TextPart[];
}

/** A UNet in the original layout. Without a prefix, a ControlNet begins with the same names; it has no way out. */
export function unetOf(stored: Tensors): Found | undefined {
  const prefix = unetPrefixes.find(
    (start) => stored.has(`${start}input_blocks.0.0.weight`) && (start !== "" || stored.has("out.2.weight")),
  );
  return prefix === undefined ? undefined : { prefix, part: unetPart(stored, prefix) };
}

/** The UNet's own tensors; where it has no prefix, others may lie beside them. */
export function unetPart(stored: Tensors, prefix: string): Part {
  const part = below(stored, prefix);
  if (prefix !== "") return part;
  return new Map(
    [...part].filter(([name]) =>
      /^(input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\./.test(name),
    ),
  );
}

const vaeMarks = ["decoder.conv_in.weight", "encoder.down.0.block.0.conv1.weight"];

/** Whether the tensors of a VAE have its two halves; of one that lacks more, it is said when it is read. */
export const isWholeVae = (part: Part): boolean => vaeMarks.every((name) => part.has(name));

/** A VAE in the original layout: in a whole model, where a half of it tells of it, or by itself in its file. */
export function vaeOf(stored: Tensors): Found | undefined {
  for (const prefix of vaePrefixes) {
    const part = below(stored, prefix);
    if (vaeMarks.some((name) => part.has(name)) && !isDiffusersVae(part)) return { prefix, part };
  }
  return isWholeVae(stored) ? { prefix: "", part: stored } : undefined;
}

/** A ControlNet in the original layout or in diffusers', in a file of its own. */
export function controlNetOf(stored: Tensors): Found | undefined {
  for (const prefix of ["control_model.", ""])
    if (
      ["input_hint_block.0", "controlnet_cond_embedding.conv_in"].some((at) =>
        stored.has(`${prefix}${at}.weight`),
      )
    )
      return { prefix, part: below(stored, prefix) };
  return undefined;
}

/** XL's refiner has its only text encoder where SD-Turbo has one of Stable Diffusion 2. */
const lone = "conditioner.embedders.0.model.";

/** Its text encoders, in the order of the tokenizers. */
export function textsOf(stored: Tensors, unet: Part): TextPart[] {
  const clip = (prefix: string) => ({ prefix, openClip: false, penultimate: false });
  const openClip = (prefix: string, penultimate: boolean) => ({ prefix, openClip: true, penultimate });
  const candidates = [
    [clip("conditioner.embedders.0.transformer."), openClip("conditioner.embedders.1.model.", false)],
    [openClip(lone, !takesPooledText(unet))],
    [clip("cond_stage_model.transformer.")],
    [openClip("cond_stage_model.model.", true)],
  ];
  const isThere = ({ prefix }: TextPart) => [...stored.keys()].some((name) => name.startsWith(prefix));
  return candidates.find((texts) => texts.every(isThere)) ?? [];
}

const takesPooledText = (unet: Part): boolean => unet.has("label_emb.0.0.weight");

/** By the text encoders; without them, by the width of the text that the UNet attends to. */
export function familyOf(unet: Part, texts: readonly TextPart[]): Family {
  if (texts.length === 2) return "sdxl";
  if (unet.has("label_emb.weight")) return "upscaler";
  const [text] = texts;
  if (text?.prefix === lone) return takesPooledText(unet) ? "refiner" : "turbo";
  if (text) return text.openClip ? "sd2" : "sd1";
  if (takesPooledText(unet)) return contextWidth(unet) === 1280 ? "refiner" : "sdxl";
  return contextWidth(unet) === 1024 ? "sd2" : "sd1";
}
