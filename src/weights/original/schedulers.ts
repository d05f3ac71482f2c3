import type { JsonObject } from "../../disk/json.js";
import { type Family, isXl } from "./config.js";

export type Prediction = "epsilon" | "v_prediction";

const betas = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  num_train_timesteps: 1000,
};

/** The scheduler that latent consistency models are published with. */
export const consistencyScheduler = (prediction: Prediction): JsonObject => ({
  _class_name: "LCMScheduler",
  ...betas,
  prediction_type: prediction,
  steps_offset: 1,
  clip_sample: false,
  set_alpha_to_one: true,
  original_inference_steps: 50,
  timestep_spacing: "leading",
});

/** The scheduler that the family is published with. */
export function schedulerConfig(family: Family, pipeline: string, prediction: Prediction): JsonObject {
  const common = { ...betas, prediction_type: prediction, steps_offset: 1, clip_sample: false };
  if (family === "turbo")
    return { _class_name: "EulerDiscreteScheduler", ...common, timestep_spacing: "trailing" };
  if (isXl(family)) return { _class_name: "EulerDiscreteScheduler", ...common, timestep_spacing: "leading" };
  if (family === "upscaler")
    return {
      _class_name: "DDIMScheduler",
      ...common,
      beta_start: 0.0001,
      beta_end: 0.02,
      set_alpha_to_one: false,
    };
  if (pipeline === "StableDiffusionInstructPix2PixPipeline")
    return { _class_name: "EulerAncestralDiscreteScheduler", ...common };
  if (prediction === "v_prediction" || pipeline === "StableDiffusionInpaintPipeline")
    return { _class_name: "DDIMScheduler", ...common, set_alpha_to_one: false };
  return { _class_name: "PNDMScheduler", ...common, set_alpha_to_one: false, skip_prk_steps: true };
}

/** The upscaler's second schedule: the noise that the small image gets. */
export const lowResScheduler: JsonObject = {
  _class_name: "DDPMScheduler",
  ...betas,
  beta_start: 0.0001,
  beta_end: 0.02,
};
