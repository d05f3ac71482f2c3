import type { OnProgress } from "../events.js";
import type { Conditioning } from "../generation/prompt-embedding.js";
import type { Image, Mask, Size } from "../image/image.js";
import type { Margins } from "../image/outpaint.js";
import type { Preprocessor } from "../image/preprocess.js";
import type { ResizeMode } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import type { RngName, Seed } from "../latents/rng.js";
import type { SchedulerChoice, SchedulerFactory } from "../schedulers/scheduler.js";
import type { PromptSyntax } from "../text/prompt.js";
import type { HiresUpscaler, MaskedContent, Output } from "./choices.js";

/** A path, encoded bytes (PNG, JPEG, WebP), or pixels. EXIF orientation is applied, transparency laid over white. */
export type ImageInput = string | Uint8Array | Image;
/** White (255) or transparent = repaint; grey is repainted from one half on, and put back in proportion. */
export type MaskInput = ImageInput | Mask;

/** SDXL's size conditioning in pixels. */
export interface SizeConditioning {
  /** Size that the picture is said to have had. Default: the size generated at. */
  readonly original?: Size;
  /** Corner that it is said to have been cropped from. Default 0, 0. */
  readonly crop?: { readonly left: number; readonly top: number };
  /** Size that the picture is for. Default: the size generated at. */
  readonly target?: Size;
}

/** A second pass at a larger size over the result of the first ("hires fix"). */
export interface Hires {
  /** Default 2. In its place, `width` and `height`. */
  readonly scale?: number;
  readonly width?: number;
  readonly height?: number;
  /** As in image to image, default 0.7. */
  readonly strength?: number;
  /** The second pass runs exactly so many. Default: `strength` of the steps. */
  readonly steps?: number;
  /** Default "latent". */
  readonly upscaler?: HiresUpscaler;
}

/** A picture that a ControlNet or T2I-Adapter makes the result follow: edges, depth, poses, as it was trained on. */
export interface ControlInput {
  /** A ControlNet or T2I-Adapter that was made for this kind of model: folder, hub name, or a file with a ControlNet. */
  readonly model: string;
  /** Brought to the size generated at. */
  readonly image: ImageInput;
  /** What turns it into one that can be followed, one step after the other. Default: nothing, it is one. */
  readonly preprocess?: Preprocessor | readonly Preprocessor[];
  /** How closely to follow it, default 1. */
  readonly scale?: number;
  /** Shares of the steps between which it acts, default 0 and 1. */
  readonly start?: number;
  readonly end?: number;
  /** ControlNet, for work without a prompt: weak on fine structure, and the negative prompt is not steered. Default false. */
  readonly guess?: boolean;
}

/** A picture, or several, that the result takes after in subject and style, beside the prompt (IP-Adapter). */
export interface IpAdapterInput {
  /** Name of a loaded one, else file or hub name (owner/name:folder/file.safetensors). Default: the only loaded one. */
  readonly model?: string;
  /** Folder or hub name of its image encoder. Default: image_encoder beside the file. */
  readonly imageEncoder?: string;
  readonly image: ImageInput | readonly ImageInput[];
  /** How much it counts beside the prompt, default 1. */
  readonly scale?: number;
  /** Shares of the steps between which it counts, default 0 and 1. */
  readonly start?: number;
  readonly end?: number;
}

/** In pixels of the image that is enlarged. */
export interface Tiles {
  readonly size?: number;
  /** What neighbours share at least, default 16. */
  readonly overlap?: number;
}

/** The mode is never passed: what is given implies it. */
export interface GenerateOptions {
  /** Absent only for models without a text encoder. Several prompts make `count` images each. */
  prompt?: string | string[];
  negativePrompt?: string | string[];
  /**
   * What signs in prompts mean: "plain" (default) nothing, and long prompts are cut, as in diffusers; "a1111" the web
   * UI's attention, editing, AND and BREAK; "compel" its weights. The last two take prompts of any length, in chunks;
   * "a1111" skips layers (`clipSkip`) for the negative prompt, too. `<lora:name:0.8>` is understood in each.
   */
  promptSyntax?: PromptSyntax;
  /** In place of `prompt` and `negativePrompt`: what `encodePrompt` gave, or the like. */
  promptEmbeds?: Conditioning;
  negativePromptEmbeds?: Conditioning;
  /** SDXL: for the second text encoder. Default: the same as for the first. */
  prompt2?: string | string[];
  negativePrompt2?: string | string[];
  /** Pixels, multiples of the VAE's factor (8). Default: the size of `image`, else the model's own. */
  width?: number;
  height?: number;
  /** SDXL: what the model is told about sizes; `negative` is for the negative prompt, by default the same. */
  sizes?: SizeConditioning & { readonly negative?: SizeConditioning };
  /** Denoising steps, default 20 (1000 for pixel-space DDPM, 4 for LCM, 75 and 100 for upscalers). */
  steps?: number;
  /** Classifier-free guidance, default 7.5 (upscalers 9); 1 turns it off and halves the work. */
  guidance?: number;
  /**
   * Shares of the run [start, end]: guides between them alone (Kynkäänniemi et al. 2024), and asks the network about
   * the prompt alone elsewhere, which halves the work of those steps. [0.2, 0.8] guides 12 of 20. Default: always.
   */
  guidanceInterval?: readonly [start: number, end: number];
  /**
   * Runs the whole UNet at every so-manieth call alone, and at those between its outermost layers on what the rest gave
   * before (DeepCache, Ma et al. 2023, "DeepCache: Accelerating Diffusion Models for Free": uniform interval, branch 0).
   * 2 to 5 is usual; the picture changes. Not for upscalers. Default: the whole UNet always.
   */
  deepCache?: { readonly interval: number };
  /**
   * Self-attention, where the picture is largest, works on fewer tokens (Bolya and Hoffman 2023, "Token Merging for Fast
   * Stable Diffusion"): the share of them, above 0 and at most 0.75, that is merged into those that they are most
   * like; 0.5 is usual. Pays for large pictures; the picture changes. Not for upscalers. Default: none.
   */
  tokenMerging?: number;
  /** 0 to 1, default 0: how far over-exposure by guidance is corrected. */
  guidanceRescale?: number;
  /** InstructPix2Pix: how close to stay to the image, default 1.5. */
  imageGuidance?: number;
  /** Share of fresh noise in DDIM and its like; the default is the scheduler's. */
  eta?: number;
  /**
   * Text encoder layers left out at the end, counted as diffusers does: 1 is the penultimate one.
   * Default 0. As there, the negative prompt is encoded by all layers.
   */
  clipSkip?: number;
  /** Image i of a call uses seed + i. Text goes through seedrandom. Absent: drawn, and returned. */
  seed?: Seed;
  /** Images for each prompt, default 1. */
  count?: number;
  /** Turns the seed's noise by `strength` towards another seed's; image i then uses variation seed + i and one seed. */
  variation?: { readonly seed?: Seed; readonly strength: number };
  /** Draws the noise for a picture of this size and puts it in the middle: keeps the composition at another size. */
  seedSize?: Size;
  /** "torch" (default) reproduces torch's CPU generator, "philox" its CUDA one. */
  rng?: RngName;
  /** Default: the model's own. A config's `_class_name` names the rule. */
  scheduler?: SchedulerChoice | SchedulerFactory;
  /** 0 to 1: leaves out the steps before this share of the noise schedule; `image` or `latents` are taken as they are. */
  denoisingStart?: number;
  /** 0 to 1: stops at this share of the noise schedule, so that another model can go on from the latents. */
  denoisingEnd?: number;
  /** Image to image: where to start from. Latent upscalers take another model's latents, too. */
  image?: ImageInput | Latents;
  /**
   * Above 0, to 1: the share of the steps that are run on `image`. Default 0.8; with a mask 1 (pure noise);
   * with `expand` 1, or 0.85 for models that do not see the mask.
   */
  strength?: number;
  /** Runs all `steps` on the image, on a schedule of steps / strength (a setting of the web UI). Default false. */
  exactSteps?: boolean;
  /** How `image` and `mask` are brought to width and height. Default "stretch". */
  resizeMode?: ResizeMode;
  /** Inpainting: what to repaint. Pixels where it is 0 come back bit-identical. */
  mask?: MaskInput;
  /** Repaints the black or opaque part. Default false. */
  maskInvert?: boolean;
  /**
   * Softness of the edge when the result is put back, default 4: it comes in over twice as many pixels inside the
   * mask, so that no kept pixel changes. With `expand`, as many pixels along the image's edge are repainted and
   * faded, so that no seam shows; 0 keeps every pixel of the image. Unless 0, colours that the model has shifted are
   * brought back towards those around the painted part.
   */
  maskBlur?: number;
  /** What the masked part starts as, at a strength below 1. Default "original". */
  maskedContent?: MaskedContent;
  /** Works on the mask's surroundings alone, at width x height (default: the model's own). Default padding 32. */
  onlyMasked?: boolean | { readonly padding: number };
  /** Outpainting: pixels to add on each side. */
  expand?: Partial<Margins>;
  /** Outpainting: most pixels that one pass adds to a side. Default: half the model's own size. */
  expandStep?: number;
  /** Outpainting: strength of a second pass along the seams, default 0 (none). */
  seamStrength?: number;
  hires?: Hires;
  /** ControlNets and T2I-Adapters; what several do is added up. */
  controlnet?: readonly ControlInput[];
  /** IP-Adapters; what several see is added up. */
  ipAdapter?: IpAdapterInput | readonly IpAdapterInput[];
  /** Upscalers: noise laid over the image, 0 to 350, default 20; with more the model invents more. */
  noiseLevel?: number;
  /** Upscalers: tiles of the image in which large ones are worked on. Default: as large as memory allows. */
  tiles?: Tiles;
  /** Unit noise to start from, [images, height / f, width / f, channels], in place of the seed's. */
  latents?: Latents;
  /** "latents" leaves out the decoding. Default "image". */
  output?: Output;
  signal?: AbortSignal;
  onProgress?: OnProgress;
  /** Small pictures of the state in step events. */
  preview?: boolean | { every: number };
}
