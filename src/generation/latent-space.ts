import { imagesToValues, valuesToImages } from "../image/convert.js";
import type { Image } from "../image/image.js";
import type { Latents, Values } from "../latents/latents.js";
import type { VaeConfig } from "../models/vae-config.js";
import type { VaeOptions } from "../runtime/networks/autoencoder.js";
import { type Loaded, vaeOf } from "./loaded.js";

/** What the VAE's encoder says about a picture: a normal distribution in each latent value, in the VAE's scale. */
export interface Posterior {
  readonly mean: Values;
  readonly logvar: Values;
}

/** The posterior of a picture whose sides are multiples of the factor. */
export const encodeImage = (loaded: Loaded, image: Image): Promise<Posterior> =>
  vaeOf(loaded).encode(imagesToValues([image]));

/** The picture that latents stand for; models without a VAE work on pixels. A small decoder goes first. */
export async function decodeLatents(
  { networks, taesdFor }: Pick<Loaded, "networks" | "taesdFor">,
  latents: Latents,
  options: VaeOptions = {},
): Promise<Image> {
  const vae = (taesdFor === "previews" ? undefined : networks.taesd) ?? networks.vae;
  const values = vae ? await vae.decode(toVaeScale(latents, vae.config), options) : latents;
  return valuesToImages(values)[0]!;
}

/** A sample of the posterior in the UNet's scale; `noise` are unit draws [1, h, w, C]. */
export function samplePosterior(loaded: Loaded, { mean, logvar }: Posterior, noise: Float32Array): Latents {
  const data = mean.data.map((m, i) => {
    const deviation = Math.fround(Math.exp(0.5 * Math.min(20, Math.max(-30, logvar.data[i]!))));
    return m + Math.fround(deviation * noise[i]!);
  });
  return toUNetScale({ shape: mean.shape, data }, vaeOf(loaded).config);
}

/** From the UNet's scale, in which latents have about unit variance, to the VAE's. */
export function toVaeScale({ shape, data }: Latents, vae: VaeConfig): Values {
  const { scalingFactor, shiftFactor, latentsMean, latentsStd, latentChannels } = vae;
  const values = data.map((value, i) => {
    const channel = i % latentChannels;
    const scaled = (value * (latentsStd?.[channel] ?? 1)) / scalingFactor;
    return scaled + (latentsMean?.[channel] ?? 0) + shiftFactor;
  });
  return { shape, data: values };
}

/** The way back. */
function toUNetScale({ shape, data }: Values, vae: VaeConfig): Latents {
  const { scalingFactor, shiftFactor, latentsMean, latentsStd, latentChannels } = vae;
  const values = data.map((value, i) => {
    const channel = i % latentChannels;
    const centred = value - (latentsMean?.[channel] ?? 0) - shiftFactor;
    return (centred * scalingFactor) / (latentsStd?.[channel] ?? 1);
  });
  return { shape, data: values };
}
