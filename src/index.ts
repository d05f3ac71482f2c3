export { findLora } from "./adapters/locate.js";
export type { LoraInfo, LoraScale, WordInfo } from "./adapters/set.js";
export { describeLearnedWord, type LearnedWord } from "./adapters/textual-inversion.js";
export { DiffusionError, type ErrorCode, nearest } from "./errors.js";
export type { OnProgress, ProgressEvent } from "./events.js";
export type { EncodeOptions } from "./generation/encode-prompt.js";
export type { IpAdapterInfo } from "./generation/ip-adapter.js";
export { readWildcards } from "./generation/wildcard-folder.js";
export type { CannyOptions } from "./image/canny.js";
export type { Image, Mask, Size } from "./image/image.js";
export type { LatentMaskRule, MaskReading } from "./image/mask.js";
export { masks } from "./image/masks.js";
export type { Margins, OutpaintCanvas } from "./image/outpaint.js";
export {
  formatParameters,
  type Parameters,
  parseFields,
  parseParameters,
} from "./image/parameters.js";
export { readImageTexts, withParameters } from "./image/parameters-text.js";
export { decodePng, encodePng } from "./image/png.js";
export { type Preprocessor, preprocess, preprocessors } from "./image/preprocess.js";
export type { ClampedImage } from "./image/read.js";
export { readImage } from "./image/read.js";
export { fitImage, type ResampleFilter, type ResizeMode, resize } from "./image/resize.js";
export type { KeepingScheduler, KeptLatents } from "./latents/blend.js";
export { type BrownianOptions, brownianNoise } from "./latents/brownian.js";
export type { Region } from "./latents/extent.js";
export type { Latents, Values } from "./latents/latents.js";
export { createRng, numericSeed, type Rng, type RngName, type Seed } from "./latents/rng.js";
export type { InterpolationMode } from "./latents/upscale.js";
export type { TextEncoderConfig, TextEncoderOutputs } from "./models/clip.js";
export type { Filled, Shaped } from "./models/fields.js";
export type { FreeU } from "./models/freeu.js";
export type { TaesdConfig, TaesdStages } from "./models/taesd.js";
export type { KlConfig } from "./models/vae.js";
export type { VaeConfig } from "./models/vae-config.js";
export type { VqConfig } from "./models/vq.js";
export type { FusedNodes } from "./ops/graph.js";
export type { Activation, DType, Shape, Tensor } from "./ops/ops.js";
export {
  defaultUpscaler,
  type HiresUpscaler,
  hiresUpscalers,
  type MaskedContent,
  maskedContents,
  type Output,
  outputs,
  type Precision,
  type Prediction,
  precisions,
  predictions,
  promptSyntaxes,
  type RuntimeName,
  resizeModes,
  rngNames,
  runtimes,
} from "./options/choices.js";
export type { Conditioning } from "./options/conditioning.js";
export type { ControlInput, ControlOptions, IpAdapterInput } from "./options/control-options.js";
export type { UsualOptions } from "./options/generation-defaults.js";
export type { Hires, ImageInput, ImageOptions, MaskInput, Tiles } from "./options/image-options.js";
export { infotext, type Making } from "./options/infotext.js";
export type {
  DescribeOptions,
  FindOptions,
  LayerOptions,
  LoadOptions,
  LocateOptions,
  UpscalerOptions,
} from "./options/load.js";
export { upscalerOptionNames } from "./options/load.js";
export type { GenerateOptions, GenerationDefaults } from "./options/options.js";
export type { Inpainting, Mode, ModelTraits, ResolvedOptions, Upscaling } from "./options/resolved.js";
export type { RunOptions } from "./options/run-options.js";
export type { SamplingOptions } from "./options/sampling-options.js";
export { type PictureSeeding, type Seeding, seedsOfPicture } from "./options/seeds.js";
export type { SizeConditioning, TextOptions } from "./options/text-options.js";
export type { UpscaleOptions } from "./options/upscale.js";
export { defaultModelFor, generate } from "./pipeline/generate.js";
export { describeHubModel, type HubModelCard } from "./pipeline/hub-model.js";
export {
  describeUpscaler,
  ImageUpscaler,
  isImageUpscaler,
  type UpscalerInfo,
  upscale,
} from "./pipeline/image-upscaler.js";
export type { TensorFlow } from "./pipeline/layers.js";
export { type LayerName, loadLayer } from "./pipeline/layers.js";
export { hashWeights } from "./pipeline/model-hash.js";
export { describeModel, type ModelInfo } from "./pipeline/model-info.js";
export { defaultModels } from "./pipeline/model-source.js";
export { type GenerationPlan, type PlannedPass, planGeneration } from "./pipeline/plan.js";
export { generateRefined, type RefinedOptions } from "./pipeline/refined.js";
export type { GenerateResult } from "./pipeline/run.js";
export { keepModels, unload } from "./pipeline/shared-models.js";
export { StableDiffusion } from "./pipeline/stable-diffusion.js";
export { cpuFlags } from "./runtime/machine.js";
export type { Posterior, Vae, VaeOptions } from "./runtime/networks/autoencoder.js";
export type { UNetInput } from "./runtime/networks/inputs.js";
export type { TextEncoder, TextEncoding } from "./runtime/networks/text-encoder.js";
export type { UNet } from "./runtime/networks/unet.js";
export type { Capabilities } from "./runtime/probe.js";
export type { Status } from "./runtime/process/messages.js";
export {
  type SchedulerEntry,
  samplerPair,
  schedulerEntries,
  scheduleTypes,
} from "./schedulers/catalog.js";
export type { SchedulerConfig } from "./schedulers/config.js";
export {
  type SchedulerRule,
  type SigmaSchedule,
  schedulerRules,
  sigmaSchedules,
} from "./schedulers/lists.js";
export type { SamplerPair, SchedulerName } from "./schedulers/names.js";
export type { NoiseRange, NoiseSource, Run } from "./schedulers/plan.js";
export {
  createScheduler,
  type Scheduler,
  type SchedulerChoice,
  type SchedulerFactory,
  schedulerConfig,
} from "./schedulers/scheduler.js";
export type { Emphasis } from "./text/emphasis.js";
export type { PromptOptions } from "./text/prompt.js";
export { countTokens, type PromptSyntax } from "./text/prompt.js";
export type { Tokenizer } from "./text/tokenizer.js";
export { namedLists, type WildcardLists } from "./text/wildcards.js";
export { loadTokenizer } from "./weights/tokenizer-files.js";
