import { DiffusionError } from "../errors.js";
import { type Image, readImage } from "../index.js";

/** A rectangle in pixels. */
export interface MaskArea {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * A mask of the size of a picture in which a rectangle is white, in place of a file.
 *
 * @throws DiffusionError BAD_OPTION for one that lies outside of the picture
 */
export async function maskOf({ left, top, width, height }: MaskArea, picture: string): Promise<Image> {
  const whole = await readImage(picture);
  if (left + width > whole.width || top + height > whole.height)
    throw new DiffusionError(
      "BAD_OPTION",
      `--mask-area ${[left, top, width, height]} reaches beyond ${picture}, which is ${whole.width}x${whole.height}`,
    );
  const data = new Uint8Array(3 * whole.width * whole.height);
  for (let y = top; y < top + height; y++) {
    const start = 3 * (y * whole.width + left);
    data.fill(255, start, start + 3 * width);
  }
  return { width: whole.width, height: whole.height, data };
}
