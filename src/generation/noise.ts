import { setImmediate as others } from "node:timers/promises";
import type { Size } from "../image/image.js";
import { fromNchw } from "../latents/latents.js";
import { createRng, type Rng } from "../latents/rng.js";
import { slerp } from "../latents/slerp.js";
import type { WholeOptions } from "../options/resolved.js";

/** Unit noise for [B, h, w, C], in the order in which torch draws it: [B, C, h, w]. */
export const drawNoise = (rng: Rng, [batch, height, width, channels]: readonly number[]): Float32Array =>
  fromNchw(rng.normal([batch!, channels!, height!, width!]), [batch!, height!, width!, channels!]);

/** The same numbers, a piece at a time: others have the thread in between. @throws the signal's reason */
export async function drawNoiseLater(
  rng: Rng,
  [batch, height, width, channels]: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const planes = await patiently(rng, [batch!, channels!, height!, width!], signal);
  return fromNchw(planes, [batch!, height!, width!, channels!]);
}

/**
 * The unit noise that image `index` begins with: the next draw of its generator, turned towards the variation's
 * seed, or drawn for another size and put in the middle; both as the web UI does (`modules/rng.py`).
 *
 * A request may ask for millions of numbers (`seedSize`, a model of pixels): others have the thread in between.
 *
 * @param shape [1, h, w, C]
 * @param factor pixels per latent cell
 * @throws the signal's reason
 */
export async function firstNoise(
  rng: Rng,
  shape: readonly number[],
  options: WholeOptions,
  index: number,
  factor: number,
): Promise<Float32Array> {
  const [, height, width, channels] = shape as [number, number, number, number];
  const { variation, seedSize, seeds, signal } = options;
  const draw = (from: Rng, planes: readonly number[]) => patiently(from, [1, ...planes], signal);
  const own = { height, width };
  const drawnAt = seedSize ? cells(seedSize, factor) : own;
  const planes = [channels, drawnAt.height, drawnAt.width] as const;
  const elsewhere = drawnAt.height !== height || drawnAt.width !== width;
  const source = elsewhere ? createRng(options.rng, seeds[index]!) : rng;
  let noise = await draw(source, planes);
  if (variation) {
    const other = await draw(createRng(options.rng, variation.seeds[index]!), planes);
    noise = slerp(variation.strength, noise, other, planes);
  }
  if (elsewhere) noise = centred(noise, drawnAt, await draw(rng, [channels, height, width]), own);
  return fromNchw(noise, shape);
}

async function patiently(
  rng: Rng,
  shape: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const pieces = rng.normalInPieces(shape);
  for (;;) {
    const { done, value } = pieces.next();
    if (done) return value;
    await others();
    signal?.throwIfAborted();
  }
}

const cells = ({ width, height }: Size, factor: number): Size => ({
  width: Math.max(1, Math.floor(width / factor)),
  height: Math.max(1, Math.floor(height / factor)),
});

/** The middle of `source` laid over the middle of `target`, plane by plane. */
function centred(source: Float32Array, from: Size, target: Float32Array, to: Size): Float32Array {
  const [dx, dy] = [middle(to.width - from.width), middle(to.height - from.height)];
  const [skipX, skipY] = [Math.max(0, -dx), Math.max(0, -dy)];
  const [left, top] = [Math.max(0, dx), Math.max(0, dy)];
  const [width, height] = [from.width - 2 * skipX, from.height - 2 * skipY];
  const out = target.slice();
  const planes = target.length / (to.width * to.height);
  for (let plane = 0; plane < planes; plane++)
    for (let y = 0; y < height && top + y < to.height; y++) {
      const start = (plane * from.height + skipY + y) * from.width + skipX;
      const row = source.subarray(start, start + Math.min(width, to.width - left));
      out.set(row, (plane * to.height + top + y) * to.width + left);
    }
  return out;
}

const middle = (difference: number): number => Math.floor(difference / 2);
