import { DiffusionError } from "../errors.js";
import { flatten } from "./convert.js";
import { gaussianBlur } from "./filters.js";
import {
  channelsOf,
  checkMask,
  checkSameSize,
  checkSize,
  type Image,
  type Mask,
  paste,
  type Region,
  type Size,
} from "./image.js";
import { divide255, unpremultiply } from "./premultiply.js";
import { fitImage } from "./resize.js";

/** Pillow's `alpha_composite` of one RGBA picture over another, in integers with 7 bits more than the result. */
function alphaComposite(under: Uint8Array, over: Uint8Array): Uint8Array {
  const out = under.slice();
  for (let i = 0; i < out.length; i += 4) {
    const [alpha, alphaUnder] = [over[i + 3]!, under[i + 3]!];
    if (alpha === 0) continue;
    const alphaOut = alpha * 255 + alphaUnder * (255 - alpha);
    const weight = Math.trunc((alpha * 255 * 255 * 128) / alphaOut);
    for (let c = 0; c < 3; c++) {
      const sum = over[i + c]! * weight + under[i + c]! * (255 * 128 - weight) + (128 << 7);
      out[i + c] = (((sum >> 8) + sum) >> 8) >> 7;
    }
    out[i + 3] = divide255(alphaOut);
  }
  return out;
}

const withAlpha = ({ data, width, height }: Image): Uint8Array => {
  const rgba = new Uint8Array(width * height * 4).fill(255);
  for (let i = 0, at = 0; i < rgba.length; i += 4, at += 3)
    for (let c = 0; c < 3; c++) rgba[i + c] = data[at + c]!;
  return rgba;
};

/** The kept part of a picture as premultiplied RGBA: every byte times 255 - mask. */
function keptPart(image: Image, mask: Mask): Uint8Array {
  const rgba = withAlpha(image);
  for (let i = 0; i < rgba.length; i++) rgba[i] = divide255(rgba[i]! * (255 - mask.data[i >> 2]!));
  return rgba;
}

/** RGB for compositing; an alpha channel would need a rule, so it has to be gone before. */
function rgbOf(image: Image, what: string): Image {
  const channels = channelsOf(image);
  if (channels === 4)
    throw new DiffusionError("BAD_IMAGE", `${what} must be RGB, got RGBA`, {
      hint: "Call flatten on it first.",
    });
  return channels === 3 ? image : flatten(image, "drop");
}

/**
 * The result of inpainting: the original everywhere, the generated picture where the mask says so, mixed where
 * the mask is soft. Pixels where the mask is 0 come back bit-identical. Both are RGB (or grey); the mask has the
 * original's size. `region` says which part of the original was generated ("only masked"): the generated picture
 * is scaled to it; without it the sizes must agree.
 *
 * Arithmetic: diffusers' `VaeImageProcessor.apply_overlay` on Pillow, to the bit.
 */
export function applyOverlay(original: Image, generated: Image, mask: Mask, region?: Region): Image {
  checkMask(mask);
  checkSameSize(original, mask, "the original and the mask");
  const { width, height } = original;
  const base = rgbOf(original, "the original");
  let under = rgbOf(generated, "the generated picture");
  if (region) {
    const size = { width: region.right - region.left, height: region.bottom - region.top };
    const blank = { width, height, data: new Uint8Array(width * height * 3) };
    under = paste(blank, fitImage(under, size, "crop"), region.left, region.top);
  }
  checkSameSize(original, under, "the original and the generated picture");
  const data = alphaComposite(withAlpha(under), unpremultiply(keptPart(base, mask)));
  return flatten({ width, height, data }, "drop");
}

/** The web UI's passes from coarse to fine: standard deviation in pixels, and how often the result is laid over. */
const fillPasses = [
  [256, 1],
  [64, 1],
  [16, 2],
  [4, 4],
  [2, 2],
  [0, 1],
] as const;

/**
 * Masked content "fill": the masked part gets the colours of its surroundings, by laying ever finer blurs of the
 * kept part over each other (the web UI's `masking.fill`). RGB in, RGB out; a mask of 255 everywhere gives black.
 */
export function fillMasked(image: Image, mask: Mask): Image {
  checkMask(mask);
  checkSameSize(image, mask, "the image and the mask");
  const { width, height } = image;
  const kept: Image = { width, height, data: keptPart(rgbOf(image, "the image"), mask) };
  let data: Uint8Array = new Uint8Array(width * height * 4);
  for (const [radius, repeats] of fillPasses) {
    const blurred = unpremultiply(gaussianBlur(kept, radius).data);
    for (let i = 0; i < repeats; i++) data = alphaComposite(data, blurred);
  }
  return flatten({ width, height, data }, "drop");
}

/** The smallest rectangle around everything in the mask that is not 0, or undefined for an empty mask. */
export function boundingBox(mask: Mask): Region | undefined {
  checkMask(mask);
  const { width, height, data } = mask;
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      if (data[i] === 0) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
    }
  return right === 0 ? undefined : { left, top, right, bottom };
}

/**
 * The part of the picture to work on when only the masked part is repainted: the mask's bounding box, `padding`
 * pixels more on each side, then grown to the aspect ratio of the size it will be generated at, as far as the
 * image reaches. Web UI and diffusers agree on it. Throws for an empty mask.
 */
export function cropRegion(mask: Mask, target: Size, padding = 0): Region {
  checkSize(target, "the size to generate at");
  if (!Number.isSafeInteger(padding) || padding < 0)
    throw new DiffusionError("BAD_OPTION", `padding must be a whole number of at least 0, got ${padding}`);
  const box = boundingBox(mask);
  if (!box)
    throw new DiffusionError("BAD_OPTION", "the mask is empty: there is nothing to repaint", {
      hint: "White (255) or transparent pixels are repainted; invert the mask if it is the other way round.",
    });
  const left = Math.max(box.left - padding, 0);
  const top = Math.max(box.top - padding, 0);
  const right = Math.min(box.right + padding, mask.width);
  const bottom = Math.min(box.bottom + padding, mask.height);
  const aspect = target.width / target.height;
  const [width, height] = [right - left, bottom - top];
  if (width / height > aspect) {
    const [from, to] = grow(top, bottom, Math.trunc(width / aspect - height), mask.height);
    return { left, top: from, right, bottom: to };
  }
  const [from, to] = grow(left, right, Math.trunc(height * aspect - width), mask.width);
  return { left: from, top, right: to, bottom };
}

/** [from, to) longer by `by` on both sides together, moved so that it lies in 0..limit, and cut there. */
function grow(from: number, to: number, by: number, limit: number): [number, number] {
  const before = Math.floor(by / 2);
  const start = Math.max(0, Math.min(from - before, limit - (to - from + by)));
  return [start, Math.min(limit, start + to - from + by)];
}
