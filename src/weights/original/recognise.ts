import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";
import type { Part } from "./config.js";
import { below, familyOf, type Parts, textsOf, unetPrefix, vaeOf, vaePrefixes } from "./parts.js";

/**
 * Recognises what a file holds from the names of its tensors.
 *
 * @throws DiffusionError MODEL_KIND, UNSUPPORTED, without the name of the file
 */
export function findParts(stored: Tensors): Parts {
  const unet = below(stored, unetPrefix);
  const vae = vaeOf(stored);
  const texts = textsOf(stored);
  const parts = { unet, ...(vae && { vae }), texts };
  if (!unet.has("input_blocks.0.0.weight")) throw notAModel(stored, parts);
  if (stored.has("conditioner.embedders.0.model.ln_final.weight")) throw refiner(unet);
  if (!vae || texts.length === 0) throw incomplete(stored, parts);
  return { unet, vae, texts, family: familyOf(unet, texts) };
}

/** What was found of a model; errors say it, and what was not recognised. */
type Found = Pick<Parts, "unet" | "texts"> & Partial<Pick<Parts, "vae">>;

/** What else a file may be, by its tensors' names. */
const others: readonly (readonly [RegExp, string])[] = [
  [
    /^(lora_|base_model\.model\.|(unet|text_encoder)\..*(lora|processor))/,
    "a LoRA: load a model first, then add it",
  ],
  [
    /^(control_model\.|controlnet_cond_embedding\.|input_hint_block\.)/,
    "a ControlNet: load a model first, then give it as one",
  ],
  [/^(image_proj|ip_adapter)\./, "an IP-Adapter: load a model first, then add it"],
  [/(^|\.)motion_modules\./, "a motion module of AnimateDiff, which is not supported"],
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

/** EMA copies, constants of the training: part of many files, of no use here, and no mystery. */
const ignored =
  /^(model_ema\.|betas$|alphas_|sqrt_|log_one_|posterior_|logvar$|global_step$|scale_factor$|denoiser\.|low_scale_model\.|v_pred$|ztsnr$)/;

/** A file without a UNet in the original layout. */
function notAModel(stored: Tensors, found: Found): DiffusionError {
  const names = [...stored.keys()];
  const other = others.find(([pattern]) => names.some((name) => pattern.test(name)));
  const what = other ? `it looks like ${other[1]}` : `${recognised(found)}; ${unrecognised(stored, found)}`;
  return new DiffusionError("MODEL_KIND", `it is no Stable Diffusion model in the original layout; ${what}`, {
    hint: `Expected tensors that begin with ${unetPrefix}, ${vaePrefixes[0]} and cond_stage_model. or conditioner.`,
  });
}

/** A UNet without what it cannot do without. */
function incomplete(stored: Tensors, found: Found): DiffusionError {
  const absent = [...(found.vae ? [] : ["a VAE"]), ...(found.texts.length ? [] : ["a text encoder"])];
  return new DiffusionError(
    "MODEL_KIND",
    `it lacks ${absent.join(" and ")}; ${recognised(found)}; ${unrecognised(stored, found)}`,
    {
      hint: "Get the full version of the model; this one was pruned, or is of a kind that is not supported.",
    },
  );
}

const refiner = (unet: Part): DiffusionError =>
  new DiffusionError(
    "UNSUPPORTED",
    `it is a refiner of Stable Diffusion XL, which is not supported; recognised: ${unetInWords(unet)}, an OpenCLIP text encoder`,
    { hint: "Use the base model on its own." },
  );

function recognised({ unet, vae, texts }: Found): string {
  const known = [
    ...(unet.has("input_blocks.0.0.weight") ? [unetInWords(unet)] : []),
    ...(vae ? ["a VAE"] : []),
    ...texts.map(({ openClip }) => (openClip ? "an OpenCLIP text encoder" : "a CLIP text encoder")),
  ];
  return `recognised: ${known.join(", ") || "nothing"}`;
}

function unetInWords(unet: Part): string {
  const [width, channels] = unet.get("input_blocks.0.0.weight")?.shape ?? [];
  const text = [...unet].find(([name]) => name.endsWith("attn2.to_k.weight"))?.[1].shape[1];
  return `a UNet (${channels} input channels, ${width} wide${text === undefined ? "" : `, text of width ${text}`})`;
}

/** The rest by the first two parts of the names, the largest groups first. */
function unrecognised(stored: Tensors, { unet, vae, texts }: Found): string {
  const known = [
    ...(unet.has("input_blocks.0.0.weight") ? [unetPrefix] : []),
    ...(vae ? [vae.prefix] : []),
    ...texts.map(({ prefix }) => prefix),
  ];
  const groups = new Map<string, number>();
  for (const name of stored.keys()) {
    if (ignored.test(name) || known.some((prefix) => name.startsWith(prefix))) continue;
    const group = name.split(".").slice(0, 2).join(".");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const sorted = [...groups].sort((a, b) => b[1] - a[1]);
  const shown = sorted
    .slice(0, 5)
    .map(([group, count]) => `${group} (${count} tensor${count > 1 ? "s" : ""})`);
  const more = sorted.length > shown.length ? `, and ${sorted.length - shown.length} other groups` : "";
  return `not recognised: ${shown.join(", ") || "nothing"}${more}`;
}
