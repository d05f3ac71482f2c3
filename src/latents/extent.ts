import { DiffusionError } from "../errors.js";

/** Width and height in pixels (or latent cells, where said so). */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A rectangle in pixels (or latent cells); `right` and `bottom` are the first column and row outside it. */
export interface Region {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** Throws unless both sides are whole numbers of at least 1. */
export function checkSize(
  { width, height }: Size,
  what: string,
  code: "BAD_IMAGE" | "BAD_OPTION" = "BAD_OPTION",
): void {
  for (const [side, value] of Object.entries({ width, height }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new DiffusionError(
        code,
        `the ${side} of ${what} must be a whole number of at least 1, got ${value}`,
      );
}

/** The index inside 0..length-1 that `i` lands on when the line is mirrored at its ends, edges not repeated. */
export function mirror(i: number, length: number): number {
  if (i >= 0 && i < length) return i;
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const at = ((i % period) + period) % period;
  return at < length ? at : period - at;
}
