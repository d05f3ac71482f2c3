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
  const data = mask.data.map((level, i) => {
    if (level === 0) return 0;
    const share = depth[i]! / Math.min(width, deepest[i]!);
    return Math.min(level, Math.round(255 * Math.min(1, share)));
  });
  return { ...mask, data };
}

/** Distance of every pixel above 0 to the next pixel that is 0, in pixels, by a chamfer of 1 and sqrt(2). */
export function depths({ width, height, data }: Mask): Float32Array {
  const depth = Float32Array.from(data, (level) => (level === 0 ? 0 : Number.POSITIVE_INFINITY));
  const relax = (x: number, y: number, side: 1 | -1) => {
    const i = y * width + x;
    const near = (dx: number, dy: number, cost: number) => {
      const [nx, ny] = [x + dx, y + dy];
      if (nx < 0 || nx >= width || ny < 0 || ny >= height) return;
      depth[i] = Math.min(depth[i]!, depth[ny * width + nx]! + cost);
    };
    near(side, 0, 1);
    near(0, side, 1);
    near(1, side, Math.SQRT2);
    near(-1, side, Math.SQRT2);
  };
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) relax(x, y, -1);
  for (let y = height - 1; y >= 0; y--) for (let x = width - 1; x >= 0; x--) relax(x, y, 1);
  return depth;
}

/** The largest depth within a square of `reach` pixels to each side. */
function largestAround(depth: Float32Array, { width, height }: Mask, reach: number): Float32Array {
  const across = new Float32Array(depth.length);
  const out = new Float32Array(depth.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let k = Math.max(0, x - reach); k <= Math.min(width - 1, x + reach); k++)
        across[y * width + x] = Math.max(across[y * width + x]!, depth[y * width + k]!);
  for (let y = 0; y < height; y++)
    for (let k = Math.max(0, y - reach); k <= Math.min(height - 1, y + reach); k++)
      for (let x = 0; x < width; x++)
        out[y * width + x] = Math.max(out[y * width + x]!, across[k * width + x]!);
  return out;
}
