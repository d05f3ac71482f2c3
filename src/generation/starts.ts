import { fillMasked } from "../image/composite.js";
import { imagesToValues } from "../image/convert.js";
import type { Image, Mask, Size } from "../image/image.js";
import { type LatentMaskRule, latentMask, maskedImage } from "../image/mask.js";
import { batched, rowsOf } from "../latents/batch.js";
import { blendLatents, type KeptLatents } from "../latents/blend.js";
import { concatChannels } from "../latents/channels.js";
import type { Latents, Values } from "../latents/latents.js";
import type { Rng } from "../latents/rng.js";
import { resizeValues } from "../latents/upscale.js";
import type { Inpainting } from "../options/resolved.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { type Generation, timed } from "./generation.js";
import { encodeImage, type Posterior, samplePosterior } from "./latent-space.js";
import { latentShape, vaeOf } from "./loaded.js";
import { drawNoiseLater, firstNoise } from "./noise.js";

/** What the denoising of one image begins with. */
export interface Start {
  /** [1, h, w, C] at the first step's noise level. */
  readonly sample: Latents;
  /** Channels that the network sees beside the sample, one row or one for each condition. */
  readonly beside?: Values;
  readonly kept?: KeptLatents;
  /** The mask of what is kept says when each cell is released. */
  readonly isSoft?: boolean;
}

/** Prepares the start of an image. Random numbers are drawn in diffusers' order. */
export type PrepareStart = (run: ImageRun) => Promise<Start>;

/** What is an image's own: its place in the generation, its random numbers, its scheduler. */
export interface ImageRun {
  readonly index: number;
  readonly rng: Rng;
  readonly scheduler: Scheduler;
}

/** From nothing but noise. Inpainting models are told that everything is to be painted. */
export async function fromNoise(generation: Generation, size: Size): Promise<PrepareStart> {
  const { options } = generation;
  const everything = await fullMask(generation, size);
  return async (run) => {
    const asItIs = options.latents && options.denoisingStart !== undefined;
    return {
      sample: asItIs ? rowsOf(options.latents!, [run.index]) : await pureNoise(generation, size, run),
      ...(await everything(run.rng)),
    };
  };
}

/** The first sample of an image that begins with nothing but noise: the seed's, or the one that was given. */
export async function pureNoise(generation: Generation, size: Size, run: ImageRun): Promise<Latents> {
  const { latents } = generation.options;
  const noise = latents ? rowsOf(latents, [run.index]) : await noiseFor(generation, size, run);
  return scaled(noise, run.scheduler.initNoiseSigma);
}

/**
 * From a picture, with noise of the first step's level over it.
 *
 * @param size generated at, to which the latents of a picture of another size are brought
 */
export async function fromImage(
  generation: Generation,
  image: Image,
  size: Size = image,
): Promise<PrepareStart> {
  const posterior = await encoded(generation, () => encodeImage(generation.loaded, image));
  const everything = await fullMask(generation, size);
  const [, height, width] = latentShape(generation.loaded, size) as [number, number, number, number];
  return async (run) => {
    const latents = await sampled(generation, posterior, run.rng);
    const fits = latents.shape[1] === height && latents.shape[2] === width;
    const clean = fits ? latents : resizeValues(latents, { width, height }, "bilinear");
    return noised(generation, size, run, clean, everything);
  };
}

/** The same from latents. */
export async function fromLatents(
  generation: Generation,
  latents: Latents,
  size: Size,
): Promise<PrepareStart> {
  const everything = await fullMask(generation, size);
  return (run) => noised(generation, size, run, latents, everything);
}

async function noised(
  generation: Generation,
  size: Size,
  run: ImageRun,
  clean: Latents,
  everything: (rng: Rng) => Promise<{ beside?: Values }>,
): Promise<Start> {
  if (generation.options.denoisingStart !== undefined)
    return { sample: clean, ...(await everything(run.rng)) };
  const noise = await noiseFor(generation, size, run);
  return { sample: withNoise(clean, noise, run), ...(await everything(run.rng)) };
}

/** InstructPix2Pix: from noise, beside the image, which is taken at its posterior's mean and not scaled. */
export async function fromInstruction(generation: Generation, image: Image): Promise<PrepareStart> {
  const { mean } = await encoded(generation, () => encodeImage(generation.loaded, image));
  const nothing = { shape: mean.shape, data: new Float32Array(mean.data.length) };
  return async (run) => {
    const rows = generation.conditions[run.index]!.rows.length;
    return {
      sample: scaled(await noiseFor(generation, image, run), run.scheduler.initNoiseSigma),
      beside: rows === 3 ? batched([nothing, mean, mean]) : mean,
    };
  };
}

/** What an inpainting pass works on, both of the size generated at. */
export interface Masked {
  readonly image: Image;
  /** 0 or 255. */
  readonly mask: Mask;
  /** The mask before it was rounded, where cells of the latents are decided by it. */
  readonly levels?: Mask;
  /** In its place where grey says when a pixel is released (differential diffusion). */
  readonly soft?: Mask;
  /** The same for what is put back while a network that sees `mask` paints, too: both sides of an edge then agree. */
  readonly released?: Mask;
  readonly rule: LatentMaskRule;
  readonly content: Inpainting["content"];
  /** 1 begins with pure noise. */
  readonly strength: number;
}

/**
 * Inpainting: a UNet of nine channels sees the mask and what it leaves; for one of four, what is kept is put back
 * after each step. Draws: the picture's posterior where it is needed, the noise, the masked picture's posterior.
 */
export async function fromMasked(generation: Generation, masked: Masked): Promise<PrepareStart> {
  const { image, mask, soft, released, content, strength } = masked;
  const { loaded } = generation;
  const seesMask = loaded.traits.sees === "mask";
  const shape = latentShape(loaded, image);
  const size = { height: shape[1]!, width: shape[2]! };
  const cells = soft ? softCells(soft, size) : latentMask(masked.levels ?? mask, size, masked.rule);
  const source = content === "fill" ? fillMasked(image, mask) : image;
  const whole =
    seesMask && strength === 1 && !released
      ? undefined
      : await encoded(generation, () => encodeImage(loaded, source));
  const left = maskedImage(imagesToValues([image]), mask);
  const rest = seesMask ? await encoded(generation, () => vaeOf(loaded).encode(left)) : undefined;
  return async (run) => {
    const original = whole && (await sampled(generation, whole, run.rng));
    const noise = await noiseFor(generation, image, run);
    const beneath = await drawNoiseLater(run.rng, shape, generation.options.signal);
    const clean = original && withContent(original, noise, cells, content);
    return {
      sample:
        (strength === 1 && !soft) || !clean
          ? scaled(noise, run.scheduler.initNoiseSigma)
          : withNoise(clean, noise, run),
      ...((soft ?? released) && { isSoft: true }),
      ...(rest && { beside: concatChannels([cells, samplePosterior(loaded, rest, beneath)]) }),
      ...((released || !rest) && {
        kept: { original: original!, noise, mask: released ? softCells(released, size) : cells },
      }),
    };
  };
}

/** A soft mask at the size of the latents, 0 to 1: bilinear, without antialiasing. */
function softCells({ width, height, data }: Mask, size: Size): Values {
  const levels = { shape: [1, height, width, 1], data: Float32Array.from(data, (level) => level / 255) };
  return resizeValues(levels, size, "bilinear");
}

function withContent(
  original: Latents,
  noise: Latents,
  cells: Values,
  content: Inpainting["content"],
): Latents {
  if (content === "noise") return blendLatents(noise, original, cells);
  const nothing = { shape: original.shape, data: new Float32Array(original.data.length) };
  return content === "nothing" ? blendLatents(nothing, original, cells) : original;
}

/** What an inpainting model sees where nothing is kept: a mask of ones, and the latents of mid grey. */
async function fullMask(
  generation: Generation,
  size: Size,
): Promise<(rng: Rng) => Promise<{ beside?: Values }>> {
  const { loaded } = generation;
  if (loaded.traits.sees !== "mask") return async () => ({});
  const { width, height } = size;
  const grey = { shape: [1, height, width, 3], data: new Float32Array(height * width * 3) };
  const posterior = await encoded(generation, () => vaeOf(loaded).encode(grey));
  const [, rows, columns] = latentShape(loaded, size) as [number, number, number, number];
  const ones = { shape: [1, rows, columns, 1], data: new Float32Array(rows * columns).fill(1) };
  return async (rng) => ({ beside: concatChannels([ones, await sampled(generation, posterior, rng)]) });
}

const encoded = async (generation: Generation, encode: () => Promise<Posterior>): Promise<Posterior> => {
  const posterior = await timed(generation, "encode", encode);
  generation.options.onProgress({ type: "encode", what: "image", done: 1, total: 1 });
  return posterior;
};

const sampled = async ({ loaded, options }: Generation, posterior: Posterior, rng: Rng): Promise<Latents> =>
  samplePosterior(loaded, posterior, await drawNoiseLater(rng, posterior.mean.shape, options.signal));

/** The unit noise of the image. */
async function noiseFor(
  { loaded, options }: Generation,
  size: Size,
  { index, rng }: ImageRun,
): Promise<Latents> {
  const shape = latentShape(loaded, size);
  return { shape, data: await firstNoise(rng, shape, options, index, loaded.model.factor) };
}

const scaled = ({ shape, data }: Latents, scale: number): Latents => ({
  shape,
  data: data.map((value) => value * scale),
});

const withNoise = (clean: Latents, noise: Latents, { scheduler }: ImageRun): Latents => ({
  shape: clean.shape,
  data: scheduler.addNoise(clean.data, noise.data, 0),
});
