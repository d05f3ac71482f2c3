import { imagesToValues } from "../image/convert.js";
import type { Image, Size } from "../image/image.js";
import { resize } from "../image/resize.js";
import type { Values } from "../latents/latents.js";
import type { Rng } from "../latents/rng.js";
import { createTileBlend, cutTile, planTiles, type TilePlan } from "../latents/tiles.js";
import type { Upscaling } from "../options/resolved.js";
import type { Model } from "../runtime/model.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import { createScheduler } from "../schedulers/scheduler.js";
import type { Predict } from "./denoise.js";
import type { Generation } from "./generation.js";
import { drawNoiseLater } from "./noise.js";
import { type PrepareStart, pureNoise } from "./starts.js";

/**
 * Upscaling: from noise, beside the picture that is enlarged, which is as large as the latents. Stable Diffusion's
 * upscaler sees it through noise of a level that it is told. Draws: that noise, then the latents.
 *
 * @param size of the result
 */
export function fromLowRes(generation: Generation, image: Image, size: Size): PrepareStart {
  const { model } = generation.loaded;
  const { filter } = generation.options.upscaling!;
  const cells = { width: size.width / model.factor, height: size.height / model.factor };
  const clean = imagesToValues([resize(image, cells, filter)]);
  return async (run) => {
    const beside = await noised(generation, clean, run.rng);
    return { sample: await pureNoise(generation, size, run), beside };
  };
}

async function noised({ loaded, options }: Generation, clean: Values, rng: Rng): Promise<Values> {
  const { noiseLevel } = options.upscaling!;
  if (noiseLevel === undefined) return clean;
  const scheduler = {
    _class_name: "DDPMScheduler",
    ...loaded.model.source.lowResScheduler,
  } as SchedulerConfig;
  const noise = await drawNoiseLater(rng, clean.shape, options.signal);
  const { addNoise } = createScheduler(scheduler, { timesteps: [noiseLevel] });
  return { shape: clean.shape, data: addNoise(clean.data, noise, 0) };
}

/**
 * Cells of a tile times the channels of the UNet's first level: what the largest tile may hold. 184x184 cells of
 * Stable Diffusion's upscaler, which takes 2.6 GB for two rows of them and turns 512x512 pixels into 2048x2048 in
 * nine tiles, with a sixth more cells.
 */
const MOST_VALUES = 184 * 184 * 256;

/** Cells that neighbouring tiles share, at least. */
const OVERLAP = 16;

/**
 * The tiles in which the network works on so many cells, unless it can take them at once.
 *
 * @param perPixel cells for each pixel of the image that is enlarged
 */
export function tilesFor(
  { unet }: Model,
  cells: Size,
  { tiles }: Upscaling,
  perPixel = 1,
): TilePlan | undefined {
  const { levels, sampleSize } = unet.config;
  const multiple = 2 ** (levels.length - 1);
  const largest = Math.max(sampleSize, Math.floor(Math.sqrt(MOST_VALUES / levels[0]!.channels)));
  const inCells = (pixels: number | undefined) => pixels && Math.ceil(pixels * perPixel);
  const tile = Math.max(2 * multiple, roundedUp(inCells(tiles?.size) ?? largest, multiple));
  const overlap = Math.min(inCells(tiles?.overlap) ?? OVERLAP, tile - multiple);
  const plan = planTiles(cells, { tile, overlap, multiple });
  return plan.tiles.length > 1 ? plan : undefined;
}

const roundedUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;

/**
 * Asks the network tile by tile and fades its answers into each other, at each step, so that the tiles grow into one
 * picture (MultiDiffusion, Bar-Tal et al. 2023, eq. 5, with weights that fall towards the edges).
 */
export function inTiles(predict: Predict, plan: TilePlan, signal?: AbortSignal): Predict {
  return async (sample, timestep, evaluation) => {
    const blend = createTileBlend(plan);
    for (const [i, tile] of plan.tiles.entries()) {
      signal?.throwIfAborted();
      blend.add(i, await predict(cutTile(sample, tile), timestep, evaluation));
    }
    return blend.values();
  };
}
