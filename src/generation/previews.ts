import { valuesToImages } from "../image/convert.js";
import type { Image } from "../image/image.js";
import type { Latents } from "../latents/latents.js";
import { fitPreview, type PreviewMap, previewRgb } from "../latents/preview.js";
import { createRng } from "../latents/rng.js";
import { decodeLatents, toVaeScale } from "./latent-space.js";
import { type Loaded, vaeOf } from "./loaded.js";
import { drawNoise } from "./noise.js";

/**
 * Pictures of latents without their noise. A small decoder makes them where there is one; a VAE would take too long, so
 * that only its colours are learned, and the pictures are as small as the latents.
 */
export type Previewer = (latents: Latents) => Promise<Image[]>;

export function createPreviewer(loaded: Loaded): Previewer {
  const { vae } = loaded.model;
  let map: Promise<PreviewMap> | undefined;
  // A linear map from this VAE's latents to colours, from what it makes of a handful of random cells.
  const learnMap = async (): Promise<PreviewMap> => {
    const shape = [1, 8, 8, vae!.latentChannels];
    const latents = { shape, data: drawNoise(createRng("torch", 0), shape) };
    return fitPreview(latents, await vaeOf(loaded).decode(toVaeScale(latents, vae!)));
  };
  return async (latents) => {
    if (!vae) return valuesToImages(latents);
    if (isQuick(loaded)) return [await decodeLatents(loaded, latents)];
    map ??= learnMap();
    const learned = map;
    // It was learned for a generation that may have been aborted meanwhile, which says nothing about the next one.
    learned.catch(() => {
      if (map === learned) map = undefined;
    });
    return valuesToImages(previewRgb(latents, await learned));
  };
}

const isQuick = ({ networks }: Loaded): boolean => (networks.taesd ?? networks.vae)?.config.kind === "tiny";
