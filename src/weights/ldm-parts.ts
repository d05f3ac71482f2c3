import { DiffusionError } from "../errors.js";
import type { Tensors } from "./checkpoint.js";
import type { Family, Part } from "./ldm-config.js";

export const unetPrefix = "model.diffusion_model.";
const vaePrefixes = ["first_stage_model.", "vae."];

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

/**
 * Recognises what a file holds from the names of its tensors.
 *
 * @throws DiffusionError MODEL_KIND, UNSUPPORTED, without the name of the file
 */
export function findParts(stored: Tensors): Parts {
  const unet = below(stored, unetPrefix);
  const vae = vaeOf(stored);
  const texts = textsOf(stored);
  if (!unet.has("input_blocks.0.0.weight")) throw notAModel(stored);
  if (stored.has("conditioner.embedders.0.model.ln_final.weight"))
    throw new DiffusionError(
      "UNSUPPORTED",
      "it is a refiner of Stable Diffusion XL, which is not supported",
      {
        hint: "Use the base model on its own.",
      },
    );
  const absent = [...(vae ? [] : ["a VAE"]), ...(texts.length ? [] : ["a text encoder"])];
  if (!vae || absent.length)
    throw new DiffusionError("MODEL_KIND", `it has a UNet, but lacks ${absent.join(" and ")}`, {
      hint: "Get the full version of the model; this one was pruned.",
    });
  return { unet, vae, texts, family: familyOf(unet, texts) };
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

function textsOf(stored: Tensors): TextPart[] {
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

function familyOf(unet: Part, texts: readonly TextPart[]): Family {
  if (texts.length === 2) return "sdxl";
  if (unet.has("label_emb.weight")) return "upscaler";
  return texts[0]?.openClip ? "sd2" : "sd1";
}

/** What else a file may be, by the beginnings of its tensors' names. */
const others: readonly (readonly [RegExp, string])[] = [
  [
    /^(lora_|base_model\.model\.|(unet|text_encoder)\..*(lora|processor))/,
    "a LoRA: load a model first, then add it",
  ],
  [/^control_model\./, "a ControlNet in the original layout"],
  [/^(model\.diffusion_model\.)?joint_blocks\./, "Stable Diffusion 3, which is not supported"],
  [/^(model\.diffusion_model\.)?double_blocks\./, "Flux, which is not supported"],
  [
    /^(down_blocks|conv_in)\./,
    "the UNet of a diffusers folder: give the folder that holds its model_index.json",
  ],
  [/^text_model\./, "a text encoder of a diffusers folder: give the folder that holds its model_index.json"],
  [/^(decoder|encoder|first_stage_model)\./, "a VAE, not a whole model"],
  [/^(emb_params|clip_[lg]|<.*>)$/, "a textual inversion: load a model first, then add it"],
];

function notAModel(stored: Tensors): DiffusionError {
  const names = [...stored.keys()];
  const found = others.find(([pattern]) => names.some((name) => pattern.test(name)));
  const what = found
    ? `it looks like ${found[1]}`
    : `its tensors are ${names.slice(0, 3).join(", ") || "none"}`;
  return new DiffusionError("MODEL_KIND", `it is no Stable Diffusion model in the original layout; ${what}`, {
    hint: `Expected tensors that begin with ${unetPrefix}, ${vaePrefixes[0]} and cond_stage_model. or conditioner.`,
  });
}
