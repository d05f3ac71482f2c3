import { refuseContradictions } from "./contradictions.js";
import { DiffusionError } from "./errors.js";
import type { OnProgress } from "./events.js";
import type { Conditioning } from "./generation/prompt-embedding.js";
import type { Image, Mask, Size } from "./image/image.js";
import { checkMargins, type Margins } from "./image/outpaint.js";
import type { ResampleFilter, ResizeMode } from "./image/resize.js";
import type { Latents } from "./latents/latents.js";
import { numericSeed, type RngName, type Seed } from "./latents/rng.js";
import type { InterpolationMode } from "./latents/upscale.js";
import { checkOptions } from "./option-schema.js";
import type { SchedulerConfig } from "./schedulers/config.js";
import { type SchedulerChoice, type SchedulerFactory, schedulerConfig } from "./schedulers/scheduler.js";
import type { PromptSyntax } from "./text/prompt.js";

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

/** "latent" works on the latents (bilinear, or as named), the others on pixels between a decoding and an encoding. */
export type HiresUpscaler = "latent" | `latent-${Exclude<InterpolationMode, "bilinear">}` | ResampleFilter;

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

/** A picture that a ControlNet makes the result follow: edges, depth, poses, as the ControlNet was trained on. */
export interface ControlInput {
  /** Folder or hub name of a ControlNet that was made for this kind of model. */
  readonly model: string;
  /** Brought to the size generated at. */
  readonly image: ImageInput;
  /** How closely to follow it, default 1. */
  readonly scale?: number;
  /** Shares of the steps between which it acts, default 0 and 1. */
  readonly start?: number;
  readonly end?: number;
  /** For work without a prompt: weak on fine structure, and the negative prompt is not steered. Default false. */
  readonly guess?: boolean;
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
  /** Image to image: where to start from. */
  image?: ImageInput;
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
   * faded, so that no seam shows; 0 keeps every pixel of the image.
   */
  maskBlur?: number;
  /** What the masked part starts as, at a strength below 1. Default "original". */
  maskedContent?: "original" | "fill" | "noise" | "nothing";
  /** Works on the mask's surroundings alone, at width x height (default: the model's own). Default padding 32. */
  onlyMasked?: boolean | { readonly padding: number };
  /** Outpainting: pixels to add on each side. */
  expand?: Partial<Margins>;
  /** Outpainting: most pixels that one pass adds to a side. Default: half the model's own size. */
  expandStep?: number;
  /** Outpainting: strength of a second pass along the seams, default 0 (none). */
  seamStrength?: number;
  hires?: Hires;
  /** ControlNets; what several do is added up. */
  controlnet?: readonly ControlInput[];
  /** Upscalers: noise laid over the image, 0 to 350, default 20; with more the model invents more. */
  noiseLevel?: number;
  /** Upscalers: tiles of the image in which large ones are worked on. Default: as large as memory allows. */
  tiles?: Tiles;
  /** Unit noise to start from, [images, height / f, width / f, channels], in place of the seed's. */
  latents?: Latents;
  /** "latents" leaves out the decoding. Default "image". */
  output?: "image" | "latents";
  signal?: AbortSignal;
  onProgress?: OnProgress;
  /** Small pictures of the state in step events. */
  preview?: boolean | { every: number };
}

export type Mode = "txt2img" | "img2img" | "inpaint" | "outpaint" | "instruct" | "upscale" | "unconditional";

/** What options.ts must know of a model. */
export interface ModelTraits {
  readonly name: string;
  readonly hasText: boolean;
  /** SDXL has two. */
  readonly textEncoders: number;
  /** What its UNet is shown beside the latents: a mask and what it leaves, the image to change, or to enlarge. */
  readonly sees: "latents" | "mask" | "image" | "lowres";
  /** Upscalers that see the image through noise: its highest level. */
  readonly mostNoise?: number;
  /** LCM: guidance is an input of the network. */
  readonly guidanceEmbedding: boolean;
  /** Pixels per latent cell. */
  readonly factor: number;
  /** Channels of its latents. */
  readonly channels: number;
  /** Side of its own pictures in pixels. */
  readonly size: number;
  readonly scheduler: SchedulerConfig;
}

/** Everything that decides about the pictures, with defaults filled in: enough to make them again. */
export interface ResolvedOptions {
  readonly mode: Mode;
  /** One for each image. */
  readonly prompts: readonly string[];
  /** Absent entries were not given (SDXL treats that unlike ""). */
  readonly negativePrompts: readonly (string | undefined)[];
  readonly prompts2?: readonly string[];
  readonly negativePrompts2?: readonly (string | undefined)[];
  readonly seeds: readonly (number | bigint)[];
  readonly variation?: { readonly seeds: readonly (number | bigint)[]; readonly strength: number };
  readonly seedSize?: Size;
  /** The size generated at; outpainting: the size of the result. */
  readonly width: number;
  readonly height: number;
  readonly sizes?: GenerateOptions["sizes"];
  readonly steps: number;
  readonly guidance: number;
  readonly guidanceRescale: number;
  readonly imageGuidance?: number;
  readonly eta?: number;
  readonly clipSkip: number;
  readonly promptSyntax: PromptSyntax;
  readonly rng: RngName;
  /** "custom" for the user's own factory. */
  readonly scheduler: SchedulerConfig | "custom";
  readonly denoisingStart?: number;
  readonly denoisingEnd?: number;
  readonly strength?: number;
  readonly exactSteps?: boolean;
  readonly resizeMode?: ResizeMode;
  readonly inpainting?: Inpainting;
  readonly outpainting?: { readonly margins: Margins; readonly step: number; readonly seamStrength: number };
  readonly hires?: Required<Omit<Hires, "scale" | "steps">> & { readonly steps?: number };
  readonly upscaling?: Upscaling;
  readonly controlnet?: readonly Omit<ControlInput, "image">[];
  readonly output: "image" | "latents";
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
  readonly content: "original" | "fill" | "noise" | "nothing";
  /** Absent: the whole picture is worked on. */
  readonly padding?: number;
}

const MOST_PIXELS = 2 ** 26; // 8192 x 8192
const ONLY_MASKED_PADDING = 32; // the web UI's

/**
 * Fills in the defaults and derives the mode. Pure: what must be drawn or read comes as an argument.
 *
 * @param drawn seeds drawn by the caller, for calls without one; size of the image to start from, where there is one
 * @throws DiffusionError BAD_OPTION for options that contradict each other or the model
 */
export function resolveOptions(
  options: GenerateOptions,
  model: ModelTraits,
  drawn: { seed: number; variationSeed: number; imageSize?: Size },
): ResolvedOptions {
  checkOptions(options);
  refuseContradictions(options, model);
  const mode = modeOf(options, model);
  const { width, height } = sizeOf(options, mode, model, drawn.imageSize);
  const texts = promptsOf(options, model);
  const { scheduler = model.scheduler, hires } = options;
  const resolved: ResolvedOptions = {
    mode,
    ...texts,
    ...seedsOf(options, texts.prompts.length, drawn),
    width,
    height,
    steps: options.steps ?? defaultSteps(model),
    guidance: options.guidance ?? defaultGuidance(model),
    guidanceRescale: options.guidanceRescale ?? 0,
    clipSkip: options.clipSkip ?? 0,
    promptSyntax: options.promptSyntax ?? "plain",
    rng: options.rng ?? "torch",
    scheduler: typeof scheduler === "function" ? "custom" : schedulerConfig(scheduler, model.scheduler),
    output: options.output ?? "image",
    ...asGiven(options, ["seedSize", "sizes", "eta", "denoisingStart", "denoisingEnd", "exactSteps"]),
    ...(mode === "instruct" && { imageGuidance: options.imageGuidance ?? 1.5 }),
    ...(mode === "upscale" ? { upscaling: upscalingOf(options, model) } : imageOptions(options, mode, model)),
    ...(options.controlnet && { controlnet: options.controlnet.map(({ image: _, ...rest }) => rest) }),
    ...(hires && { hires: resolvedHires(hires, { width, height }, model.factor) }),
  };
  if (options.latents) checkLatents(options.latents, resolved, model);
  return resolved;
}

function modeOf(options: GenerateOptions, { hasText, sees }: ModelTraits): Mode {
  if (sees === "image") return "instruct";
  if (sees === "lowres") return "upscale";
  if (options.expand) return "outpaint";
  if (options.mask !== undefined) return "inpaint";
  if (options.image !== undefined) return "img2img";
  return hasText ? "txt2img" : "unconditional";
}

function imageOptions(options: GenerateOptions, mode: Mode, model: ModelTraits): Partial<ResolvedOptions> {
  if (options.image === undefined) return {};
  const painting = mode === "inpaint" || mode === "outpaint";
  const { onlyMasked, expand } = options;
  const padding = typeof onlyMasked === "object" ? onlyMasked.padding : ONLY_MASKED_PADDING;
  return {
    resizeMode: options.resizeMode ?? "stretch",
    ...(mode !== "instruct" &&
      options.denoisingStart === undefined && { strength: options.strength ?? defaultStrength(mode, model) }),
    ...(painting && {
      inpainting: {
        invert: options.maskInvert ?? false,
        blur: options.maskBlur ?? 4,
        content: options.maskedContent ?? "original",
        ...(onlyMasked && { padding }),
      },
    }),
    ...(expand && {
      outpainting: {
        margins: checkMargins(expand),
        step: options.expandStep ?? Math.max(8, model.size / 2),
        seamStrength: options.seamStrength ?? 0,
      },
    }),
  };
}

const upscalingOf = ({ noiseLevel, tiles }: GenerateOptions, { mostNoise }: ModelTraits): Upscaling => ({
  // What diffusers' two pipelines do.
  filter: mostNoise === undefined ? "lanczos" : "bicubic",
  ...(mostNoise !== undefined && { noiseLevel: noiseLevel ?? Math.min(20, mostNoise) }),
  ...(tiles && { tiles }),
});

/** Enlarged by the factor; the image comes down to what the network takes: multiples of 32 pixels, or of the factor. */
function enlarged({ width, height }: Partial<Size>, image: Size, { factor, mostNoise }: ModelTraits): Size {
  const multiple = mostNoise === undefined ? 32 : factor;
  const from = (pixels: number) => factor * Math.max(multiple, pixels - (pixels % multiple));
  const size = { width: width ?? from(image.width), height: height ?? from(image.height) };
  checkMultiples(size, factor * multiple, "");
  return limited(size);
}

/** A model that does not see the mask continues a picture better from its mirror image than from pure noise. */
function defaultStrength(mode: Mode, { sees }: ModelTraits): number {
  if (mode === "outpaint") return sees === "mask" ? 1 : 0.85;
  return mode === "inpaint" ? 1 : 0.8;
}

function sizeOf(options: GenerateOptions, mode: Mode, model: ModelTraits, image?: Size): Size {
  const { factor, size } = model;
  if (mode === "upscale" && image) return enlarged(options, image, model);
  if (mode === "outpaint" && image) {
    const { left, right, top, bottom } = checkMargins(options.expand!);
    return limited({ width: left + image.width + right, height: top + image.height + bottom });
  }
  // Pictures to start from keep their size, up to the multiple below as in diffusers; what is painted into is
  // filled up to the multiple above, so that none of its pixels is lost.
  const own = (pixels: number | undefined) => {
    if (pixels === undefined || options.onlyMasked) return size;
    return mode === "inpaint"
      ? Math.ceil(pixels / factor) * factor
      : Math.max(factor, pixels - (pixels % factor));
  };
  const [width, height] = [options.width ?? own(image?.width), options.height ?? own(image?.height)];
  checkMultiples({ width, height }, factor, "");
  return limited({ width, height });
}

function checkMultiples(size: Size, factor: number, prefix: string): void {
  for (const [name, value] of Object.entries(size)) {
    if (value % factor === 0) continue;
    const below = value - (value % factor);
    throw new DiffusionError("BAD_OPTION", `${prefix}${name} must be a multiple of ${factor}, got ${value}`, {
      hint: below > 0 ? `${below} or ${below + factor}` : `${factor}`,
    });
  }
}

function limited(size: Size): Size {
  if (size.width * size.height > MOST_PIXELS)
    throw new DiffusionError("BAD_OPTION", `${size.width}x${size.height} is more than ${MOST_PIXELS} pixels`);
  return size;
}

const upscalers: Record<HiresUpscaler, true> = {
  latent: true,
  "latent-nearest": true,
  "latent-nearest-exact": true,
  "latent-bicubic": true,
  "latent-bilinear-antialiased": true,
  "latent-bicubic-antialiased": true,
  nearest: true,
  box: true,
  bilinear: true,
  hamming: true,
  bicubic: true,
  lanczos: true,
};

function resolvedHires(hires: Hires, base: Size, factor: number): NonNullable<ResolvedOptions["hires"]> {
  const { scale = 2, strength = 0.7, steps, upscaler = "latent" } = hires;
  if (!Object.hasOwn(upscalers, upscaler))
    throw new DiffusionError("BAD_OPTION", `hires.upscaler: there is no ${upscaler}`, {
      hint: `there are ${Object.keys(upscalers).join(", ")}`,
    });
  const scaled = (pixels: number) => Math.max(factor, Math.floor((pixels * scale) / factor) * factor);
  const size = { width: hires.width ?? scaled(base.width), height: hires.height ?? scaled(base.height) };
  checkMultiples(size, factor, "hires.");
  return { ...limited(size), strength, upscaler, ...(steps !== undefined && { steps }) };
}

function promptsOf(options: GenerateOptions, { hasText }: ModelTraits) {
  const { count = 1 } = options;
  const list = (value: string | string[] | undefined) => (Array.isArray(value) ? value : [value]);
  const prompts = hasText ? list(options.prompt).map((prompt) => prompt ?? "") : [""];
  const each = (name: "negativePrompt" | "prompt2" | "negativePrompt2"): (string | undefined)[] => {
    const values = list(options[name]);
    if (values.length !== 1 && values.length !== prompts.length)
      throw new DiffusionError(
        "BAD_OPTION",
        `${name} has ${values.length} entries for ${prompts.length} prompts`,
        { hint: "give one for all, or one for each" },
      );
    return prompts.flatMap((_, i) => Array(count).fill(values.length === 1 ? values[0] : values[i]));
  };
  return {
    prompts: prompts.flatMap((prompt) => Array<string>(count).fill(prompt)),
    negativePrompts: each("negativePrompt"),
    ...(options.prompt2 !== undefined && { prompts2: each("prompt2") as string[] }),
    ...(options.negativePrompt2 !== undefined && { negativePrompts2: each("negativePrompt2") }),
  };
}

function seedsOf(
  { seed, variation }: GenerateOptions,
  count: number,
  drawn: { seed: number; variationSeed: number },
) {
  const first = BigInt(numericSeed(seed ?? drawn.seed));
  const from = (start: bigint, step: bigint) =>
    Array.from({ length: count }, (_, i) => narrowed(start + step * BigInt(i)));
  if (!variation || variation.strength === 0) return { seeds: from(first, 1n) };
  const other = BigInt(numericSeed(variation.seed ?? drawn.variationSeed));
  return { seeds: from(first, 0n), variation: { seeds: from(other, 1n), strength: variation.strength } };
}

function defaultGuidance({ guidanceEmbedding, sees }: ModelTraits): number {
  if (guidanceEmbedding) return 8.5;
  return sees === "lowres" ? 9 : 7.5;
}

function defaultSteps(model: ModelTraits): number {
  if (model.guidanceEmbedding) return 4;
  if (model.sees === "lowres") return model.hasText ? 75 : 100;
  const isDdpm = !model.hasText && model.factor === 1 && model.scheduler._class_name === "DDPMScheduler";
  return isDdpm ? 1000 : 20;
}

function checkLatents(
  { shape, data }: Latents,
  { prompts, width, height }: ResolvedOptions,
  { factor, channels }: ModelTraits,
) {
  const expected = [prompts.length, height / factor, width / factor, channels];
  const product = shape.reduce((a, b) => a * b, 1);
  if (shape.join() !== expected.join() || product !== data.length)
    throw new DiffusionError(
      "BAD_OPTION",
      `latents: expected [${expected.join(", ")}], got [${shape.join(", ")}] with ${data.length} numbers`,
    );
}

function asGiven<K extends keyof GenerateOptions>(options: GenerateOptions, keys: readonly K[]) {
  return Object.fromEntries(
    keys.filter((key) => options[key] !== undefined).map((key) => [key, options[key]]),
  ) as Pick<GenerateOptions, K>;
}

const narrowed = (seed: bigint): number | bigint =>
  seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed;
