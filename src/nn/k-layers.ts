import type { Activation, Tensor } from "../ops/ops.js";
import { adaGroupNorm } from "./ada-norm.js";
import { channels, conv2d, layerNorm, linear } from "./basic.js";
import { layer, type Module } from "./module.js";

/** The layers of k-diffusion's UNet, which the latent upscaler is made of (diffusers' K blocks). */

/** Channels of a group in all norms (`resnet_group_size`, `group_size`). */
const GROUP = 32;

export interface KResnetOptions {
  readonly epsilon: number;
  readonly activation: Activation;
  /** Channels between the two convolutions, where they are not those of the result. */
  readonly inner?: number;
}

/** Two convolutions, each after a norm that the time embedding steers, and a residual: [B, H, W, I] to [B, H, W, out]. */
export const kResnetBlock = layer(
  (m: Module, x: Tensor, time: Tensor, out: number, { epsilon, activation, inner = out }: KResnetOptions) => {
    const norm = (name: string, y: Tensor) =>
      adaGroupNorm(m.at(name), y, time, { groups: Math.floor(channels(y) / GROUP), epsilon, activation });
    let h = conv2d(m.at("conv1"), norm("norm1", x), inner);
    h = conv2d(m.at("conv2"), norm("norm2", h), out);
    const same = channels(x) === out;
    return m.ops.add(h, same ? x : conv2d(m.at("conv_shortcut"), x, out, { size: 1, bias: false }));
  },
);

/**
 * Attention of the pixels of x [B, H, W, C] to each other, where asked for, and to the prompt [B, T, D], each after a
 * norm that the time embedding steers, and with a residual.
 */
export const kAttentionBlock = layer(
  (
    m: Module,
    x: Tensor,
    time: Tensor,
    context: Tensor,
    { headWidth, self }: { headWidth: number; self: boolean },
  ) => {
    const { ops } = m;
    const [b, h, w, c] = x.shape as [number, number, number, number];
    const options = { groups: Math.max(1, Math.floor(c / GROUP)), epsilon: 1e-5 };
    const attend = (index: 1 | 2, y: Tensor) => {
      const tokens = ops.reshape(adaGroupNorm(m.at(`norm${index}`), y, time, options), [b, h * w, c]);
      const attn = m.at(`attn${index}`);
      const source = index === 1 ? tokens : layerNorm(attn.at("norm_cross"), context, 1e-5);
      const project = (name: string, from: Tensor) => linear(attn.at(name), from, c);
      const [q, k, v] = [project("to_q", tokens), project("to_k", source), project("to_v", source)];
      const mixed = linear(attn.at("to_out", 0), ops.attention(q, k, v, { heads: c / headWidth }), c);
      return ops.add(ops.reshape(mixed, [b, h, w, c]), y);
    };
    return attend(2, self ? attend(1, x) : x);
  },
);

/** Halves height and width by the binomial filter [1, 3, 3, 1] / 8 along both, mirrored at the edges. */
export const kDownsample = layer((m: Module, x: Tensor) => halved(m, halved(m, x, 1), 2));

/** Doubles them by the same filter. */
export const kUpsample = layer((m: Module, x: Tensor) => doubled(m, doubled(m, x, 1), 2));

/** y[j] = (x[2j - 1] + 3 x[2j] + 3 x[2j + 1] + x[2j + 2]) / 8 */
function halved(m: Module, x: Tensor, axis: 1 | 2): Tensor {
  const { ops } = m;
  const half = x.shape[axis]! / 2;
  const padded = mirrored(m, x, axis);
  // Pairs beside each other: the first of each, then the second.
  const pairs = [...padded.shape.slice(0, axis), half + 1, 2, ...padded.shape.slice(axis + 1)];
  const single = [...pairs.slice(0, axis + 1), ...pairs.slice(axis + 2)];
  const [even, odd] = ops
    .split(ops.reshape(padded, pairs), 2, axis + 1)
    .map((part) => ops.reshape(part, single)) as [Tensor, Tensor];
  const at = (part: Tensor, from: number) => ops.slice(part, axis, from, half);
  const outer = ops.add(at(even, 0), at(odd, 1));
  const inner = ops.add(at(odd, 0), at(even, 1));
  return ops.add(ops.mul(outer, ops.constant([1 / 8], [])), ops.mul(inner, ops.constant([3 / 8], [])));
}

/** y[2j] = (x[j - 1] + 3 x[j]) / 4, y[2j + 1] = (3 x[j] + x[j + 1]) / 4 */
function doubled(m: Module, x: Tensor, axis: 1 | 2): Tensor {
  const { ops } = m;
  const size = x.shape[axis]!;
  const padded = mirrored(m, x, axis);
  const near = ops.mul(x, ops.constant([3 / 4], []));
  const apart = [...x.shape.slice(0, axis + 1), 1, ...x.shape.slice(axis + 1)];
  const [left, right] = [0, 2].map((from) => {
    const far = ops.mul(ops.slice(padded, axis, from, size), ops.constant([1 / 4], []));
    return ops.reshape(ops.add(near, far), apart);
  }) as [Tensor, Tensor];
  const shape = x.shape.map((n, i) => (i === axis ? 2 * n : n));
  return ops.reshape(ops.concat([left, right], axis + 1), shape);
}

/** One more row (column) at each end, which repeats the second one from there. */
function mirrored({ ops }: Module, x: Tensor, axis: 1 | 2): Tensor {
  const at = (from: number) => ops.slice(x, axis, from, 1);
  return ops.concat([at(1), x, at(x.shape[axis]! - 2)], axis);
}
