import type { Preprocessor } from "../image/preprocess.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import { keepingContract } from "../schedulers/contract.js";
import { createScheduler } from "../schedulers/scheduler.js";
import type { ControlInput, IpAdapterInput } from "./control-options.js";
import type { ImageInput } from "./image-options.js";
import type { GenerateOptions } from "./options.js";
import type {
  ModelTraits,
  ResolvedControl,
  ResolvedOptions,
  ResolvedPicturePrompt,
  WholeOptions,
} from "./resolved.js";

/** Pictures, embeddings and functions, which no text can tell. */
export function unprintable(
  options: GenerateOptions,
  { scheduler: config }: ResolvedOptions,
  model: ModelTraits,
): Omit<WholeOptions, keyof ResolvedOptions | "printable"> {
  const { latents, promptEmbeds, negativePromptEmbeds, preview, signal, stop, scheduler } = options;
  return {
    createScheduler: (run) =>
      typeof scheduler === "function"
        ? keepingContract(scheduler(run, model.scheduler))
        : createScheduler(config as SchedulerConfig, run),
    controls: (options.controlnet ?? []).map(controlOf),
    picturePrompts: ([options.ipAdapter ?? []].flat() as IpAdapterInput[]).map(picturePromptOf),
    onProgress: options.onProgress ?? (() => {}),
    ...(latents && { latents }),
    ...(promptEmbeds && { promptEmbeds }),
    ...(negativePromptEmbeds && { negativePromptEmbeds }),
    ...(preview && { preview: preview === true ? { every: 1 } : preview }),
    ...(signal && { signal }),
    ...(stop && { stop }),
  };
}

function controlOf(input: ControlInput): ResolvedControl {
  const { model, image, mask, scale = 1, start = 0, end = 1, guess = false, preprocess = [] } = input;
  return {
    ...{ model, image, scale, start, end, guess, preprocess: [preprocess].flat() as Preprocessor[] },
    ...(mask !== undefined && { mask }),
  };
}

function picturePromptOf(input: IpAdapterInput): ResolvedPicturePrompt {
  const { model, imageEncoder, image, scale = 1, start = 0, end = 1 } = input;
  return {
    ...{ scale, start, end, images: [image].flat() as ImageInput[] },
    ...(model !== undefined && { model }),
    ...(imageEncoder !== undefined && { imageEncoder }),
  };
}
