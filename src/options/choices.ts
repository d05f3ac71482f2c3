import type { ResampleFilter, ResizeMode } from "../image/resize.js";
import type { RngName } from "../latents/rng.js";
import type { InterpolationMode } from "../latents/upscale.js";
import type { Emphasis } from "../text/emphasis.js";
import type { PromptSyntax } from "../text/prompt.js";

/*
 * The words that options take. Checks, the command line, the server and the page read these lists, and spell none of
 * them; nothing but types is imported, so that the page can.
 */

/** The words of a type in the order given; one that is missing or unknown does not compile. */
const all = <Word extends string>(words: Record<Word, true>): readonly [Word, ...Word[]] =>
  Object.keys(words) as [Word, ...Word[]];

/** The default stands first in each list. */
export const promptSyntaxes = all<PromptSyntax>({ plain: true, a1111: true, compel: true });

/** With the web UI's names of them. */
export const emphasisLabels: Readonly<Record<Emphasis, string>> = {
  ...{ original: "Original", "no-norm": "No norm" },
  ...{ ignore: "Ignore", none: "None" },
};
export const emphases = Object.keys(emphasisLabels) as [Emphasis, ...Emphasis[]];

export const rngNames = all<RngName>({ torch: true, philox: true, seedrandom: true });

export const resizeModes = all<ResizeMode | "latent">({
  ...{ stretch: true, crop: true, fill: true },
  latent: true,
});
/** "latent" brings the picture's latents to the size, and its pixels not at all. */
export type ImageResizing = (typeof resizeModes)[number];

export const maskBlurSides = ["inside", "both"] as const;
/** Where the painted part fades: within the mask, so that no kept pixel changes, or on both sides of its edge. */
export type MaskBlurSide = (typeof maskBlurSides)[number];

export const maskedContents = ["original", "fill", "noise", "nothing"] as const;
/** What a masked part starts as: the image itself, its colours blurred, noise, or zeros. */
export type MaskedContent = (typeof maskedContents)[number];

/** Where none is given: the share of the steps that are run on a picture. Outpainting goes on with what stands at the edge. */
export const usualStrengths = {
  ...{ image: 0.8, refiner: 0.3, inpaint: 1 },
  ...{ outpaint: 0.7, outpaintWithoutMask: 0.85 },
} as const;

export const outputs = ["image", "latents"] as const;
export type Output = (typeof outputs)[number];

/** The network that enlarges pictures where none is named. */
export const defaultUpscaler = "emoji-x4-compact";

/** Whether a name is that of a network that enlarges: the included one, or a file or hub name; if it is there shows later. */
export const namesNetwork = (upscaler: string): boolean =>
  upscaler === defaultUpscaler || /[/\\]|\.(pth|pt|safetensors)$/.test(upscaler);

/** "latent" works on the latents (bilinear, or as named), the others on pixels between a decoding and an encoding. */
export type HiresUpscaler = "latent" | `latent-${Exclude<InterpolationMode, "bilinear">}` | ResampleFilter;

export const hiresUpscalers = all<HiresUpscaler>({
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
});

export const precisions = ["fp32", "fp16", "bf16"] as const;
/** Of weights and arithmetic; README says what each costs and gives. */
export type Precision = (typeof precisions)[number];

export const runtimes = ["graph", "eager"] as const;
export type RuntimeName = (typeof runtimes)[number];

export const predictions = ["epsilon", "v_prediction"] as const;
/** What a UNet predicts: the noise, or the "velocity" between noise and image. */
export type Prediction = (typeof predictions)[number];
