import { conv2d } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";
import type { PictureSize } from "./srvgg.js";

/** ESRGAN's network of residual-in-residual dense blocks (Wang et al. 2018, section 3.1), as Real-ESRGAN has it. */
export interface RrdbConfig {
  readonly kind: "rrdb";
  /** Of the whole, `shuffle` taken into account. */
  readonly scale: number; // 4
  /** Side of the squares of pixels that become channels first: 2 in Real-ESRGAN's x2. */
  readonly shuffle: number; // 1
  readonly features: number; // 64
  /** Channels that each convolution of a dense block adds. */
  readonly growth: number; // 32
  readonly blocks: number; // 23
  /** Each with a convolution. */
  readonly enlargements: number; // 2
  /** What each of them multiplies the sides by: 3 in ESRGANs of scale 3. */
  readonly factor: number; // 2
  /** ESRGAN+ (Rakotonirina and Rasoanaivo 2020): further shortcuts in the dense blocks. */
  readonly plus: boolean;
}

/** The slope of its leaky ReLUs, and what its residuals are scaled by. */
const SLOPE = 0.2;
const RESIDUAL = 0.2;

/** [B, H / shuffle, W / shuffle, 3 * shuffle^2]: a picture in [0, 1], in PyTorch's order of PixelUnshuffle. */
export type Squares = { readonly squares: Tensor };

/** Gives `image` [B, H * scale, W * scale, 3]; the size is that of the picture. */
export function rrdb(
  config: RrdbConfig,
  { batch, height, width }: PictureSize,
): Network<Squares, { readonly image: Tensor }> {
  const { shuffle, features, blocks, enlargements, factor } = config;
  return {
    inputs: {
      squares: { shape: [batch, height / shuffle, width / shuffle, 3 * shuffle ** 2], dtype: "float32" },
    },
    forward(m, { squares }) {
      const { ops } = m;
      const first = conv2d(m.at("conv_first"), squares, features);
      let h = first;
      for (let i = 0; i < blocks; i++) h = block(m.at("body", i), h, config);
      h = ops.add(first, conv2d(m.at("conv_body"), h, features));
      for (let i = 1; i <= enlargements; i++) {
        const [, rows, columns] = h.shape as [number, number, number, number];
        h = ops.leakyRelu(
          conv2d(m.at(`conv_up${i}`), ops.upsample(h, factor * rows, factor * columns), features),
          SLOPE,
        );
      }
      h = ops.leakyRelu(conv2d(m.at("conv_hr"), h, features), SLOPE);
      return { image: conv2d(m.at("conv_last"), h, 3) };
    },
  };
}

const block = layer((m: Module, x: Tensor, config: RrdbConfig) => {
  let h = x;
  for (const name of ["rdb1", "rdb2", "rdb3"]) h = denseBlock(m.at(name), h, config);
  return residual(m, h, x);
});

/** Five convolutions, each of which sees what all before it gave. */
const denseBlock = layer((m: Module, x: Tensor, { features, growth, plus }: RrdbConfig) => {
  const { ops } = m;
  const seen = [x];
  for (let i = 1; i <= 4; i++) {
    let h = ops.leakyRelu(conv2d(m.at(`conv${i}`), joined(m, seen), growth), SLOPE);
    if (plus && i === 2) h = ops.add(h, conv2d(m.at("conv1x1"), x, growth, { size: 1, bias: false }));
    if (plus && i === 4) h = ops.add(h, seen[2]!);
    seen.push(h);
  }
  return residual(m, conv2d(m.at("conv5"), joined(m, seen), features), x);
});

const joined = ({ ops }: Module, parts: readonly Tensor[]): Tensor =>
  parts.length === 1 ? parts[0]! : ops.concat(parts, 3);

const residual = ({ ops }: Module, h: Tensor, x: Tensor): Tensor =>
  ops.add(ops.mul(h, ops.constant([RESIDUAL], [])), x);
