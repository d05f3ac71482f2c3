import type { z } from "zod";
import type { Parts } from "../../jobs/accept.js";
import { ownVae, rngOf } from "./sdapi-request.js";
import type { optionsBody } from "./sdapi-schema.js";

/** The settings of the server under the web UI's names. */
export function options({ models, settings }: Parts) {
  const { clipSkip, rng, samplesFormat, detectedMaps } = settings.data;
  return {
    sd_model_checkpoint: models.current.label,
    sd_checkpoint_hash: models.hashes.of(models.current.info.path) ?? "",
    sd_vae: models.vae ?? "Automatic",
    CLIP_stop_at_last_layers: clipSkip,
    eta_noise_seed_delta: 0,
    randn_source: rng === "torch" ? "CPU" : "NV",
    samples_format: samplesFormat,
    control_net_no_detectmap: !detectedMaps,
    live_previews_enable: true,
    return_grid: false,
    save_images_add_number: true,
    enable_pnginfo: true,
  };
}

export async function setOptions(
  { models, settings }: Parts,
  body: z.infer<typeof optionsBody>,
): Promise<void> {
  const { control_net_no_detectmap: noMaps } = body;
  const { sd_model_checkpoint, CLIP_stop_at_last_layers, randn_source, samples_format } = body;
  if (sd_model_checkpoint) await models.choose(sd_model_checkpoint);
  if (body.sd_vae != null) await models.chooseVae(ownVae(body.sd_vae) ? undefined : body.sd_vae);
  await settings.set({
    ...(CLIP_stop_at_last_layers && { clipSkip: CLIP_stop_at_last_layers }),
    ...(randn_source && { rng: rngOf(randn_source) }),
    ...(noMaps != null && { detectedMaps: !noMaps }),
    ...(samples_format && { samplesFormat: samples_format === "jpeg" ? "jpg" : samples_format }),
  });
}
