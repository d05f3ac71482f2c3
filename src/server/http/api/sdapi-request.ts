import { schedulerEntries } from "../../../index.js";
import { emphases, emphasisLabels } from "../../../options/choices.js";
import { ownUpscalerName } from "../../../options/upscaler-names.js";
import { decodeBase64, type ForeignPictures } from "../../foreign/foreign.js";
import type { Incoming, Parts } from "../../jobs/accept.js";
import { type ModelOption, takesStrength } from "../../jobs/model-option.js";
import { Refusal } from "../../refusal.js";
import type { SettingsData, WebuiSettings } from "../../storage/settings.js";
import { controlsOf } from "./sdapi-controlnet.js";
import type { Filled } from "./sdapi-defaults.js";
import { overrideOf, settingsFor } from "./sdapi-override.js";
import type { GivenImg2img, GivenTxt2img, Img2img, Txt2img } from "./sdapi-schema.js";
import { refuseScripts } from "./sdapi-scripts.js";

/** @throws Refusal for what would change the picture and is not there: nothing is ignored in silence */
export async function txt2imgRequest(
  { body: request, ...open }: Filled<GivenTxt2img>,
  parts: Pick<Parts, "models" | "settings">,
  pictures: ForeignPictures,
): Promise<Incoming> {
  refuseUnsupported(request, {
    firstphase_width: request.firstphase_width > 0,
    firstphase_height: request.firstphase_height > 0,
    "refiner_checkpoint with enable_hr": request.enable_hr && hasRefiner(request),
    "refiner_checkpoint without a refiner_switch_at above 0":
      hasRefiner(request) && !((request.refiner_switch_at ?? 0) > 0),
    hr_checkpoint_name: request.enable_hr && !isSame(request.hr_checkpoint_name, "checkpoint"),
    hr_sampler_name:
      request.enable_hr &&
      !isSame(request.hr_sampler_name, "sampler") &&
      request.hr_sampler_name !== (request.sampler_name || request.sampler_index),
    hr_scheduler:
      request.enable_hr &&
      !isSame(request.hr_scheduler, "scheduler") &&
      request.hr_scheduler !== request.scheduler,
    hr_prompt: request.enable_hr && request.hr_prompt !== "" && request.hr_prompt !== request.prompt,
    hr_negative_prompt:
      request.enable_hr &&
      request.hr_negative_prompt !== "" &&
      request.hr_negative_prompt !== request.negative_prompt,
  });
  const { info } = modelOf(request, parts);
  return {
    ...commonRequest(request, open, info, parts.settings.data),
    ...mergedTokens(settingsFor(request, parts.settings.data), "txt2img"),
    ...(await controlsOf({ ...request, ...sizeOf(request, info) }, pictures)),
    ...(request.enable_hr && { hires: hiresOf(request, info.factor) }),
    ...refinerOf(request, parts),
  };
}

/** The model that goes on at `refiner_switch_at`; one that is the model itself changes nothing, as there. */
function refinerOf(request: Txt2img, parts: Pick<Parts, "models">): Pick<Incoming, "refiner"> {
  const { refiner_checkpoint, refiner_switch_at } = request;
  if (!hasRefiner(request)) return {};
  const { label } = parts.models.resolve(refiner_checkpoint!);
  if (label === modelOf(request, parts).label) return {};
  return { refiner: { model: label, switchAt: refiner_switch_at! } };
}

/** What the request will be run on, as far as it says so itself. */
const modelOf = (request: Txt2img | Img2img, { models }: Pick<Parts, "models">): ModelOption =>
  models.resolve(overrideOf(request).sd_model_checkpoint || undefined);

/** The web UI makes what fits into whole cells of the latents: of 127x129 it is 120x128. What is no size is refused as it stands. */
const rounded = (pixels: number, factor: number): number =>
  pixels < 1 ? pixels : Math.max(factor, Math.floor(pixels / factor) * factor);
const sizeOf = ({ width, height }: Txt2img | Img2img, { factor, kind }: ModelOption["info"]) =>
  // What an upscaler is asked for is checked where it is worked on.
  kind === "upscaling"
    ? { width, height }
    : { width: rounded(width, factor), height: rounded(height, factor) };

/** "Use same sampler": what the web UI's own form sends. */
const isSame = (value: string | null | undefined, what: string): boolean =>
  ["", "none", "automatic", `use same ${what}`].includes((value ?? "").toLowerCase());

const resizeModes = ["stretch", "crop", "fill", "latent"] as const;
const maskedContents = ["fill", "original", "noise", "nothing"] as const;

export async function img2imgRequest(
  { body: request, ...open }: Filled<GivenImg2img>,
  parts: Pick<Parts, "models" | "settings">,
  pictures: ForeignPictures,
): Promise<Incoming> {
  const { init_images, mask, resize_mode, inpainting_fill, mask_blur_x, mask_blur_y } = request;
  const [first] = init_images ?? [];
  if (!first) throw new Refusal(404, "NO_IMAGE", "Init image not found");
  const resizeMode = resizeModes[resize_mode];
  const blur = { x: request.mask_blur ?? mask_blur_x, y: request.mask_blur ?? mask_blur_y };
  const maskedContent = maskedContents[inpainting_fill];
  const softMask = Boolean(mask) && !request.mask_round;
  refuseUnsupported(request, {
    resize_mode: resizeMode === undefined,
    inpainting_fill: maskedContent === undefined,
    "mask_round: false with an inpainting_fill other than 1": softMask && maskedContent !== "original",
    "mask_round: false with a mask_blur_y other than mask_blur_x": softMask && blur.y !== blur.x,
    refiner_checkpoint: hasRefiner(request),
    latent_mask: Boolean(request.latent_mask),
    // 0 stands in the example that the web UI's own documentation shows.
    initial_noise_multiplier: ![0, 1].includes(request.initial_noise_multiplier ?? 1),
  });
  const given = init_images ?? [];
  // As there: the pictures are one batch, which is as large as there are pictures.
  if (given.length > 1 && given.length > request.batch_size)
    throw new Refusal(
      422,
      "BAD_OPTION",
      `bad number of images passed: ${given.length}; expecting ${request.batch_size} or less`,
    );
  const { info } = modelOf(request, parts);
  const settings = settingsFor(request, parts.settings.data);
  const painted = await paintedMask(request, pictures);
  return {
    ...commonRequest(request, open, info, parts.settings.data),
    ...mergedTokens(settings, "img2img"),
    ...(settings.img2img_fix_steps && takesStrength(info) && { exactSteps: true }),
    // Where nothing is said, the picture is not guided by itself there.
    ...(info.kind === "instruct" && { imageGuidance: request.image_cfg_scale ?? 1 }),
    ...(given.length > 1
      ? { images: given.map(decodeBase64), count: given.length * request.n_iter }
      : { image: decodeBase64(first) }),
    ...(await controlsOf({ ...request, ...sizeOf(request, info) }, pictures, first)),
    ...(takesStrength(info) && {
      strength: request.denoising_strength,
      webuiSteps: !settings.img2img_fix_steps && !onTimesteps.includes(labelOf(request)),
    }),
    // An enlarged picture has its size from its own.
    ...((info.kind !== "upscaling" || resizeMode !== "stretch") && { resizeMode }),
    ...(painted && {
      mask: painted,
      maskBlur: blur.x,
      ...(!softMask && { maskBlurSide: "both" as const }),
      ...(blur.y !== blur.x && { maskBlurY: blur.y }),
      ...(softMask ? { softMask } : { maskedContent }),
      onlyMasked: request.inpaint_full_res && { padding: request.inpaint_full_res_padding },
    }),
  };
}

/** Painted, opaque or white: all three are repainted here. A mask that repaints nothing is none. */
async function paintedMask({ mask, inpainting_mask_invert }: Img2img, pictures: ForeignPictures) {
  if (!mask) return undefined;
  const invert = inpainting_mask_invert !== 0;
  return pictures.make("mask", decodeBase64(mask), { repaint: "opaque", invert });
}

function commonRequest(
  request: Txt2img | Img2img,
  { own, ownSampler }: Omit<Filled<never>, "body">,
  info: ModelOption["info"],
  data: SettingsData,
): Incoming {
  const override = overrideOf(request);
  const settings = settingsFor(request, data);
  const { seed, subseed, subseed_strength } = request;
  const eta = request.eta ?? (labelOf(request) === "DDIM" ? settings.eta_ddim : settings.eta_ancestral);
  const emphasis = emphases.find((name) => emphasisLabels[name] === settings.emphasis);
  const { hasText, ignoresWebuiClipSkip } = info.traits;
  const clipSkip = ignoresWebuiClipSkip ? null : override.CLIP_stop_at_last_layers;
  return {
    ...(override.sd_model_checkpoint && { model: override.sd_model_checkpoint }),
    // Automatic is what an empty list of choices says, and leaves it to the settings.
    ...(override.sd_vae && { vae: ownVae(override.sd_vae) ? null : override.sd_vae }),
    // Words are refused by a model without a text encoder; that there are none says nothing.
    ...((hasText || request.prompt !== "") && { prompt: promptOf(request.prompt, request, settings) }),
    ...(hasText && { promptSyntax: "a1111" as const, missingLoras: "ignore" as const }),
    ...((request.negative_prompt !== "" || own.negativePrompt !== undefined) && {
      negativePrompt: promptOf(request.negative_prompt, request, settings),
    }),
    ...sizeOf(request, info),
    steps: request.steps,
    ...(hasText && { guidance: request.cfg_scale }),
    count: request.batch_size * request.n_iter,
    ...(!ownSampler && { scheduler: samplerOf(request) }),
    ...(seed !== -1 && { seed }),
    ...(subseed_strength > 0 && {
      variation: { strength: subseed_strength, ...(subseed !== -1 && { seed: subseed }) },
    }),
    ...(request.seed_resize_from_w > 0 &&
      request.seed_resize_from_h > 0 && {
        seedSize: { width: request.seed_resize_from_w, height: request.seed_resize_from_h },
      }),
    ...(eta != null && { eta }),
    ...(clipSkip != null && (hasText || clipSkip > 1) && { clipSkip: clipSkip - 1 }),
    ...(override.randn_source && { rng: rngOf(override.randn_source) }),
    ...(emphasis && hasText && { emphasis }),
    ...(settings.pad_cond_uncond && hasText && { padPrompts: true }),
    ...((info.traits.isRefiner || hasRefiner(request)) && {
      aestheticScore: settings.sdxl_refiner_high_aesthetic_score ?? undefined,
      negativeAestheticScore: settings.sdxl_refiner_low_aesthetic_score ?? undefined,
    }),
  };
}

/** Tokens are merged in image to image by a share of its own, where there is one. */
function mergedTokens(settings: WebuiSettings, mode: "txt2img" | "img2img"): Pick<Incoming, "tokenMerging"> {
  const own = mode === "img2img" ? settings.token_merging_ratio_img2img : undefined;
  const tokenMerging = own || settings.token_merging_ratio;
  return tokenMerging ? { tokenMerging } : {};
}

/** Without what stands behind #, as the web UI reads it, and without the networks that it names when they are switched off. */
function promptOf(
  prompt: string,
  { disable_extra_networks }: Txt2img | Img2img,
  { enable_prompt_comments }: WebuiSettings,
): string {
  const said = (enable_prompt_comments ?? true) ? prompt.replace(/#[^\n]*/g, "") : prompt;
  return disable_extra_networks ? said.replace(/<\w+:[^<>]*>/g, "").trim() : said;
}

/** What the web UI calls the autoencoder of the model itself. */
export const ownVae = (name: string): boolean => ["", "automatic", "none"].includes(name.toLowerCase());

/** "GPU" means CUDA's generator there, whatever the machine; "NV" is the same by its formula. */
export const rngOf = (source: "GPU" | "CPU" | "NV"): SettingsData["rng"] =>
  source === "CPU" ? "torch" : "philox";

/** The samplers that count their steps on a picture as the library does. */
const onTimesteps: readonly string[] = ["DDIM", "PLMS", "UniPC", "LCM"];

const wantedSampler = ({ sampler_name, sampler_index }: Txt2img | Img2img): string =>
  (sampler_name || sampler_index).trim();

function labelOf(request: Txt2img | Img2img): string {
  const lower = wantedSampler(request).toLowerCase();
  const entry = schedulerEntries.find(({ label, name, aliases }) =>
    [label, name, ...aliases].some((known) => lower.startsWith(known.toLowerCase())),
  );
  if (!entry) throw new Refusal(404, "SAMPLER", "Sampler not found");
  return entry.label;
}

function samplerOf(request: Txt2img | Img2img) {
  labelOf(request);
  const { scheduler } = request;
  return { sampler: wantedSampler(request), ...(scheduler && { schedule: scheduler }) };
}

/** @param factor pixels of a latent cell, down to whose multiples the web UI rounds */
function hiresOf(request: Txt2img, factor: number) {
  const { hr_upscaler, hr_resize_x, hr_resize_y, hr_second_pass_steps } = request;
  const wanted = (hr_upscaler || "Latent").trim();
  return {
    // Where there is no upscaler, the web UI resizes so. Networks are known to the job's acceptance.
    upscaler: wanted.toLowerCase() === "none" ? "lanczos" : ownUpscalerName(wanted),
    strength: request.denoising_strength,
    ...(hr_resize_x > 0 && { width: rounded(hr_resize_x, factor) }),
    ...(hr_resize_y > 0 && { height: rounded(hr_resize_y, factor) }),
    ...(hr_resize_x <= 0 && hr_resize_y <= 0 && { scale: request.hr_scale }),
    // All of them are run, whatever the strength.
    steps: hr_second_pass_steps || request.steps,
  };
}

/** Whether another model is to go on; at 1 it would never begin. */
const hasRefiner = ({ refiner_checkpoint, refiner_switch_at }: Txt2img | Img2img): boolean =>
  !isSame(refiner_checkpoint, "checkpoint") && (refiner_switch_at ?? 0) < 1;

function refuseUnsupported(request: Txt2img | Img2img, more: Record<string, boolean>): void {
  refuseScripts(request);
  const asked = {
    restore_faces: request.restore_faces === true,
    tiling: request.tiling === true,
    s_min_uncond: (request.s_min_uncond ?? 0) > 0,
    s_churn: (request.s_churn ?? 0) > 0,
    s_tmin: (request.s_tmin ?? 0) > 0,
    s_noise: (request.s_noise ?? 1) !== 1,
    infotext: Boolean(request.infotext),
    ...more,
  };
  const found = Object.entries(asked).flatMap(([name, is]) => (is ? [name] : []));
  if (found.length > 0)
    throw new Refusal(422, "UNSUPPORTED", `this server does not have ${found.join(", ")}`, {
      hint: "leave it out, or set it to its default",
    });
}
