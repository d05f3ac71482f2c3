import { Refusal } from "../../refusal.js";

type Value = string | number | boolean | null;

/**
 * Settings of the web UI that change pictures there and cannot be had here, each with the value at which it is as if it
 * was not there: the web UI's default. Clients send these back as they found them; any other value is refused by name.
 */
export const fixedSettings: Readonly<Record<string, Value>> = {
  ...{ tiling: false, face_restoration: false, enable_quantization: false, enable_emphasis: true },
  ...{ sd_unet: "Automatic", sd_hypernetwork: "None", sd_lora: "None", extra_networks_default_multiplier: 1 },
  ...{
    sdxl_clip_l_skip: false,
    comma_padding_backtrack: 20,
    pad_cond_uncond_v0: false,
    fp8_storage: "Disable",
  },
  ...{ sdxl_crop_top: 0, sdxl_crop_left: 0 },
  ...{ sd_vae_encode_method: "Full", sd_vae_decode_method: "Full" },
  ...{ inpainting_mask_weight: 1, initial_noise_multiplier: 1, img2img_extra_noise: 0 },
  ...{ img2img_color_correction: false, img2img_background_color: "#ffffff", overlay_inpaint: true },
  ...{ upscaler_for_img2img: null, token_merging_ratio_hr: 0 },
  ...{ s_min_uncond: 0, s_min_uncond_all: false, skip_early_cond: 0 },
  ...{ s_churn: 0, s_tmin: 0, s_noise: 1, eta_noise_seed_delta: 0 },
  ...{ k_sched_type: "Automatic", sigma_min: 0, sigma_max: 0, rho: 0 },
  ...{ beta_dist_alpha: 0.6, beta_dist_beta: 0.6, sd_noise_schedule: "Default", sgm_noise_multiplier: false },
  ...{ always_discard_next_to_last_sigma: false, no_dpmpp_sde_batch_determinism: false },
  ...{
    uni_pc_variant: "bh1",
    uni_pc_skip_type: "time_uniform",
    uni_pc_order: 3,
    uni_pc_lower_order_final: true,
  },
  ...{ use_old_emphasis_implementation: false, use_old_karras_scheduler_sigmas: false },
  ...{ use_old_hires_fix_width_height: false, use_old_scheduling: false, use_downcasted_alpha_bar: false },
  ...{ dont_fix_second_order_samplers_schedule: false, hires_fix_use_firstpass_conds: false },
};

/** As JSON has it, or as a form would: 0 and "0.0", false and "False", null, "" and "None". */
function isSame(value: unknown, fixed: Value): boolean {
  const plain = (one: unknown) => (String(one ?? "").trim() || "none").toLowerCase();
  return (
    plain(value) === plain(fixed) || (typeof fixed === "number" && value !== "" && Number(value) === fixed)
  );
}

/**
 * @param where what the settings stand in, with a point: "override_settings."
 * @throws Refusal for values that would change pictures and cannot be had
 */
export function refuseSettings(given: Readonly<Record<string, unknown>>, where = ""): void {
  const found = Object.entries(given).filter(([name, value]) => {
    const fixed = Object.hasOwn(fixedSettings, name) ? fixedSettings[name] : undefined;
    return fixed !== undefined && value !== null && !isSame(value, fixed);
  });
  if (found.length === 0) return;
  const names = found.map(([name]) => where + name).join(", ");
  const defaults = found.map(([name]) => `${name} ${JSON.stringify(fixedSettings[name])}`).join(", ");
  throw new Refusal(422, "UNSUPPORTED", `this server does not have ${names}`, {
    hint: `leave it out, or set it to its default: ${defaults}`,
  });
}
