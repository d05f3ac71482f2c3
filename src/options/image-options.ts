import { z } from "zod";
import type { Mask } from "../image/image.js";
import type { Margins } from "../image/outpaint.js";
import type { ImageInput } from "../image/read.js";
import type { Latents } from "../latents/latents.js";
import {
  type HiresUpscaler,
  type ImageResizing,
  type MaskBlurSide,
  type MaskedContent,
  maskBlurSides,
  maskedContents,
  resizeModes,
} from "./choices.js";
import type { Descriptions } from "./described.js";
import { given, share, whole } from "./kinds.js";

/**
 * A path or the URL of a file, encoded bytes (PNG, JPEG, WebP, GIF, TIFF, AVIF) as an array, a buffer or a Blob, or
 * pixels, of a browser's ImageData too. EXIF orientation is applied, transparency laid over white.
 */
export type { ImageInput };
/** White (255) or transparent = repaint; grey is repainted from one half on, and put back in proportion. */
export type MaskInput = ImageInput | Mask;

/** A second pass at a larger size over the result of the first ("hires fix"). */
export interface Hires {
  /**
   * Default 2. In its place `width`, `height`, or both: one of them keeps the proportions; what is more than both is cut
   * off at both sides alike.
   */
  readonly scale?: number;
  readonly width?: number;
  readonly height?: number;
  /** As in image to image, default 0.7. */
  readonly strength?: number;
  /** The second pass runs exactly so many. Default: `strength` of the steps. */
  readonly steps?: number;
  /**
   * Default "latent". Or a network that enlarges what the first pass has made: "emoji-x4-compact", or the file or hub
   * name of an ESRGAN or SRVGGNetCompact.
   */
  readonly upscaler?: HiresUpscaler | (string & {});
}

/** In pixels of the image that is enlarged. */
export interface Tiles {
  readonly size?: number;
  /** What neighbours share at least, default 16. */
  readonly overlap?: number;
}

/** A picture to start from, what to repaint of it, and what to enlarge. */
export interface ImageOptions {
  /**
   * Image to image: where to start from. In its place latents as a result has them, [1, h, w, channels]: the model's own,
   * or for latent upscalers those of the model whose pictures they enlarge.
   */
  image?: ImageInput | Latents;
  /**
   * 0 to 1: the share of the steps that are run on `image`; at 0 it comes back as it is. Default 0.8; with a mask 1 (pure noise);
   * with `expand` 0.7, so that what stands at the edge goes on, or 0.85 for models that do not see the mask.
   */
  strength?: number;
  /** Runs all `steps` on the image, on a schedule of steps / strength (a setting of the web UI). Default false. */
  exactSteps?: boolean;
  /** How `image` and `mask` are brought to width and height. Default "stretch". */
  resizeMode?: ImageResizing;
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
  /**
   * "both": the web UI's blur, a Gaussian of `maskBlur` pixels (`maskBlurY` of the columns) across the mask's edge, which
   * also says what is repainted; pixels farther outside stay to the bit, and colours stay as the model makes them. So an
   * object that is masked tightly leaves no rim. Default "inside".
   */
  maskBlurSide?: MaskBlurSide;
  maskBlurY?: number;
  /**
   * Grey in the mask says from which share of the steps on a pixel may change, white from the first and black never
   * (differential diffusion, Levin and Fried 2023), in place of one border between kept and repainted. For models that do
   * not see the mask. Default false.
   */
  softMask?: boolean;
  /** What the masked part starts as, at a strength below 1. Default "original". */
  maskedContent?: MaskedContent;
  /** Works on the mask's surroundings only, at width x height (default: the model's own). Default padding 32. */
  onlyMasked?: boolean | { readonly padding: number };
  /** Outpainting: pixels to add on each side. */
  expand?: Partial<Margins>;
  /** Outpainting: most pixels that one pass adds to a side. Default: half the model's own size. */
  expandStep?: number;
  /** Outpainting: strength of a second pass along the seams, default 0 (none). */
  seamStrength?: number;
  hires?: Hires;
  /** Upscalers: noise laid over the image, 0 to 350, default 20; with more the model invents more. */
  noiseLevel?: number;
  /** Upscalers: tiles of the image in which large ones are worked on. Default: as large as memory allows. */
  tiles?: Tiles;
}

export const imageOptions = {
  image: { schema: given<ImageInput | Latents>(), not: ["unconditional"] },
  strength: {
    schema: share,
    about: "0 to 1: how far to leave the image (default: 0.8, with a mask 1)",
    ...{ needs: ["image"], not: ["instruct", "upscale"], flag: "<share>", served: true, axis: true },
  },
  exactSteps: {
    schema: z.boolean(),
    about: "runs all steps on the image, whatever the strength",
    ...{ kept: true, needs: ["image"], not: ["instruct", "upscale"], flag: "", served: true },
  },
  resizeMode: {
    schema: z.enum(resizeModes),
    about: "how the image is brought to the size (default: stretch)",
    ...{ needs: ["image"], not: ["upscale"], flag: "<mode>", served: true, axis: true },
  },
  mask: { schema: given<MaskInput>(), needs: ["image"], not: ["unconditional", "instruct", "upscale"] },
  maskInvert: {
    schema: z.boolean(),
    about: "repaints the rest instead",
    ...{ needs: ["mask"], flag: "", served: true },
  },
  maskBlur: {
    schema: z.number().min(0).max(1024),
    about: "softens the mask's edge, in pixels (default: 4)",
    ...{ needs: ["mask", "expand"], flag: "<pixels>", axis: true },
  },
  maskBlurSide: {
    schema: z.enum(maskBlurSides),
    about: "where the painted part fades: inside the mask (default), or on both sides of its edge",
    ...{ needs: ["mask"], flag: "<side>", served: true },
  },
  maskBlurY: {
    schema: z.number().min(0).max(512),
    about: "the blur of the columns, where it is not that of the rows",
    ...{ needs: ["maskBlurSide"], flag: "<pixels>", served: true },
  },
  softMask: {
    schema: z.boolean(),
    about: "grey in the mask says from which step on a pixel may change",
    ...{ kept: true, fallback: false, needs: ["mask"], flag: "", served: true, label: "Soft mask" },
  },
  maskedContent: {
    schema: z.enum(maskedContents),
    about: "what the masked part starts as (default: the image itself)",
    ...{ needs: ["mask", "expand"], flag: "<kind>", served: true, axis: true },
  },
  onlyMasked: {
    schema: z.union([z.boolean(), z.strictObject({ padding: whole.min(0) })]),
    about: "works only on the mask's surroundings, at full size",
    needs: ["mask"],
  },
  expand: {
    schema: given<Partial<Margins>>(),
    about: "outpainting: pixels to add on each side",
    ...{ needs: ["image"], not: ["unconditional", "instruct", "upscale"] },
  },
  expandStep: {
    schema: whole.min(8),
    about: "most pixels that one pass adds to a side (default: half the model's size)",
    ...{ needs: ["expand"], flag: "<pixels>" },
  },
  seamStrength: {
    schema: share,
    about: "strength of a second pass along the seams (default: 0, none)",
    ...{ needs: ["expand"], flag: "<share>", served: true, axis: true },
  },
  hires: {
    schema: z.strictObject({
      scale: z.number().positive().max(16).optional(),
      width: whole.min(1).optional(),
      height: whole.min(1).optional(),
      strength: share.optional(),
      steps: whole.min(1).optional(),
      upscaler: z.string().optional(),
    } satisfies Record<keyof Hires, z.ZodType>),
    about: "a second pass at a larger size",
    not: ["unconditional", "upscale"],
  },
  noiseLevel: {
    schema: whole.min(0),
    about: "upscalers: the more, the more is invented (default: 20)",
    ...{ only: "upscale", flag: "<n>" },
  },
  tiles: {
    schema: z.strictObject({ size: whole.min(8).optional(), overlap: whole.min(0).optional() }),
    only: "upscale",
  },
} as const satisfies Descriptions<ImageOptions>;
