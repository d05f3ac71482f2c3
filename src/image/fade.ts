import { checkMask, type Mask } from "./image.js";

/**
 * The mask with a ramp inside its edge: 0 stays 0, and what is painted comes in over `width` pixels, from the
 * outermost white pixel on. Parts thinner than the ramp reach full weight in their middle. Edges of the picture
 * are no edges of the mask; grey levels stay upper limits.
 *
 * @param width in pixels; up to 1 returns the mask as it is
 */
export function fadeIn(mask: Mask, width: number): Mask {
  checkMask(mask);
  if (width <= 1) return mask;
  const depth = depths(mask);
  const deepest = largestAround(depth, mask, Math.ceil(width));
  const data = mask.data.slice();
  for (let i = 0; i < data.length; i++) {
    const share = depth[i]! / Math.min(width, deepest[i]!);
    if (share < 1) data[i] = Math.min(data[i]!, Math.round(255 * share));
  }
  return { ...mask, data };
}

/** Distance of every pixel above 0 to the next pixel that is 0, in pixels, by a chamfer of 1 and sqrt(2). */
export function depths({ width, height, data }: Mask): Float32Array {
  // A frame of unknown pixels around all, so that edges of the picture are no edges of the mask.
  const row = width + 2;
  const framed = new Float32Array(row * (height + 2)).fill(Number.POSITIVE_INFINITY);
  const at = (x: number, y: number): number => (y + 1) * row + x + 1;
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) if (data[i] === 0) framed[at(x, y)] = 0;
  const relax = (i: number, back: 1 | -1): void => {
    const above = i + back * row;
    const straight = Math.min(framed[i + back]!, framed[above]!) + 1;
    const across = Math.min(framed[above - 1]!, framed[above + 1]!) + Math.SQRT2;
    framed[i] = Math.min(framed[i]!, straight, across);
  };
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) relax(at(x, y), -1);
  for (let y = height - 1; y >= 0; y--) for (let x = width - 1; x >= 0; x--) relax(at(x, y), 1);
  const depth = new Float32Array(width * height);
  for (let y = 0; y < height; y++) depth.set(framed.subarray(at(0, y), at(width, y)), y * width);
  return depth;
}

/** The largest depth within a square of `reach` pixels to each side. */
function largestAround(depth: Float32Array, { width, height }: Mask, reach: number): Float32Array {
  const across = new Float32Array(depth.length);
  const out = new Float32Array(depth.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = y * width + x;
      if (depth[from] === 0) continue;
      const last = y * width + Math.min(width - 1, x + reach);
      for (let to = y * width + Math.max(0, x - reach); to <= last; to++)
        if (across[to]! < depth[from]!) across[to] = depth[from]!;
    }
  for (let y = 0; y < height; y++)
    for (let k = Math.max(0, y - reach); k <= Math.min(height - 1, y + reach); k++)
      for (let i = y * width, from = k * width; i < (y + 1) * width; i++, from++)
        if (out[i]! < across[from]!) out[i] = across[from]!;
  return out;
}
