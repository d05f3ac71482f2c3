import { channels, conv2d } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";

/** SRVGGNetCompact (Wang et al. 2021, "Real-ESRGAN"): plain convolutions at the picture's own size. */
export interface SrvggConfig {
  readonly kind: "srvgg";
  readonly scale: number; // 4
  readonly features: number; // 64
  /** Between the first and the last. */
  readonly convolutions: number; // 16 or 32
}

export interface PictureSize {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

/** A picture [B, H, W, 3] in [0, 1]. */
export type Picture = { readonly image: Tensor };

/**
 * Gives `squares` [B, H, W, 3 * scale^2]: what is added to the nearest-neighbour enlargement, each pixel's square as
 * channels in PyTorch's order of PixelShuffle (colour, row, column).
 */
export function srvgg(
  { scale, features, convolutions }: SrvggConfig,
  { batch, height, width }: PictureSize,
): Network<Picture, { readonly squares: Tensor }> {
  return {
    inputs: { image: { shape: [batch, height, width, 3], dtype: "float32" } },
    forward(m, { image }) {
      const body = (i: number) => m.at("body", i);
      let h = image;
      for (let i = 0; i <= convolutions; i++) h = prelu(body(2 * i + 1), conv2d(body(2 * i), h, features));
      return { squares: conv2d(body(2 * (convolutions + 1)), h, 3 * scale ** 2) };
    },
  };
}

const prelu = layer((m: Module, x: Tensor) => m.ops.leakyRelu(x, m.get("weight", [channels(x)])));
