import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { roundHalfToEven } from "./filters.js";
import { channelsOf, checkSameSize, type Image } from "./image.js";
import { divide255 } from "./premultiply.js";

const f = Math.fround;

/** level / 255 * 2 - 1, each operation in single precision. */
const signed = Float32Array.from({ length: 256 }, (_, level) => f(2 * f(level / 255)) - 1);

/**
 * Images of one size as the networks take them: [B, H, W, 3] in [-1, 1]. Grey is repeated over the channels;
 * of RGBA the colours are taken and the alpha is ignored (see `flatten`).
 */
export function imagesToValues(images: readonly Image[]): Values {
  const first = images[0];
  if (!first) throw new DiffusionError("BAD_IMAGE", "expected at least one image, got none");
  const { width, height } = first;
  const data = new Float32Array(images.length * height * width * 3);
  let to = 0;
  for (const image of images) {
    checkSameSize(first, image, "the images of a batch");
    const channels = channelsOf(image);
    for (let from = 0; from < image.data.length; from += channels)
      for (let c = 0; c < 3; c++) data[to++] = signed[image.data[channels === 1 ? from : from + c]!]!;
  }
  return { shape: [images.length, height, width, 3], data };
}

/**
 * What a VAE decodes ([B, H, W, 3] or [B, H, W, 1] in [-1, 1]) as images of bytes: x / 2 + 0.5, cut to [0, 1],
 * times 255, halves rounded to even. Throws when a value is not a number.
 */
export function valuesToImages(values: Values): Image[] {
  const [batch, height, width, channels] = values.shape;
  if (values.shape.length !== 4 || !batch || !height || !width || (channels !== 3 && channels !== 1))
    throw new DiffusionError(
      "BAD_IMAGE",
      `expected pictures as [B, H, W, 3], got [${values.shape.join(", ")}]`,
    );
  const bytes = new Uint8Array(values.data.length);
  for (let i = 0; i < bytes.length; i++) {
    const v = values.data[i]!;
    if (Number.isNaN(v))
      throw new DiffusionError("UNSUPPORTED", `the decoded picture is not a number at element ${i}`, {
        hint: 'The network has overflowed; try precision: "fp32", a lower guidance or another scheduler.',
      });
    bytes[i] = roundHalfToEven(f(Math.min(1, Math.max(0, f(f(v / 2) + 0.5))) * 255));
  }
  const each = height * width * channels;
  return Array.from({ length: batch }, (_, b) => ({
    width,
    height,
    data: bytes.slice(b * each, (b + 1) * each),
  }));
}

/** Whether any pixel of an RGBA image is not fully opaque. */
export function hasTransparency(image: Image): boolean {
  if (channelsOf(image) !== 4) return false;
  for (let i = 3; i < image.data.length; i += 4) if (image.data[i] !== 255) return true;
  return false;
}

/**
 * RGB without alpha: laid over a background (default white, as in the web UI), or with "drop" just the colours,
 * also those of transparent pixels (as diffusers' load_image). Grey is repeated.
 */
export function flatten(
  image: Image,
  background: readonly [number, number, number] | "drop" = [255, 255, 255],
): Image {
  const channels = channelsOf(image);
  const { width, height, data: from } = image;
  const under = background === "drop" ? [0, 0, 0] : background;
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; i < data.length; i += 3, at += channels) {
    const alpha = channels === 4 && background !== "drop" ? from[at + 3]! : 255;
    for (let c = 0; c < 3; c++)
      data[i + c] = divide255(from[channels === 1 ? at : at + c]! * alpha + under[c]! * (255 - alpha));
  }
  return { width, height, data };
}
