import { fillMasked } from "../image/composite.js";
import { imagesToValues } from "../image/convert.js";
import type { Image, Mask, Size } from "../image/image.js";
import { type LatentMaskRule, latentMask, maskedImage } from "../image/mask.js";
import { blendLatents, type KeptLatents } from "../latents/blend.js";
import { concatChannels } from "../latents/channels.js";
import type { Latents, Values } from "../latents/latents.js";
import type { Rng } from "../latents/rng.js";
import type { Inpainting } from "../options/resolved.js";
import type { Scheduler } from "../schedulers/scheduler.js";
import { batched } from "./conditioning.js";
import { type Call, timed } from "./generation.js";
import { encodeImage, type Posterior, samplePosterior } from "./latent-space.js";
import { latentShape, vaeOf } from "./loaded.js";
import { drawNoise, firstNoise } from "./noise.js";

/** What the denoising of one image begins with. */
export interface Start {
  /** [1, h, w, C] at the first step's noise level. */
  readonly sample: Latents;
  /** Channels that the network sees beside the sample, one row or one for each condition. */
  readonly beside?: Values;
  readonly kept?: KeptLatents;
}

/** Makes the start of an image. Random numbers are drawn in diffusers' order. */
export type Beginning = (image: Brush) => Start;

/** What is an image's own: its place in the call, its random numbers, its scheduler. */
export interface Brush {
  readonly index: number;
  readonly rng: Rng;
  readonly scheduler: Scheduler;
}

/** From noise alone. Inpainting models are told that everything is to be painted. */
export async function fromNoise(call: Call, size: Size): Promise<Beginning> {
  const { options, resolved } = call;
  const everything = await fullMask(call, size);
  return (brush) => {
    const asItIs = options.latents && resolved.denoisingStart !== undefined;
    return {
      sample: asItIs ? row(options.latents!, brush.index) : pureNoise(call, size, brush),
      ...everything(brush.rng),
    };
  };
}

/** The first sample of an image that begins with noise alone: the seed's, or the one that was given. */
export function pureNoise(call: Call, size: Size, brush: Brush): Latents {
  const { latents } = call.options;
  const noise = latents ? row(latents, brush.index) : noiseFor(call, size, brush);
  return scaled(noise, brush.scheduler.initNoiseSigma);
}

/** From a picture of the size generated at, with noise of the first step's level over it. */
export async function fromImage(call: Call, image: Image): Promise<Beginning> {
  const posterior = await encoded(call, () => encodeImage(call.loaded, image));
  const everything = await fullMask(call, image);
  return (brush) => noised(call, image, brush, sampled(call, posterior, brush.rng), everything);
}

/** The same from latents. */
export async function fromLatents(call: Call, latents: Latents, size: Size): Promise<Beginning> {
  const everything = await fullMask(call, size);
  return (brush) => noised(call, size, brush, latents, everything);
}

function noised(
  call: Call,
  size: Size,
  brush: Brush,
  clean: Latents,
  everything: (rng: Rng) => { beside?: Values },
) {
  if (call.resolved.denoisingStart !== undefined) return { sample: clean, ...everything(brush.rng) };
  const noise = noiseFor(call, size, brush);
  return { sample: withNoise(clean, noise, brush), ...everything(brush.rng) };
}

/** InstructPix2Pix: from noise, beside the image, which is taken at its posterior's mean and not scaled. */
export async function fromInstruction(call: Call, image: Image): Promise<Beginning> {
  const { mean } = await encoded(call, () => encodeImage(call.loaded, image));
  const nothing = { shape: mean.shape, data: new Float32Array(mean.data.length) };
  return (brush) => {
    const rows = call.conditions[brush.index]!.rows.length;
    return {
      sample: scaled(noiseFor(call, image, brush), brush.scheduler.initNoiseSigma),
      beside: rows === 3 ? batched([nothing, mean, mean]) : mean,
    };
  };
}

/** What an inpainting pass works on, both of the size generated at. */
export interface Masked {
  readonly image: Image;
  /** 0 or 255. */
  readonly mask: Mask;
  readonly rule: LatentMaskRule;
  readonly content: Inpainting["content"];
  /** 1 begins with pure noise. */
  readonly strength: number;
}

/**
 * Inpainting: a UNet of nine channels sees the mask and what it leaves; for one of four, what is kept is put back
 * after each step. Draws: the picture's posterior where it is needed, the noise, the masked picture's posterior.
 */
export async function fromMasked(call: Call, masked: Masked): Promise<Beginning> {
  const { image, mask, content, strength } = masked;
  const { loaded } = call;
  const seesMask = loaded.traits.sees === "mask";
  const shape = latentShape(loaded, image);
  const cells = latentMask(mask, { height: shape[1]!, width: shape[2]! }, masked.rule);
  const source = content === "fill" ? fillMasked(image, mask) : image;
  const whole =
    seesMask && strength === 1 ? undefined : await encoded(call, () => encodeImage(loaded, source));
  const left = maskedImage(imagesToValues([image]), mask);
  const rest = seesMask ? await encoded(call, () => vaeOf(loaded).encode(left)) : undefined;
  return (brush) => {
    const original = whole && sampled(call, whole, brush.rng);
    const noise = noiseFor(call, image, brush);
    const beneath = drawNoise(brush.rng, shape);
    const clean = original && withContent(original, noise, cells, content);
    return {
      sample:
        strength === 1 || !clean
          ? scaled(noise, brush.scheduler.initNoiseSigma)
          : withNoise(clean, noise, brush),
      ...(rest
        ? { beside: concatChannels([cells, samplePosterior(loaded, rest, beneath)]) }
        : { kept: { original: original!, noise, mask: cells } }),
    };
  };
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
async function fullMask(call: Call, size: Size): Promise<(rng: Rng) => { beside?: Values }> {
  const { loaded } = call;
  if (loaded.traits.sees !== "mask") return () => ({});
  const { width, height } = size;
  const grey = { shape: [1, height, width, 3], data: new Float32Array(height * width * 3) };
  const posterior = await encoded(call, () => vaeOf(loaded).encode(grey));
  const [, rows, columns] = latentShape(loaded, size) as [number, number, number, number];
  const ones = { shape: [1, rows, columns, 1], data: new Float32Array(rows * columns).fill(1) };
  return (rng) => ({ beside: concatChannels([ones, sampled(call, posterior, rng)]) });
}

const encoded = async (call: Call, encode: () => Promise<Posterior>): Promise<Posterior> => {
  const posterior = await timed(call, "encode", encode);
  call.emit({ type: "encode", what: "image", done: 1, total: 1 });
  return posterior;
};

const sampled = ({ loaded }: Call, posterior: Posterior, rng: Rng): Latents =>
  samplePosterior(loaded, posterior, drawNoise(rng, posterior.mean.shape));

/** The unit noise of the image. */
function noiseFor({ loaded, resolved }: Call, size: Size, { index, rng }: Brush): Latents {
  const shape = latentShape(loaded, size);
  return { shape, data: firstNoise(rng, shape, resolved, index, loaded.model.factor) };
}

function row({ shape, data }: Latents, index: number): Latents {
  const length = data.length / shape[0]!;
  return { shape: [1, ...shape.slice(1)], data: data.slice(index * length, (index + 1) * length) };
}

const scaled = ({ shape, data }: Latents, scale: number): Latents => ({
  shape,
  data: data.map((value) => value * scale),
});

const withNoise = (clean: Latents, noise: Latents, { scheduler }: Brush): Latents => ({
  shape: clean.shape,
  data: scheduler.addNoise(clean.data, noise.data, 0),
});
