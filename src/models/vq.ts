import { conv2d } from "../nn/basic.js";
import type { OfImage, OfLatents, VaeSize } from "./latent-space.js";
import type { Network } from "./network.js";
import { type CoderConfig, decoder, encoder } from "./vae.js";

/** VQModel: an autoencoder whose latents are rows of a codebook; the numbers are those of vqvae/config.json. */
export interface VqConfig extends CoderConfig {
  readonly kind: "vq";
  /** Channels inside, before the 1x1 convolution to the codes' width (`latentChannels`). */
  readonly innerChannels: number; // 3
  /** Rows of the codebook. */
  readonly codes: number; // 8192
}

/** The codebook [codes, latentChannels], read by those who quantise. */
export const codebookWeight = "quantize.embedding.weight";

/** Input `image` [B, H, W, 3] in [-1, 1]; output `latents` [B, H / f, W / f, C], not quantised yet. */
export function vqEncoder(config: VqConfig, { batch, height, width }: VaeSize): Network<OfImage, OfLatents> {
  return {
    inputs: { image: { shape: [batch, height, width, config.inChannels], dtype: "float32" } },
    forward(m, { image }) {
      const inner = encoder(m.at("encoder"), image, config, config.innerChannels);
      return { latents: conv2d(m.at("quant_conv"), inner, config.latentChannels, { size: 1 }) };
    },
  };
}

/** Input `latents` [B, h, w, C], quantised; output `image` [B, h * f, w * f, 3], about [-1, 1]. */
export function vqDecoder(config: VqConfig, { batch, height, width }: VaeSize): Network<OfLatents, OfImage> {
  return {
    inputs: { latents: { shape: [batch, height, width, config.latentChannels], dtype: "float32" } },
    forward(m, { latents }) {
      const inner = conv2d(m.at("post_quant_conv"), latents, config.innerChannels, { size: 1 });
      return { image: decoder(m.at("decoder"), inner, config) };
    },
  };
}
