import { channels, conv2d } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { LatentSpace, OfImage, OfLatents, VaeSize } from "./latent-space.js";
import type { Network } from "./network.js";

/** Stages of one width; each but the first (encoder) or last (decoder) changes the size by two. */
export interface TaesdStages {
  readonly width: number; // 64
  /** Blocks of each stage. */
  readonly blocks: readonly number[]; // encoder 1, 3, 3, 3; decoder 3, 3, 3, 1
}

/**
 * AutoencoderTiny (TAESD, Ollin Boer Bohan): a small stand-in for a VAE. Its latents are those of the UNet, already
 * scaled, so its `scalingFactor` is 1.
 */
export interface TaesdConfig extends LatentSpace {
  readonly kind: "tiny";
  readonly encoder: TaesdStages;
  readonly decoder: TaesdStages;
}

/** Input `image` [B, H, W, 3] in [-1, 1]; output `latents` [B, H / f, W / f, C]. */
export function taesdEncoder(
  config: TaesdConfig,
  { batch, height, width }: VaeSize,
): Network<OfImage, OfLatents> {
  return {
    inputs: { image: { shape: [batch, height, width, config.inChannels], dtype: "float32" } },
    forward: (m, { image }) => ({ latents: encoder(m.at("encoder"), image, config) }),
  };
}

/** Input `latents` [B, h, w, C]; output `image` [B, h * f, w * f, 3], about [-1, 1]. */
export function taesdDecoder(
  config: TaesdConfig,
  { batch, height, width }: VaeSize,
): Network<OfLatents, OfImage> {
  return {
    inputs: { latents: { shape: [batch, height, width, config.latentChannels], dtype: "float32" } },
    forward: (m, { latents }) => ({ image: decoder(m.at("decoder"), latents, config) }),
  };
}

const encoder = layer((m: Module, image: Tensor, { encoder: stages, latentChannels }: TaesdConfig) => {
  const { ops } = m;
  const { width, blocks } = stages;
  const next = numbered(m);
  // Its pictures are in [0, 1].
  let h = ops.mul(ops.add(image, ops.constant([1], [])), ops.constant([0.5], []));
  blocks.forEach((count, stage) => {
    h = stage === 0 ? conv2d(next(), h, width) : conv2d(next(), h, width, { stride: 2, bias: false });
    for (let i = 0; i < count; i++) h = block(next(), h);
  });
  return conv2d(next(), h, latentChannels);
});

const decoder = layer((m: Module, latents: Tensor, { decoder: stages, outChannels }: TaesdConfig) => {
  const { ops } = m;
  const { width, blocks } = stages;
  const next = numbered(m);
  // Softly limited to [-3, 3], which is where latents are.
  const limited = ops.mul(
    ops.activate(ops.mul(latents, ops.constant([1 / 3], [])), "tanh"),
    ops.constant([3], []),
  );
  let h = ops.activate(conv2d(next(), limited, width), "relu");
  next(); // the activation has a number, too
  blocks.forEach((count, stage) => {
    for (let i = 0; i < count; i++) h = block(next(), h);
    if (stage === blocks.length - 1) return;
    next(); // the enlarging
    h = conv2d(next(), ops.upsample(h, 2 * h.shape[1]!, 2 * h.shape[2]!), width, { bias: false });
  });
  const image = conv2d(next(), h, outChannels);
  return ops.sub(ops.mul(image, ops.constant([2], [])), ops.constant([1], []));
});

/** Three convolutions and a residual. */
const block = layer((m: Module, x: Tensor) => {
  const { ops } = m;
  const conv = (name: number, y: Tensor) => conv2d(m.at("conv", name), y, channels(x));
  const first = ops.activate(conv(0, x), "relu");
  const second = ops.activate(conv(2, first), "relu");
  return ops.activate(ops.add(conv(4, second), x), "relu");
});

/** The layers of a torch `Sequential`, which are called 0, 1, 2, … */
function numbered(m: Module): () => Module {
  let number = 0;
  return () => m.at("layers", number++);
}
