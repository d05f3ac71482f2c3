import { channels, conv2d } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";

/** T2IAdapter (Mou et al. 2023): what a picture adds to a UNet's way down, the same at every timestep. */
export interface T2iAdapterConfig {
  readonly kind: "full" | "light";
  readonly inChannels: number; // 3, or 1 for sketches
  /** Side of the squares of pixels that become channels. */
  readonly factor: number; // 8, SDXL 16
  /** One feature each. */
  readonly blocks: readonly { readonly channels: number; readonly halves: boolean }[];
  /** Residual blocks in each. */
  readonly layers: number; // 2
}

/** In squares of `factor` pixels. */
export interface T2iAdapterSize {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

export type T2iAdapterInputs = {
  /** [B, H, W, inChannels * factor^2]: the picture in [0, 1], in PyTorch's order of PixelUnshuffle. */
  readonly squares: Tensor;
};

/** Gives one of `features` for each block, unscaled. */
export function t2iAdapter(
  config: T2iAdapterConfig,
  { batch, height, width }: T2iAdapterSize,
): Network<T2iAdapterInputs, { readonly features: readonly Tensor[] }> {
  const { kind, blocks, factor, inChannels, layers } = config;
  return {
    inputs: {
      squares: { shape: [batch, height, width, inChannels * factor ** 2], dtype: "float32" },
    },
    forward(m, { squares }) {
      const adapter = m.at("adapter");
      let h = kind === "full" ? conv2d(adapter.at("conv_in"), squares, blocks[0]!.channels) : squares;
      const features = blocks.map((block, i) => {
        const x = block.halves ? halve(adapter.at("body", i), h) : h;
        h = (kind === "full" ? fullBlock : lightBlock)(adapter.at("body", i), x, block.channels, layers);
        return h;
      });
      return { features };
    },
  };
}

const fullBlock = layer((m: Module, x: Tensor, out: number, layers: number) => {
  let h = channels(x) === out ? x : conv2d(m.at("in_conv"), x, out, { size: 1 });
  for (let i = 0; i < layers; i++) h = residual(m.at("resnets", i), h, 1);
  return h;
});

/** Works on a quarter of the channels. */
const lightBlock = layer((m: Module, x: Tensor, out: number, layers: number) => {
  let h = conv2d(m.at("in_conv"), x, Math.floor(out / 4), { size: 1 });
  for (let i = 0; i < layers; i++) h = residual(m.at("resnets", i), h, 3);
  return conv2d(m.at("out_conv"), h, out, { size: 1 });
});

const residual = layer((m: Module, x: Tensor, size: number) => {
  const h = m.ops.activate(conv2d(m.at("block1"), x, channels(x)), "relu");
  return m.ops.add(conv2d(m.at("block2"), h, channels(x), { size }), x);
});

/** Means of 2x2 cells; where a side is odd, the last ones are means of what is there. */
const halve = layer((m: Module, x: Tensor) => {
  const { ops } = m;
  const along = (y: Tensor, axis: 1 | 2): Tensor => {
    const length = y.shape[axis]!;
    const even = length % 2 === 0 ? y : ops.concat([y, ops.split(y, length, axis).at(-1)!], axis);
    const shape = even.shape.map((side, i) => (i === axis ? side / 2 : side));
    const pairs = ops.reshape(even, [...shape.slice(0, axis + 1), 2, ...shape.slice(axis + 1)]);
    const [first, second] = ops.split(pairs, 2, axis + 1).map((part) => ops.reshape(part, shape));
    return ops.mul(ops.add(first!, second!), ops.constant([0.5], []));
  };
  return along(along(x, 1), 2);
});
