import { DiffusionError } from "../errors.js";
import { checkSize, mirror, type Region, type Size } from "../latents/extent.js";

export { checkSize, type Region, type Size };

/** Pixels in row order: RGB, or RGBA when `data` is width * height * 4 long. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** One byte a pixel in row order: a grey picture, or a mask in which 255 = repaint and 0 = keep. */
export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Bytes per pixel: 1 (grey or mask), 3 (RGB) or 4 (RGBA). Throws BAD_IMAGE when the data do not fit the size. */
export function channelsOf({ width, height, data }: Image | Mask): 1 | 3 | 4 {
  checkSize({ width, height }, "an image", "BAD_IMAGE");
  const channels = data.length / (width * height);
  if (channels === 1 || channels === 3 || channels === 4) return channels;
  throw new DiffusionError(
    "BAD_IMAGE",
    `an image of ${width}x${height} needs ${width * height} bytes times 1 (grey), 3 (RGB) or 4 (RGBA), got ${data.length}`,
  );
}

/** Throws unless it has one byte a pixel. */
export function checkMask(mask: Image | Mask): asserts mask is Mask {
  if (channelsOf(mask) !== 1)
    throw new DiffusionError("BAD_IMAGE", `a mask has one byte a pixel, got ${channelsOf(mask)}`, {
      hint: "Call maskFromImage on it first.",
    });
}

/** Throws unless the two have the same width and height; `what` names them for the message. */
export function checkSameSize(a: Size, b: Size, what: string): void {
  if (a.width !== b.width || a.height !== b.height)
    throw new DiffusionError(
      "BAD_IMAGE",
      `${what} must have the same size, got ${a.width}x${a.height} and ${b.width}x${b.height}`,
      { hint: "Resize one of them first (fitImage, resize)." },
    );
}

/** The pixels inside `region`, which must lie inside the image. */
export function crop(image: Image, region: Region): Image {
  const channels = channelsOf(image);
  const { left, top, right, bottom } = region;
  const size = { width: right - left, height: bottom - top };
  checkSize(size, "a crop region");
  if (
    ![left, top].every(Number.isInteger) ||
    left < 0 ||
    top < 0 ||
    right > image.width ||
    bottom > image.height
  )
    throw new DiffusionError(
      "BAD_OPTION",
      `the region ${left},${top} to ${right},${bottom} must lie inside the image of ${image.width}x${image.height}`,
    );
  const data = new Uint8Array(size.width * size.height * channels);
  for (let y = 0; y < size.height; y++) {
    const start = ((y + top) * image.width + left) * channels;
    data.set(image.data.subarray(start, start + size.width * channels), y * size.width * channels);
  }
  return { ...size, data };
}

/** The pixels inside `region`; where it hangs over the image, that is continued by mirroring. */
export function cropContinued<T extends Image | Mask>(image: T, { left, top, right, bottom }: Region): T {
  const [width, height] = [right - left, bottom - top];
  if (left === 0 && top === 0 && image.width === width && image.height === height) return image;
  const channels = channelsOf(image);
  const data = new Uint8Array(width * height * channels);
  for (let y = top, to = 0; y < bottom; y++)
    for (let x = left; x < right; x++) {
      const from = (mirror(y, image.height) * image.width + mirror(x, image.width)) * channels;
      for (let c = 0; c < channels; c++) data[to++] = image.data[from + c]!;
    }
  return { ...image, width, height, data };
}

/** `image` with `patch` laid over it at (left, top); what hangs over the edge is cut off. Same channels in both. */
export function paste(image: Image, patch: Image, left: number, top: number): Image {
  const channels = channelsOf(image);
  if (channelsOf(patch) !== channels)
    throw new DiffusionError("BAD_IMAGE", `cannot paste ${channelsOf(patch)} channels into ${channels}`);
  const data = image.data.slice();
  const [x0, x1] = [Math.max(0, left), Math.min(image.width, left + patch.width)];
  if (x0 >= x1) return { ...image, data };
  for (let y = Math.max(0, top); y < Math.min(image.height, top + patch.height); y++) {
    const row = (y - top) * patch.width - left;
    data.set(
      patch.data.subarray((row + x0) * channels, (row + x1) * channels),
      (y * image.width + x0) * channels,
    );
  }
  return { ...image, data };
}
