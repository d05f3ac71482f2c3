import { spatialSelfAttention } from "../nn/attention.js";
import { channels, conv2d, groupNorm, timestepEmbedding } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import { downsample, type ResnetOptions, resnetBlock, upsample } from "../nn/resnet.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";

export interface UNet2DLevel {
  readonly channels: number; // 128
  readonly layers: number; // 2
  readonly attention: boolean;
  readonly heads: number;
}

/** UNet2DModel, without a prompt; the numbers are those of unet/config.json. */
export interface UNet2DConfig {
  readonly inChannels: number; // 3, or 6 for LDM super-resolution
  readonly outChannels: number; // 3
  readonly sampleSize: number; // 64
  readonly levels: readonly UNet2DLevel[];
  /** Up blocks, last level first. */
  readonly upAttention: readonly boolean[];
  readonly midAttention: boolean;
  readonly normGroups: number; // 32
  readonly epsilon: number; // 1e-5; google/ddpm-*: 1e-6
  readonly flipSinToCos: boolean; // google/ddpm-*: false
  readonly freqShift: number; // google/ddpm-*: 1
  readonly downsamplePadding: number; // google/ddpm-*: 0
  readonly timeScaleShift: boolean;
  readonly centerInput: boolean;
}

export interface UNet2DSize {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

export type UNet2DInputs = {
  /** [B, H, W, I], H and W multiples of 2^(levels - 1). */
  readonly sample: Tensor;
  /** [B, channels of the first level], the sinusoidal embedding of the timesteps. */
  readonly time: Tensor;
};

/** Gives `sample` [B, H, W, O]. */
export function unconditionalUNet(
  config: UNet2DConfig,
  { batch, height, width }: UNet2DSize,
): Network<UNet2DInputs, { readonly sample: Tensor }> {
  const first = config.levels[0]!.channels;
  return {
    inputs: {
      sample: { shape: [batch, height, width, config.inChannels], dtype: "float32" },
      time: { shape: [batch, first], dtype: "float32" },
    },
    forward(m, given) {
      const { ops } = m;
      const time = timestepEmbedding(m.at("time_embedding"), given.time, 4 * first, "silu");
      const sample = config.centerInput
        ? ops.sub(ops.mul(given.sample, ops.constant([2], [])), ops.constant([1], []))
        : given.sample;
      let h = conv2d(m.at("conv_in"), sample, first);
      const skips = [h];
      config.levels.forEach((level, i) => {
        const outputs = downBlock(
          m.at("down_blocks", i),
          h,
          time,
          config,
          level,
          i === config.levels.length - 1,
        );
        skips.push(...outputs);
        h = outputs.at(-1)!;
      });
      h = midBlock(m.at("mid_block"), h, time, config);
      [...config.levels].reverse().forEach((level, i) => {
        const joined = skips.splice(-(level.layers + 1)).reverse();
        const up = { ...level, attention: config.upAttention[i]! };
        h = upBlock(m.at("up_blocks", i), h, joined, time, config, up, i === config.levels.length - 1);
      });
      const options = { groups: config.normGroups, epsilon: config.epsilon, activation: "silu" } as const;
      return {
        sample: conv2d(m.at("conv_out"), groupNorm(m.at("conv_norm_out"), h, options), config.outChannels),
      };
    },
  };
}

export const downBlock = layer(
  (m: Module, x: Tensor, time: Tensor, config: UNet2DConfig, level: UNet2DLevel, last: boolean) => {
    const outputs: Tensor[] = [];
    let h = x;
    for (let i = 0; i < level.layers; i++) {
      h = resnetBlock(m.at("resnets", i), h, time, level.channels, resnetOptions(config));
      if (level.attention) h = attention(m.at("attentions", i), h, config, level);
      outputs.push(h);
    }
    if (!last) outputs.push(downsample(m.at("downsamplers", 0), h, config.downsamplePadding));
    return outputs;
  },
);

export const midBlock = layer((m: Module, x: Tensor, time: Tensor, config: UNet2DConfig) => {
  const h = resnetBlock(m.at("resnets", 0), x, time, channels(x), resnetOptions(config));
  const mixed = config.midAttention ? attention(m.at("attentions", 0), h, config, config.levels.at(-1)!) : h;
  return resnetBlock(m.at("resnets", 1), mixed, time, channels(x), resnetOptions(config));
});

export const upBlock = layer(
  (
    m: Module,
    x: Tensor,
    skips: readonly Tensor[],
    time: Tensor,
    config: UNet2DConfig,
    level: UNet2DLevel,
    last: boolean,
  ) => {
    let h = x;
    skips.forEach((skip, i) => {
      h = m.ops.concat([h, skip], 3);
      h = resnetBlock(m.at("resnets", i), h, time, level.channels, resnetOptions(config));
      if (level.attention) h = attention(m.at("attentions", i), h, config, level);
    });
    return last ? h : upsample(m.at("upsamplers", 0), h, 2 * h.shape[1]!, 2 * h.shape[2]!);
  },
);

const attention = (
  m: Module,
  x: Tensor,
  { normGroups, epsilon }: UNet2DConfig,
  { heads }: UNet2DLevel,
): Tensor => spatialSelfAttention(m, x, { heads, groups: normGroups, epsilon });

const resnetOptions = ({ normGroups, epsilon, timeScaleShift }: UNet2DConfig): ResnetOptions => ({
  groups: normGroups,
  epsilon,
  timeScaleShift,
});
