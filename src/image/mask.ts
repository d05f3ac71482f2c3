import { DiffusionError } from "../errors.js";
import { axesOf } from "../latents/channels.js";
import type { Values } from "../latents/latents.js";
import { resizeValues } from "../latents/upscale.js";
import { hasTransparency } from "./convert.js";
import { binarise, blurMask, grayscale, invert } from "./filters.js";
import { checkMask, checkSize, type Image, type Mask, type Size } from "./image.js";
import { fitImage, type ResizeMode, resize } from "./resize.js";

/** How a picture says what to repaint. */
export interface MaskReading {
  /** Which end of a real alpha channel is repainted: "transparent" (default), or "opaque" as in the web UI. */
  readonly alpha?: "transparent" | "opaque";
  /** Swaps repaint and keep. */
  readonly invert?: boolean;
}

/**
 * A mask (255 = repaint) from any picture: from its alpha if that is not fully opaque, else from its luminance
 * (white = repaint). Soft edges stay soft.
 */
export function maskFromImage(
  image: Image,
  { alpha = "transparent", invert: swap = false }: MaskReading = {},
): Mask {
  const mask = hasTransparency(image) ? alphaOf(image, alpha === "transparent") : grayscale(image);
  return swap ? invert(mask) : mask;
}

function alphaOf({ width, height, data }: Image, inverted: boolean): Mask {
  const levels = new Uint8Array(width * height);
  for (let i = 0; i < levels.length; i++) levels[i] = inverted ? 255 - data[i * 4 + 3]! : data[i * 4 + 3]!;
  return { width, height, data: levels };
}

/** The picture brought to the size that is generated at and turned into a hard mask (0 or 255), in diffusers' order. */
export function prepareMask(
  image: Image,
  size: Size,
  reading: MaskReading & { mode?: ResizeMode } = {},
): Mask {
  return binarise(maskFromImage(fitImage(image, size, reading.mode), reading));
}

/**
 * A soft mask whose white part stays white and falls off outside of it: the web UI's blur, doubled and cut at
 * 255. Only for compositing; the latents need the hard mask of everything above 0.
 */
export const feather = (mask: Mask, sigma: number): Mask => doubled(blurMask(mask, sigma));

/** Twice each level, cut at 255. */
export const doubled = (mask: Mask): Mask => ({ ...mask, data: mask.data.map((v) => Math.min(255, 2 * v)) });

/** The hard mask as numbers: [1, H, W, 1], 1 where the mask is at least one half. */
export function maskValues({ width, height, data: levels }: Mask): Values {
  const data = new Float32Array(levels.length);
  for (let i = 0; i < data.length; i++) data[i] = levels[i]! >= 128 ? 1 : 0;
  return { shape: [1, height, width, 1], data };
}

/**
 * How the pixels of a latent cell decide about it:
 * - nearest: the cell's first pixel, at half or above (diffusers: torch's nearest interpolation of the hard mask)
 * - round: a bicubic reduction, rounded (web UI)
 * - soft: the same reduction, unrounded (web UI without "mask round")
 * - touch: any pixel above 0 (nothing that is to be repainted is held back; for outpainting)
 */
export type LatentMaskRule = "nearest" | "round" | "soft" | "touch";

/** A mask at the size of the latents: [1, height, width, 1], 1 = repaint, 0 = keep. */
export function latentMask(mask: Mask, { width, height }: Size, rule: LatentMaskRule = "nearest"): Values {
  checkMask(mask);
  checkSize({ width, height }, "the latent mask");
  return { shape: [1, height, width, 1], data: reduceMask(mask, { width, height }, rule) };
}

function reduceMask(mask: Mask, size: Size, rule: LatentMaskRule): Float32Array {
  if (rule === "round" || rule === "soft") {
    const small = resize(mask, size, "bicubic").data;
    return Float32Array.from(small, (v) => (rule === "soft" ? v / 255 : Number(v >= 128)));
  }
  if (rule === "nearest") return resizeValues(maskValues(mask), size, "nearest").data;
  const data = new Float32Array(size.width * size.height);
  const cell = { width: mask.width / size.width, height: mask.height / size.height };
  for (let y = 0, i = 0; y < size.height; y++)
    for (let x = 0; x < size.width; x++, i++) {
      const [left, top] = [Math.floor(x * cell.width), Math.floor(y * cell.height)];
      const right = Math.max(left + 1, Math.ceil((x + 1) * cell.width));
      const bottom = Math.max(top + 1, Math.ceil((y + 1) * cell.height));
      data[i] = Number(anyAbove0(mask, left, top, right, bottom));
    }
  return data;
}

function anyAbove0(mask: Mask, left: number, top: number, right: number, bottom: number): boolean {
  for (let y = top; y < Math.min(bottom, mask.height); y++)
    for (let x = left; x < Math.min(right, mask.width); x++)
      if (mask.data[y * mask.width + x]! > 0) return true;
  return false;
}

/** The picture an inpainting model is shown: [B, H, W, 3] with 0 (mid grey) wherever the mask is at least one half. */
export function maskedImage(image: Values, mask: Mask): Values {
  const { height, width, channels } = axesOf(image);
  if (height !== mask.height || width !== mask.width)
    throw new DiffusionError(
      "BAD_IMAGE",
      `the mask must have the image's size ${width}x${height}, got ${mask.width}x${mask.height}`,
    );
  const data = image.data.slice();
  const pixels = mask.data.length;
  for (let i = 0; i < data.length / channels; i++)
    if (mask.data[i % pixels]! >= 128) data.fill(0, i * channels, (i + 1) * channels);
  return { shape: image.shape, data };
}
