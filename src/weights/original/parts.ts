import type { Tensors } from "../checkpoint.js";
import type { Family, Part } from "./config.js";

/** Where single files have their UNet. */
export const unetPrefix = "model.diffusion_model.";
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

/** The networks of a single file. */
export interface Parts {
  readonly unet: Part;
  readonly vae: { readonly prefix: string; readonly part: Part };
  readonly texts: readonly TextPart[];
  readonly family: Family;
}

/** A VAE in the original layout: in a whole model, or alone in its file. */
export function vaeOf(stored: Tensors): Parts["vae"] | undefined {
  for (const prefix of [...vaePrefixes, ""])
    if (
      stored.has(`${prefix}decoder.conv_in.weight`) &&
      stored.has(`${prefix}encoder.down.0.block.0.conv1.weight`)
    )
      return { prefix, part: below(stored, prefix) };
  return undefined;
}

/** A ControlNet in the original layout or in diffusers', in a file of its own. */
export function controlNetOf(stored: Tensors): Parts["vae"] | undefined {
  for (const prefix of ["control_model.", ""])
    if (
      ["input_hint_block.0", "controlnet_cond_embedding.conv_in"].some((at) =>
        stored.has(`${prefix}${at}.weight`),
      )
    )
      return { prefix, part: below(stored, prefix) };
  return undefined;
}

/** Its text encoders, in the order of the tokenizers. */
export function textsOf(stored: Tensors): TextPart[] {
  const clip = (prefix: string) => ({ prefix, openClip: false, penultimate: false });
  const openClip = (prefix: string, penultimate: boolean) => ({ prefix, openClip: true, penultimate });
  const candidates = [
    [clip("conditioner.embedders.0.transformer."), openClip("conditioner.embedders.1.model.", false)],
    [clip("cond_stage_model.transformer.")],
    [openClip("cond_stage_model.model.", true)],
  ];
  const isThere = ({ prefix }: TextPart) => [...stored.keys()].some((name) => name.startsWith(prefix));
  return candidates.find((texts) => texts.every(isThere)) ?? [];
}

export function familyOf(unet: Part, texts: readonly TextPart[]): Family {
  if (texts.length === 2) return "sdxl";
  if (unet.has("label_emb.weight")) return "upscaler";
  return texts[0]?.openClip ? "sd2" : "sd1";
}
