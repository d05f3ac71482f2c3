import { type KeptLatents, restoreKept } from "../latents/blend.js";
import type { Latents } from "../latents/latents.js";
import type { Scheduler } from "../schedulers/scheduler.js";

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
  scheduler: Scheduler,
  evaluation: number,
): Latents {
  const next = evaluation + 1;
  const total = scheduler.timesteps.length;
  if (next >= total) return latents;
  const share = Math.fround(next / total);
  const free = kept.mask.data.map((mask) => (Math.fround(1 - mask) > share ? 0 : 1));
  return restoreKept(
    latents,
    { ...kept, mask: { shape: kept.mask.shape, data: free } },
    scheduler,
    evaluation,
  );
}
