import { DiffusionError } from "../errors.js";
import type { Size } from "../image/image.js";
import { checkMargins } from "../image/outpaint.js";
import { defaultUpscaler, hiresUpscalers, namesNetwork } from "./choices.js";
import type { Hires } from "./image-options.js";
import type { GenerateOptions } from "./options.js";
import { refusal } from "./refusal.js";
import type { Mode, ModelTraits, ResolvedOptions } from "./resolved.js";

const MOST_PIXELS = 2 ** 26; // 8192 x 8192

/**
 * The size generated at; outpainting: the size of the result.
 *
 * @throws DiffusionError BAD_OPTION for sizes that the network does not take
 */
export function sizeOf(options: GenerateOptions, mode: Mode, model: ModelTraits, image?: Size): Size {
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

/** Enlarged by the factor; the image comes down to what the network takes: multiples of 32 pixels, or of the factor. */
function enlarged({ width, height }: Partial<Size>, image: Size, model: ModelTraits): Size {
  const { factor, mostNoise, latentUpscaling } = model;
  const { scale, multiple } = latentUpscaling ?? {
    scale: factor,
    multiple: mostNoise === undefined ? 32 : factor,
  };
  // A filter that mirrors at the edge needs two cells at the lowest resolution.
  const least = latentUpscaling ? 2 * multiple : multiple;
  const from = (pixels: number) => scale * Math.max(least, pixels - (pixels % multiple));
  const size = { width: width ?? from(image.width), height: height ?? from(image.height) };
  checkMultiples(size, scale * multiple, "");
  for (const [name, value] of Object.entries(size))
    if (value < scale * least)
      throw new DiffusionError("BAD_OPTION", `${name} must be at least ${scale * least}, got ${value}`);
  return limited(size);
}

/** A size of the model's own making where none is given, in what the network takes. */
export function checkedSize(given: Partial<Size>, { factor, size }: ModelTraits): Size {
  const { width = size, height = size } = given;
  for (const [name, value] of Object.entries({ width, height }))
    if (!Number.isInteger(value) || value < 1)
      throw new DiffusionError("BAD_OPTION", `${name} must be a whole number above 0, got ${value}`);
  checkMultiples({ width, height }, factor, "");
  return limited({ width, height });
}

function checkMultiples(size: Partial<Size>, factor: number, prefix: string): void {
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

/** The second pass: its size and what was left out. */
export function resolvedHires(
  hires: Hires,
  base: Size,
  factor: number,
): NonNullable<ResolvedOptions["hires"]> {
  const { scale = 2, strength = 0.7, steps, upscaler = "latent" } = hires;
  if (!hiresUpscalers.some((name) => name === upscaler) && !namesNetwork(upscaler))
    throw refusal(
      `hires.upscaler: there is no ${upscaler}`,
      `there are ${hiresUpscalers.join(", ")}, ${defaultUpscaler}, and files of upscalers`,
    );
  const { width, height } = hires;
  checkMultiples({ ...(width && { width }), ...(height && { height }) }, factor, "hires.");
  const asked = width ?? height;
  const cells = (pixels: number) => Math.max(factor, Math.floor(pixels / factor) * factor);
  const size = wholeSize(hires, base);
  limited(coveringSize(base, size));
  return {
    ...limited({ width: cells(size.width), height: cells(size.height) }),
    ...(asked === undefined && { scale }),
    strength,
    upscaler,
    ...(steps !== undefined && { steps }),
  };
}

/** What a second pass says of its size. */
type HiresSize = { readonly [Key in "scale" | "width" | "height"]?: number | undefined };

/** The size that a second pass is asked for, in pixels that the network may not take. */
export function wholeSize({ scale = 2, width, height }: HiresSize, base: Size): Size {
  if (width !== undefined) return { width, height: height ?? Math.floor((width * base.height) / base.width) };
  if (height !== undefined) return { width: Math.floor((height * base.width) / base.height), height };
  return { width: base.width * scale, height: base.height * scale };
}

/**
 * The size at which a picture covers another without leaving its proportions, in pixels of any number
 * (`calculate_target_resolution` of the web UI).
 */
export function coveringSize(picture: Size, { width, height }: Size): Size {
  const byWidth = picture.width / picture.height < width / height;
  return byWidth
    ? { width, height: Math.max(height, Math.floor((width * picture.height) / picture.width)) }
    : { width: Math.max(width, Math.floor((height * picture.width) / picture.height)), height };
}
