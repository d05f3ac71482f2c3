import { crop, type Image, paste, type Region, type Size } from "../image/image.js";
import { resize } from "../image/resize.js";
import type { Previewer } from "./previews.js";

/** A part of the canvas that is being painted. */
export interface PaintedPart {
  /** Of the picture that the network paints. */
  readonly size: Size;
  /** What of it goes into the result. */
  readonly crop: Region;
  /** Lays it over the picture by now, which has grown with it. */
  readonly join: (part: Image) => Image;
  /** Where that picture will stand in the result, and how large the result will be. */
  readonly left: number;
  readonly top: number;
  readonly whole: Size;
}

/** Shows a part where it belongs: in the whole canvas, grey where nothing is yet. As small as what it is made from. */
export function previewInPlace(preview: Previewer, part: PaintedPart): Previewer {
  const { width, height } = part.whole;
  const canvas = { width, height, data: new Uint8Array(width * height * 3).fill(128) };
  return async (latents) =>
    (await preview(latents)).map((small) => {
      const painted = crop(resize(small, part.size, "nearest"), part.crop);
      const scale = small.width / part.size.width;
      const size = { width: scaled(width, scale), height: scaled(height, scale) };
      return resize(paste(canvas, part.join(painted), part.left, part.top), size, "bilinear");
    });
}

const scaled = (length: number, scale: number): number => Math.max(1, Math.round(length * scale));
