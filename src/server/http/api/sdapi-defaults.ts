import { type GenerationDefaults, samplerPair } from "../../../index.js";
import type { Models } from "../../jobs/models.js";
import { overrideOf } from "./sdapi-override.js";
import type { GivenImg2img, GivenTxt2img, WithDefaults } from "./sdapi-schema.js";

/** The web UI's own, of the pipelines' arguments there. */
const webui = {
  negative_prompt: "",
  sampler_index: "Euler",
  steps: 50,
  cfg_scale: 7,
  width: 512,
  height: 512,
};

/** A request in which everything is said, and what the model's own defaults are. */
export interface Filled<Given> {
  readonly body: WithDefaults<Given>;
  readonly own: GenerationDefaults;
  /** No sampler was named, and the model has one of its own: it is left to the library, under the library's name. */
  readonly ownSampler: boolean;
}

/** What a request leaves open is the model's own default where it has one, else the web UI's. */
export function filled<Given extends GivenTxt2img | GivenImg2img>(
  given: Given,
  models: Models,
): Filled<Given> {
  const masked = "mask" in given && Boolean(given.mask) && given.mask_round;
  const { sd_model_checkpoint } = overrideOf(given);
  const { info } = models.resolve(sd_model_checkpoint || undefined, { masked });
  const own = info.generationDefaults ?? {};
  const { steps, guidance, width, height, negativePrompt } = own;
  const ownSampler = own.scheduler !== undefined && !given.sampler_name && !given.sampler_index;
  const { sampler, schedule } = samplerPair(samplerName(own));
  return {
    own,
    ownSampler,
    body: {
      ...given,
      steps: given.steps ?? steps ?? webui.steps,
      cfg_scale: given.cfg_scale ?? guidance ?? webui.cfg_scale,
      width: given.width ?? width ?? webui.width,
      height: given.height ?? height ?? webui.height,
      negative_prompt: given.negative_prompt ?? negativePrompt ?? webui.negative_prompt,
      sampler_index: given.sampler_index ?? (ownSampler ? sampler : webui.sampler_index),
      ...(ownSampler && schedule && { scheduler: schedule }),
    },
  };
}

const samplerName = ({ scheduler }: GenerationDefaults): string =>
  typeof scheduler === "object" ? String(scheduler._class_name) : (scheduler ?? webui.sampler_index);
