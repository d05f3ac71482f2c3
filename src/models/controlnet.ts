import { channels, conv2d } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";
import { downPath, timeEmbedding, type UNetInputs, type UNetSize, unet } from "./unet.js";
import { midBlock } from "./unet-blocks.js";
import type { UNetConfig } from "./unet-config.js";

/** ControlNetModel (Zhang et al. 2023): the way down of a UNet that also sees a picture. */
export interface ControlNetConfig {
  /** The UNet that it is half a copy of. */
  readonly unet: UNetConfig;
  readonly conditioningChannels: number; // 3
  /** Each but the first halves the picture. */
  readonly embeddingChannels: readonly number[]; // 16, 32, 96, 256
  /** Residuals are averaged over the picture (the shuffle model). */
  readonly globalPool: boolean;
}

/** Pixels of the conditioning picture per latent cell. */
export const conditioningFactor = ({ embeddingChannels }: ControlNetConfig): number =>
  2 ** (embeddingChannels.length - 1);

export type ControlNetInputs = UNetInputs & {
  /** [B, H * f, W * f, 3] in [0, 1]; -1 in holes, for inpainting */
  readonly image: Tensor;
};

/** Gives `residuals` as the UNet takes them, unscaled. */
export function controlNet(
  config: ControlNetConfig,
  size: UNetSize,
): Network<ControlNetInputs, { readonly residuals: readonly Tensor[] }> {
  const { batch, height, width, tokens } = size;
  const { inputs } = unet(config.unet, { batch, height, width, tokens });
  const f = conditioningFactor(config);
  const image = [batch, height * f, width * f, config.conditioningChannels];
  return {
    inputs: { ...inputs, image: { shape: image, dtype: "float32" } },
    forward(m, given) {
      const time = timeEmbedding(m, given, config.unet);
      const first = config.unet.levels[0]!.channels;
      const hint = embedding(m.at("controlnet_cond_embedding"), given.image, config.embeddingChannels, first);
      const context = { text: given.context };
      const { h, skips } = downPath(m, given.sample, time, context, config.unet, { hint });
      const middle = midBlock(m.at("mid_block"), h, time, context, config.unet);
      const zero = (at: Module, x: Tensor) => conv2d(at, x, channels(x), { size: 1 });
      const residuals = skips.map((skip, i) => zero(m.at("controlnet_down_blocks", i), skip));
      return { residuals: [...residuals, zero(m.at("controlnet_mid_block"), middle)] };
    },
  };
}

/** The picture brought to the size and channels of the latents after their first convolution. */
const embedding = layer((m: Module, image: Tensor, widths: readonly number[], out: number) => {
  const { ops } = m;
  let h = ops.activate(conv2d(m.at("conv_in"), image, widths[0]!), "silu");
  for (let i = 0; i + 1 < widths.length; i++) {
    h = ops.activate(conv2d(m.at("blocks", 2 * i), h, widths[i]!), "silu");
    h = ops.activate(conv2d(m.at("blocks", 2 * i + 1), h, widths[i + 1]!, { stride: 2 }), "silu");
  }
  return conv2d(m.at("conv_out"), h, out);
});
