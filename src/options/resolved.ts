import type { OnProgress } from "../events.js";
import type { Margins } from "../image/outpaint.js";
import type { Preprocessor } from "../image/preprocess.js";
import type { ResampleFilter } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { SamplerPair } from "../schedulers/names.js";
import type { Run } from "../schedulers/plan.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import type { ImageResizing, MaskedContent } from "./choices.js";
import type { Conditioning } from "./conditioning.js";
import type { ControlInput, IpAdapterInput } from "./control-options.js";
import type { Hires, ImageInput, Tiles } from "./image-options.js";
import type { GenerateOptions, GenerationDefaults, KeptOptions } from "./options.js";

export type Mode = "txt2img" | "img2img" | "inpaint" | "outpaint" | "instruct" | "upscale" | "unconditional";

/** What must be known of a model to fill in what was not asked for. */
export interface ModelTraits {
  readonly name: string;
  readonly hasText: boolean;
  /** SDXL has two. */
  readonly textEncoders: number;
  /** What its UNet is shown beside the latents: a mask and what it leaves, the image to change, or to enlarge. */
  readonly sees: "latents" | "mask" | "image" | "lowres";
  /** Upscalers that work on the image's latents: by how much, and what its sides are multiples of, in pixels. */
  readonly latentUpscaling?: { readonly scale: number; readonly multiple: number };
  /** Upscalers that see the image through noise: its highest level. */
  readonly mostNoise?: number;
  /** SDXL's refiner, which goes on with the pictures or latents of other models: it is told a score of their beauty. */
  readonly isRefiner?: boolean;
  /** The web UI leaves out no layers of its text encoder, whatever clip skip says: only of Stable Diffusion 1's it does. */
  readonly ignoresWebuiClipSkip?: true;
  /** LCM: guidance is an input of the network. */
  readonly guidanceEmbedding: boolean;
  /** Pixels per latent cell. */
  readonly factor: number;
  /** Channels of its latents. */
  readonly channels: number;
  /** How its latents are scaled, in words; absent where that says nothing of what they mean. */
  readonly scaling?: string;
  /** Side of its own pictures in pixels. */
  readonly size: number;
  readonly scheduler: SchedulerConfig;
  /** What its generation_defaults.json says. */
  readonly defaults?: GenerationDefaults;
}

/**
 * Everything that decides about the pictures, with defaults filled in: enough to make them again. Beside the options that
 * are kept as they are, those of which a default is the model's, or follows from others.
 */
export interface ResolvedOptions extends KeptOptions {
  readonly mode: Mode;
  /** One for each image. */
  readonly prompts: readonly string[];
  /** Absent entries were not given (SDXL treats that unlike ""). */
  readonly negativePrompts: readonly (string | undefined)[];
  readonly prompts2?: readonly string[];
  readonly negativePrompts2?: readonly (string | undefined)[];
  readonly seeds: readonly (number | bigint)[];
  readonly variation?: { readonly seeds: readonly (number | bigint)[]; readonly strength: number };
  /** The size generated at; outpainting: the size of the result. */
  readonly width: number;
  readonly height: number;
  /** Refiners: what the picture is to be worth, and what the negative prompt stands for. */
  readonly aestheticScore?: number;
  readonly negativeAestheticScore?: number;
  readonly steps: number;
  readonly guidance: number;
  readonly pag?: Required<NonNullable<GenerateOptions["pag"]>>;
  readonly imageGuidance?: number;
  /** "custom" for the user's own factory. */
  readonly scheduler: SchedulerConfig | "custom";
  /** As the call or the model's own defaults name it: the configuration no longer tells the web UI's names from ours. */
  readonly schedulerName?: string | SamplerPair;
  readonly strength?: number;
  readonly resizeMode?: ImageResizing;
  readonly inpainting?: Inpainting;
  readonly outpainting?: { readonly margins: Margins; readonly step: number; readonly seamStrength: number };
  readonly hires?: Required<Omit<Hires, "scale" | "steps">> & Pick<Hires, "scale" | "steps">;
  readonly upscaling?: Upscaling;
  readonly controlnet?: readonly Omit<ControlInput, "image" | "mask">[];
  readonly ipAdapter?: readonly Omit<IpAdapterInput, "image">[];
  /** Which of the images `stop` has ended before their last step; absent: none. */
  readonly stopped?: readonly number[];
}

/** All that a generation goes by, resolved once: what stands behind the run reads this, never what was asked for. */
export interface WholeOptions extends ResolvedOptions {
  /** The part that can be printed, `options` of the result. */
  readonly printable: ResolvedOptions;
  /** The scheduler of a run, by `scheduler` or by the user's own factory. */
  readonly createScheduler: (run: Run) => Scheduler;
  /** Unit noise in place of the seed's; with `denoisingStart` the latents to go on from. */
  readonly latents?: Latents;
  readonly promptEmbeds?: Conditioning;
  readonly negativePromptEmbeds?: Conditioning;
  /** What ControlNets and T2I-Adapters follow. */
  readonly controls: readonly ResolvedControl[];
  /** What IP-Adapters see. */
  readonly picturePrompts: readonly ResolvedPicturePrompt[];
  /** Steps from one preview to the next; absent: none. */
  readonly preview?: { readonly every: number };
  readonly signal?: AbortSignal;
  readonly stop?: AbortSignal;
  readonly onProgress: OnProgress;
}

/** A picture to follow, with defaults filled in. */
export interface ResolvedControl
  extends Required<Omit<ControlInput, "preprocess" | "mask">>,
    Pick<ControlInput, "mask"> {
  readonly preprocess: readonly Preprocessor[];
}

/** Pictures beside the prompt, with defaults filled in. */
export interface ResolvedPicturePrompt
  extends Required<Pick<IpAdapterInput, "scale" | "start" | "end">>,
    Pick<IpAdapterInput, "model" | "imageEncoder"> {
  readonly images: readonly ImageInput[];
}

export interface Upscaling {
  /** Brings the image to a size that the network takes. */
  readonly filter: ResampleFilter;
  /** Absent for models that see the image as it is. */
  readonly noiseLevel?: number;
  readonly tiles?: Tiles;
}

export interface Inpainting {
  readonly invert: boolean;
  readonly blur: number;
  /** Fades on both sides of the edge, over so many pixels of the columns. Absent: within the mask. */
  readonly bothSides?: { readonly columns: number };
  readonly content: MaskedContent;
  /** Of the surroundings of the mask, which are then all that is worked on. Absent: the whole picture is. */
  readonly padding?: number;
  /** The whole picture is brought to the size generated at, as a width or a height was given. */
  readonly scaled: boolean;
}
