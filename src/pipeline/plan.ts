import { demand } from "../errors.js";
import { evaluationsOf, schedulerFor } from "../generation/passes.js";
import { passesOf } from "../generation/plan.js";
import type { Size } from "../image/image.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { ModelInfo } from "./model-info.js";

/** One way from noise, or from a noised picture, to latents. */
export interface PlannedPass {
  /** Generated at, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Times that the network is asked, as far as the scheduler knows before it runs. */
  readonly evaluations: number;
  /** A run of its own, for a look at its timesteps. */
  readonly scheduler: Scheduler;
}

/** What a generation takes. */
export interface GenerationPlan {
  readonly pictures: number;
  /** Of each picture. */
  readonly width: number;
  readonly height: number;
  /** Of each picture, in order. */
  readonly passes: readonly PlannedPass[];
}

/**
 * What `generate` would do, without loading or reading anything: the sizes and steps that it resolves.
 *
 * @param image size of the picture in `image`, whose content does not matter here
 * @throws DiffusionError BAD_OPTION as `generate` does, for options that contradict each other or the model
 */
export function planGeneration(
  options: GenerateOptions,
  model: Pick<ModelInfo, "traits">,
  image?: Size,
): GenerationPlan {
  demand("options", options, "object");
  demand("model", model, "object");
  const { traits } = model;
  demand("traits", traits, "object");
  const drawn = { seed: 0, variationSeed: 0, ...(image && { imageSize: image }) };
  const planned = { traits, options: resolveOptions(options, traits, drawn) };
  const { width, height, prompts, hires } = planned.options;
  const passes = passesOf(planned, image).map((pass) => {
    const scheduler = schedulerFor(planned, pass);
    return { ...pass.size, scheduler, evaluations: evaluationsOf(planned, scheduler) };
  });
  const size = hires ?? { width, height };
  return { pictures: prompts.length, width: size.width, height: size.height, passes };
}
