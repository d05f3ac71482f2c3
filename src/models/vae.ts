import { spatialSelfAttention } from "../nn/attention.js";
import { channels, conv2d, groupNorm } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import { downsample, resnetBlock, upsample } from "../nn/resnet.js";
import type { Tensor } from "../ops/ops.js";
import type { LatentSpace, OfImage, OfLatents, VaeSize } from "./latent-space.js";
import type { Network } from "./network.js";

/** The convolutional encoder and decoder of AutoencoderKL and VQModel. */
export interface CoderConfig extends LatentSpace {
  readonly blockOutChannels: readonly number[]; // 128, 256, 512, 512
  readonly layersPerBlock: number; // 2
  readonly normGroups: number; // 32
  readonly midBlockAttention: boolean;
}

/** AutoencoderKL; the numbers are those of vae/config.json. */
export interface KlConfig extends CoderConfig {
  readonly kind: "kl";
  readonly quantConv: boolean;
  readonly postQuantConv: boolean;
}

// Fixed in diffusers' VAE, not in its config.
const EPSILON = 1e-6;

/** The posterior, unscaled: [B, H / f, W / f, C] each. */
export type OfPosterior = { readonly mean: Tensor; readonly logvar: Tensor };

/** Input `image` [B, H, W, 3] in [-1, 1]. */
export function vaeEncoder(
  config: KlConfig,
  { batch, height, width }: VaeSize,
): Network<OfImage, OfPosterior> {
  return {
    inputs: { image: { shape: [batch, height, width, config.inChannels], dtype: "float32" } },
    forward(m, { image }) {
      const moments = encoder(m.at("encoder"), image, config, 2 * config.latentChannels);
      const out = config.quantConv
        ? conv2d(m.at("quant_conv"), moments, channels(moments), { size: 1 })
        : moments;
      const [mean, logvar] = m.ops.split(out, 2, 3) as [Tensor, Tensor];
      return { mean, logvar };
    },
  };
}

/** Input `latents` [B, h, w, latents], unscaled; output `image` [B, h * f, w * f, 3], about [-1, 1]. */
export function vaeDecoder(config: KlConfig, { batch, height, width }: VaeSize): Network<OfLatents, OfImage> {
  return {
    inputs: { latents: { shape: [batch, height, width, config.latentChannels], dtype: "float32" } },
    forward(m, { latents }) {
      const x = config.postQuantConv
        ? conv2d(m.at("post_quant_conv"), latents, config.latentChannels, { size: 1 })
        : latents;
      return { image: decoder(m.at("decoder"), x, config) };
    },
  };
}

/** Image [B, H, W, 3] to [B, H / f, W / f, out]; sides that the factor does not divide are rounded down. */
export const encoder = layer((m: Module, image: Tensor, config: CoderConfig, out: number) => {
  const { blockOutChannels, layersPerBlock } = config;
  let h = conv2d(m.at("conv_in"), image, blockOutChannels[0]!);
  blockOutChannels.forEach((channels, level) => {
    const block = m.at("down_blocks", level);
    for (let i = 0; i < layersPerBlock; i++) h = resnet(block.at("resnets", i), h, channels, config);
    if (level < blockOutChannels.length - 1) h = downsample(block.at("downsamplers", 0), h, 0);
  });
  return head(m, middle(m.at("mid_block"), h, config), out, config);
});

/** [B, h, w, C] to an image [B, h * f, w * f, 3]. */
export const decoder = layer((m: Module, latents: Tensor, config: CoderConfig) => {
  const { blockOutChannels, layersPerBlock } = config;
  let h = conv2d(m.at("conv_in"), latents, blockOutChannels.at(-1)!);
  h = middle(m.at("mid_block"), h, config);
  [...blockOutChannels].reverse().forEach((out, level) => {
    const block = m.at("up_blocks", level);
    for (let i = 0; i < layersPerBlock + 1; i++) h = resnet(block.at("resnets", i), h, out, config);
    const [, height, width] = h.shape as [number, number, number];
    if (level < blockOutChannels.length - 1)
      h = upsample(block.at("upsamplers", 0), h, 2 * height, 2 * width);
  });
  return head(m, h, config.outChannels, config);
});

const resnet = (m: Module, x: Tensor, out: number, { normGroups }: CoderConfig): Tensor =>
  resnetBlock(m, x, undefined, out, { groups: normGroups, epsilon: EPSILON });

const middle = layer((m: Module, x: Tensor, config: CoderConfig) => {
  const width = channels(x);
  let h = resnet(m.at("resnets", 0), x, width, config);
  const attention = { heads: 1, groups: config.normGroups, epsilon: EPSILON };
  if (config.midBlockAttention) h = spatialSelfAttention(m.at("attentions", 0), h, attention);
  return resnet(m.at("resnets", 1), h, width, config);
});

const head = (m: Module, x: Tensor, out: number, { normGroups }: CoderConfig): Tensor => {
  const normal = groupNorm(m.at("conv_norm_out"), x, {
    groups: normGroups,
    epsilon: EPSILON,
    activation: "silu",
  });
  return conv2d(m.at("conv_out"), normal, out);
};
