import type { z } from "zod";
import type { Parts } from "../../jobs/accept.js";
import type { WebuiSettings } from "../../storage/settings.js";
import { ownVae, rngOf } from "./sdapi-request.js";
import type { optionsBody } from "./sdapi-schema.js";
import { fixedSettings, refuseSettings } from "./sdapi-settings.js";

/** The settings of the server under the web UI's names. */
export function options({ models, settings }: Parts) {
  const { clipSkip, rng, samplesFormat, detectedMaps, webui } = settings.data;
  return {
    ...fixedSettings,
    ...webuiDefaults,
    ...webui,
    sd_model_checkpoint: models.current.label,
    sd_checkpoint_hash: models.hashes.of(models.current.info.path) ?? "",
    sd_vae: models.vae ?? "Automatic",
    CLIP_stop_at_last_layers: clipSkip,
    randn_source: rng === "torch" ? "CPU" : "NV",
    samples_format: samplesFormat,
    control_net_no_detectmap: !detectedMaps,
    live_previews_enable: true,
    return_grid: false,
    save_images_add_number: true,
    enable_pnginfo: true,
  };
}

/** What a server goes by to which none of them was set. */
const webuiDefaults = {
  emphasis: "Original",
  eta_ancestral: 1,
  eta_ddim: 0,
  token_merging_ratio: 0,
  token_merging_ratio_img2img: 0,
  img2img_fix_steps: false,
  pad_cond_uncond: false,
  enable_prompt_comments: true,
  sdxl_refiner_high_aesthetic_score: 6,
  sdxl_refiner_low_aesthetic_score: 2.5,
} satisfies Required<WebuiSettings>;

/** @throws Refusal for settings that would change pictures and cannot be had; nothing is set then */
export async function setOptions(
  { models, settings }: Parts,
  body: z.infer<typeof optionsBody>,
): Promise<void> {
  refuseSettings(body);
  const { control_net_no_detectmap: noMaps } = body;
  const { sd_model_checkpoint, CLIP_stop_at_last_layers, randn_source, samples_format } = body;
  if (sd_model_checkpoint) await models.choose(sd_model_checkpoint);
  if (body.sd_vae != null) await models.chooseVae(ownVae(body.sd_vae) ? undefined : body.sd_vae);
  const webui = Object.entries(body).filter(([name, value]) => name in webuiDefaults && value !== null);
  await settings.set((now) => ({
    webui: { ...now.webui, ...Object.fromEntries(webui) },
    ...(CLIP_stop_at_last_layers && { clipSkip: CLIP_stop_at_last_layers }),
    ...(randn_source && { rng: rngOf(randn_source) }),
    ...(noMaps != null && { detectedMaps: !noMaps }),
    ...(samples_format && { samplesFormat: samples_format === "jpeg" ? "jpg" : samples_format }),
  }));
}
