import type { Tensor } from "../ops/ops.js";
import { channels, conv2d, groupNorm, linear } from "./basic.js";
import { layer, type Module } from "./module.js";

export interface ResnetOptions {
  readonly groups: number;
  readonly epsilon: number;
  /** How the time embedding enters: added after the first convolution, or as scale and shift of the second norm. */
  readonly timeScaleShift?: boolean;
}

/** Two convolutions with norms, the time embedding [B, E] between them, and a residual: x [B, H, W, I] to [B, H, W, out]. */
export const resnetBlock = layer(
  (m: Module, x: Tensor, time: Tensor | undefined, out: number, options: ResnetOptions) => {
    const { ops } = m;
    const { groups, epsilon, timeScaleShift = false } = options;
    const normed = groupNorm(m.at("norm1"), x, { groups, epsilon, activation: "silu" });
    let h = conv2d(m.at("conv1"), normed, out);
    const embed = (width: number) => {
      const t = linear(m.at("time_emb_proj"), ops.activate(time!, "silu"), width);
      return ops.reshape(t, [t.shape[0]!, 1, 1, width]);
    };
    if (time && timeScaleShift) {
      const [scale, shift] = ops.split(embed(2 * out), 2, 3) as [Tensor, Tensor];
      const normal = groupNorm(m.at("norm2"), h, { groups, epsilon });
      const scaled = ops.mul(normal, ops.add(scale, ops.constant([1], [])));
      h = ops.activate(ops.add(scaled, shift), "silu");
    } else {
      if (time) h = ops.add(h, embed(out));
      h = groupNorm(m.at("norm2"), h, { groups, epsilon, activation: "silu" });
    }
    h = conv2d(m.at("conv2"), h, out);
    return ops.add(h, channels(x) === out ? x : conv2d(m.at("conv_shortcut"), x, out, { size: 1 }));
  },
);

/** Halves height and width (rounded up). Padding 1 on all sides, or 0 at the top and left: VAE, google/ddpm. */
export const downsample = layer((m: Module, x: Tensor, padding: number) =>
  conv2d(m.at("conv"), x, channels(x), { stride: 2, padding: padding === 1 ? [1, 1, 1, 1] : [0, 1, 0, 1] }),
);

/** Nearest neighbour to [height, width], then a 3x3 convolution. */
export const upsample = layer((m: Module, x: Tensor, height: number, width: number) =>
  conv2d(m.at("conv"), m.ops.upsample(x, height, width), channels(x)),
);
