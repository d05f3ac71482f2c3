import { DiffusionError } from "../errors.js";
import { repeatBatch } from "./batch.js";
import { axesOf, concatChannels } from "./channels.js";
import type { Latents, Values } from "./latents.js";

/**
 * mask * repainted + (1 - mask) * kept. `mask` is [1 or B, h, w, 1]; `kept` may have a smaller batch, which is
 * repeated. Where the mask is 0 or 1 the chosen side comes through bit-identical.
 *
 * Masked content "noise" is blendLatents(noise, original, mask), "nothing" the same with zeros.
 */
export function blendLatents(repainted: Latents, kept: Latents, mask: Values): Latents {
  const { batch, channels } = axesOf(repainted);
  const [under, weights] = [repeatBatch(kept, batch), repeatBatch(mask, batch).data];
  if (under.data.length !== repainted.data.length || weights.length * channels !== repainted.data.length)
    throw new DiffusionError(
      "LAYER_SHAPE",
      `latents [${repainted.shape.join(", ")}], kept latents [${kept.shape.join(", ")}] and mask [${mask.shape.join(", ")}] do not fit each other`,
    );
  const data = under.data.slice();
  for (let i = 0; i < data.length; i++) {
    const weight = weights[Math.floor(i / channels)]!;
    if (weight === 1) data[i] = repainted.data[i]!;
    else if (weight !== 0) data[i] = weight * repainted.data[i]! + (1 - weight) * data[i]!;
  }
  return { shape: repainted.shape, data };
}

/** What a run needs to hold the kept part in place: clean latents, the noise of the run, and the mask. */
export interface KeptLatents {
  readonly original: Latents;
  readonly noise: Latents;
  readonly mask: Values;
}

/** What `restoreKept` asks of a scheduler: the noise that belongs to each evaluation. */
export interface KeepingScheduler {
  readonly timesteps: readonly number[];
  addNoise(clean: Float32Array, noise: Float32Array, step: number): Float32Array;
}

/**
 * The latents that an evaluation has given, with the kept part put back at the noise level of the next one, or clean
 * after the last. This is how a UNet without mask channels inpaints.
 */
export function restoreKept(
  latents: Latents,
  { original, noise, mask }: KeptLatents,
  scheduler: KeepingScheduler,
  evaluation: number,
): Latents {
  const { batch } = axesOf(latents);
  const clean = repeatBatch(original, batch);
  if (evaluation + 1 >= scheduler.timesteps.length) return blendLatents(latents, clean, mask);
  const data = scheduler.addNoise(clean.data, repeatBatch(noise, batch).data, evaluation + 1);
  return blendLatents(latents, { shape: latents.shape, data }, mask);
}

/**
 * Differential diffusion (Levin and Fried 2023, "Differential Diffusion: Giving Each Pixel Its Strength", algorithm 1):
 * the mask says from which share of the run on a cell is free: from the start where it is 1, at no time where it is 0.
 * Cells that are not free yet stand at the noise level of the next evaluation. What the last one has made stays.
 *
 * @param evaluation the one that has given the latents
 */
export function restoreUnreleased(
  latents: Latents,
  kept: KeptLatents,
  scheduler: KeepingScheduler,
  evaluation: number,
): Latents {
  if (evaluation + 1 >= scheduler.timesteps.length) return latents;
  const mask = releasedBy(kept.mask, scheduler, evaluation);
  return restoreKept(latents, { ...kept, mask }, scheduler, evaluation);
}

/** Of the cells of a soft mask: 1 for those that are free after an evaluation, else 0. */
export function releasedBy({ shape, data }: Values, scheduler: KeepingScheduler, evaluation: number): Values {
  const share = Math.fround((evaluation + 1) / scheduler.timesteps.length);
  return { shape, data: data.map((mask) => (Math.fround(1 - mask) > share ? 0 : 1)) };
}

/** The nine channels of an inpainting UNet: latents (4), mask (1), latents of the masked picture (4). */
export const inpaintingInput = (latents: Latents, mask: Values, maskedLatents: Latents): Values =>
  concatChannels([latents, mask, maskedLatents]);
