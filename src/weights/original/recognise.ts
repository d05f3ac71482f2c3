import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";
import { besideModel, looksLike } from "../file-kinds.js";
import { refusePacked } from "../quantised.js";
import type { Part } from "./config.js";
import { type Parts, textsOf, unetOf, unetPrefixes, vaeOf, vaePrefixes } from "./parts.js";

/**
 * Recognises what a file holds from the names of its tensors.
 *
 * @throws DiffusionError MODEL_KIND, UNSUPPORTED, without the name of the file
 */
export function findParts(stored: Tensors): Parts {
  refusePacked(stored.keys());
  const more = besideModel(stored.keys());
  const unet = unetOf(stored);
  const vae = vaeOf(stored);
  const texts = textsOf(stored, unet?.part ?? new Map());
  if (!unet) throw notAModel(stored, { ...(vae && { vae }), texts });
  const parts = { unet, ...(vae && { vae }), texts };
  if (more)
    throw new DiffusionError("UNSUPPORTED", `${more}; ${recognised(parts)}`, {
      hint: "What would change its pictures is not left out in silence.",
    });
  return parts;
}

/** What was found of a model; errors say it, and what was not recognised. */
type Recognised = Partial<Pick<Parts, "unet" | "vae">> & Pick<Parts, "texts">;

/** Part of many files, of no use here, and no mystery. */
const harmless: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^model_ema\./, "EMA copies: as everywhere, the plain weights are used"],
  [
    /^(betas|logvar|lvlb_weights)$|^(alphas|sqrt|log_one|posterior)_/,
    "constants that the training computed of its schedule; alphas_cumprod is compared with the scheduler's",
  ],
  [
    /^(global_step|scale_factor)$/,
    "numbers of the training; global_step is looked at where it decides something",
  ],
  [/^denoiser\./, "the discretised schedule of XL's code, which every scheduler computes"],
  [/^low_scale_model\./, "the upscaler's schedule for small images, which is the same in all files"],
  [/^(v_pred|ztsnr)$|^edm_(mean|std|vpred\.sigma_m(ax|in))$/, "marks, which decide the scheduler"],
  [/^first_stage_model\.(loss|discriminator|model_ema)\b/, "what the VAE was trained against"],
  [/^(callbacks|optimizer_states|lr_schedulers|hyper_parameters)\b/, "the state of the training"],
  [/\bposition_ids$|\.(logit_scale|attn_mask)$/, "buffers of text encoders, which hold no weights"],
];

const isHarmless = (name: string): boolean => harmless.some(([pattern]) => pattern.test(name));

/** Of a VAE; the rest below its prefix are no weights of the networks. */
const ofVae = /^(encoder|decoder|quant_conv|post_quant_conv)\./;

/** Names that belong to no network that was recognised, and are not known to be harmless. */
export function leftOver(stored: Tensors, { unet, vae, texts }: Recognised): string[] {
  const isUsed = (name: string): boolean =>
    (unet !== undefined && name.startsWith(unet.prefix) && unet.part.has(name.slice(unet.prefix.length))) ||
    (vae !== undefined && name.startsWith(vae.prefix) && ofVae.test(name.slice(vae.prefix.length))) ||
    texts.some(({ prefix }) => name.startsWith(prefix));
  return [...stored.keys()].filter((name) => !isUsed(name) && !isHarmless(name));
}

/** A file without a UNet in the original layout. */
function notAModel(stored: Tensors, found: Recognised): DiffusionError {
  const cut = unetPrefixes.find(
    (start) => start !== "" && [...stored.keys()].some((name) => name.startsWith(`${start}output_blocks.`)),
  );
  if (cut !== undefined)
    return new DiffusionError("FILE_FORMAT", `its UNet lacks ${cut}input_blocks.0.0.weight`, {
      hint: "The file is not whole; get it again.",
    });
  const other = looksLike(stored.keys(), "model");
  const what = other ? `it looks like ${other}` : `${recognised(found)}; ${unrecognised(stored, found)}`;
  return new DiffusionError("MODEL_KIND", `it is no Stable Diffusion model in the original layout; ${what}`, {
    hint: `Expected tensors that begin with ${unetPrefixes[0]}, ${vaePrefixes[0]} and cond_stage_model. or conditioner.`,
  });
}

/** A UNet without what it cannot do without. */
export function incomplete(stored: Tensors, found: Recognised, lacks: readonly string[]): DiffusionError {
  const takesVae = lacks.length === 1 && lacks[0] === "a VAE";
  return new DiffusionError(
    "MODEL_KIND",
    `it lacks ${lacks.join(" and ")}; ${recognised(found)}; ${unrecognised(stored, found)}`,
    {
      hint: takesVae
        ? "Give vae: the autoencoder of a model of this family (a folder, a file or a hub name), or a whole model of it as config."
        : "Give config: a whole model of this family as a diffusers folder (or its hub name); what is missing here is taken from there.",
    },
  );
}

export function recognised({ unet, vae, texts }: Recognised): string {
  const known = [
    ...(unet ? [unetInWords(unet.part)] : []),
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

const unrecognised = (stored: Tensors, found: Recognised): string =>
  `not recognised: ${inGroups(leftOver(stored, found)) || "nothing"}`;

/** Names by their first two parts, the largest groups first. */
export function inGroups(names: readonly string[]): string {
  const groups = new Map<string, number>();
  for (const name of names) {
    const group = name.split(".").slice(0, 2).join(".");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const sorted = [...groups].sort((a, b) => b[1] - a[1]);
  const shown = sorted
    .slice(0, 5)
    .map(([group, count]) => `${group} (${count} tensor${count > 1 ? "s" : ""})`);
  const more = sorted.length > shown.length ? `, and ${sorted.length - shown.length} other groups` : "";
  return shown.join(", ") + more;
}
