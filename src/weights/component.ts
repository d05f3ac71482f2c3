import type { JsonObject } from "../disk/json.js";
import { type Checkpoint, currentNames, type Mapping, openCheckpoint, openShards } from "./checkpoint.js";
import { controlNetMapping, textMapping, unetMapping, vaeMapping } from "./original/mapping.js";
import type { TextPart } from "./original/parts.js";
import { t2iAdapterNames } from "./original/t2i-adapter.js";
import { taesdNames } from "./original/taesd.js";
import { upscalerMapping } from "./original/upscaler.js";
import { isShardIndex } from "./weight-names.js";

/** Whose names the tensors of a file have; in the original code's layout, the tensors below a prefix are one network's. */
export type Layout =
  | { readonly by: "diffusers" }
  | { readonly by: "original"; readonly network: "unet" | "vae" | "controlnet"; readonly prefix: string }
  | ({ readonly by: "original"; readonly network: "text" } & TextPart)
  | { readonly by: "original"; readonly network: "upscaler" | "t2i_adapter" | "taesd_decoder" };

/** Where a component's weights are: plain data, so that the process that computes opens them and nothing else. */
export interface WeightsPlace {
  /** A file, or the index of shards. */
  readonly path: string;
  readonly layout: Layout;
}

/** A component of a model on disk (diffusers' word). Its configuration is what the file says, not checked yet. */
export interface Component {
  /** diffusers' or transformers' class: UNet2DConditionModel, AutoencoderKL, CLIPTextModel, … */
  readonly className: string;
  readonly config: JsonObject;
  readonly weights: WeightsPlace;
  /** @throws DiffusionError as `openWeights` */
  open(): Checkpoint;
}

/** Whether it is the half of an autoencoder that makes pictures, and nothing else. */
export const isDecoderOnly = ({ weights: { layout } }: Component): boolean =>
  layout.by === "original" && layout.network === "taesd_decoder";

export const component = (className: string, config: JsonObject, weights: WeightsPlace): Component => ({
  className,
  config,
  weights,
  open: () => openWeights(weights),
});

/**
 * Opens the weights of one component, whatever else their file holds.
 *
 * @throws DiffusionError as `openCheckpoint` and `openShards`
 */
export function openWeights({ path, layout }: WeightsPlace): Checkpoint {
  return isShardIndex(path) ? openShards(path) : openCheckpoint(path, mappingOf(layout));
}

function mappingOf(layout: Layout): Mapping {
  if (layout.by === "diffusers") return currentNames;
  switch (layout.network) {
    case "unet":
      return unetMapping(layout.prefix);
    case "vae":
      return vaeMapping(layout.prefix);
    case "controlnet":
      return controlNetMapping(layout.prefix);
    case "text":
      return textMapping(layout);
    case "t2i_adapter":
      return t2iAdapterNames;
    case "taesd_decoder":
      return taesdNames;
    case "upscaler":
      return upscalerMapping;
  }
}

export interface TokenizerSource {
  /** vocab.json and merges.txt, or tokenizer.json. */
  readonly folder: string;
  /** Overrides what the folder says. */
  readonly padToken?: string;
}

/** A whole model on disk, whatever it is stored as. */
export interface ModelSource {
  readonly path: string;
  /** diffusers' class of the pipeline, a key of `pipelines`. */
  readonly pipeline: string;
  /** model_index.json, for its flags (`force_zeros_for_empty_prompt`, `max_noise_level`). */
  readonly settings: JsonObject;
  readonly unet: Component;
  /** AutoencoderKL, AutoencoderTiny or VQModel. */
  readonly vae?: Component;
  /** None, one, or SDXL's two, with a tokenizer each. */
  readonly textEncoders: readonly Component[];
  readonly tokenizers: readonly TokenizerSource[];
  /** generation_defaults.json, where the model has one, as it stands there. */
  readonly generationDefaults?: { readonly path: string; readonly content: JsonObject };
  /** scheduler_config.json with its `_class_name`. */
  readonly scheduler: JsonObject;
  /** Of upscalers: noises the image that is upscaled. */
  readonly lowResScheduler?: JsonObject;
  /** What was assumed about it, and what is in its file and is not used. */
  readonly notes?: readonly string[];
}
