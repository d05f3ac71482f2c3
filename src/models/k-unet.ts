import { channels, conv2d, linear } from "../nn/basic.js";
import { kAttentionBlock, kDownsample, kResnetBlock, kUpsample } from "../nn/k-layers.js";
import { layer, type Module } from "../nn/module.js";
import type { Activation, Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";
import type { UNetSize } from "./unet.js";

/** One resolution on the way down or up. */
export interface KUNetBlock {
  readonly channels: number; // 384
  readonly layers: number; // 4
  readonly attention: "none" | "cross" | "self and cross";
}

/**
 * UNet2DConditionModel of K blocks: k-diffusion's UNet, of which Stable Diffusion's x2 latent upscaler is one. It has
 * no middle, one skip connection for each resolution but the lowest, and a time embedding from learned frequencies.
 */
export interface KUNetConfig {
  readonly inChannels: number; // 8: latents, and those that are enlarged
  readonly outChannels: number; // 5: latents, and a variance that is not used
  readonly sampleSize: number; // 128
  /** Of both ways, each in its own order: `up` begins at the lowest resolution. */
  readonly levels: readonly KUNetBlock[];
  readonly up: readonly (KUNetBlock & { readonly last: number })[];
  readonly crossAttentionDim: number; // 768
  readonly headWidth: number; // 64
  readonly epsilon: number; // 1e-5
  readonly activation: Activation;
  /** Width of the time embedding; half as many frequencies. */
  readonly timeWidth: number; // 768
  readonly flipSinToCos: boolean;
  /** Width of what the embedding is conditioned on: the noise level of the image, the pooled prompt. */
  readonly timeCondDim: number; // 896
}

/** The weight that holds the frequencies of the time embedding; `kTimeEmbedding` takes its values. */
export const frequenciesWeight = "time_proj.weight";

export type KUNetSize = Pick<UNetSize, "batch" | "height" | "width" | "tokens">;

export type KUNetInputs = {
  /** [B, H, W, I], H and W multiples of 2^(levels - 1), at least twice that. */
  readonly sample: Tensor;
  /** [B, timeWidth] (`kTimeEmbedding`) */
  readonly time: Tensor;
  /** [B, timeCondDim] */
  readonly timeCond: Tensor;
  /** [B, T, D] */
  readonly context: Tensor;
};

/** Gives `sample` [B, H, W, O]. */
export function kUnet(
  config: KUNetConfig,
  { batch, height, width, tokens }: KUNetSize,
): Network<KUNetInputs, { readonly sample: Tensor }> {
  const float = (...shape: number[]) => ({ shape, dtype: "float32" }) as const;
  return {
    inputs: {
      sample: float(batch, height, width, config.inChannels),
      time: float(batch, config.timeWidth),
      timeCond: float(batch, config.timeCondDim),
      context: float(batch, tokens, config.crossAttentionDim),
    },
    forward(m, given) {
      const context = given.context;
      const time = timeEmbedding(m.at("time_embedding"), given.time, given.timeCond, config);
      let h = conv2d(m.at("conv_in"), given.sample, config.levels[0]!.channels, { size: 1 });
      const skips: Tensor[] = [];
      config.levels.forEach((block, i) => {
        h = kBlock(m.at("down_blocks", i), h, time, context, config, { ...block, last: block.channels });
        if (i === config.levels.length - 1) return;
        skips.push(h);
        h = kDownsample(m.at("down_blocks", i), h);
      });
      config.up.forEach((block, i) => {
        const skip = i === 0 ? undefined : skips.pop()!;
        const joined = skip ? m.ops.concat([h, skip], 3) : h;
        h = kBlock(m.at("up_blocks", i), joined, time, context, config, block);
        if (i < config.up.length - 1) h = kUpsample(m.at("up_blocks", i), h);
      });
      return { sample: conv2d(m.at("conv_out"), h, config.outChannels, { size: 1 }) };
    },
  };
}

const timeEmbedding = layer((m: Module, time: Tensor, condition: Tensor, config: KUNetConfig) => {
  const { ops } = m;
  const { timeWidth, activation } = config;
  const given = ops.add(time, linear(m.at("cond_proj"), condition, channels(time), { bias: false }));
  const hidden = linear(m.at("linear_1"), given, timeWidth, { activation });
  return linear(m.at("linear_2"), hidden, timeWidth, { activation });
});

/** Resnets, each with its attention; the last one has `last` channels. */
const kBlock = layer(
  (
    m: Module,
    x: Tensor,
    time: Tensor,
    context: Tensor,
    { epsilon, activation, headWidth }: KUNetConfig,
    block: KUNetConfig["up"][number],
  ) => {
    let h = x;
    for (let i = 0; i < block.layers; i++) {
      const out = i === block.layers - 1 ? block.last : block.channels;
      h = kResnetBlock(m.at("resnets", i), h, time, out, { epsilon, activation, inner: block.channels });
      if (block.attention === "none") continue;
      const self = block.attention === "self and cross";
      h = kAttentionBlock(m.at("attentions", i), h, time, context, { headWidth, self });
    }
    return h;
  },
);

/**
 * Fourier features of noise levels [B] to [B, 2 * frequencies] (Tancik et al. 2020, with learned frequencies), rounded
 * to float32 after each operation as torch does.
 */
export function kTimeEmbedding(
  times: readonly number[],
  frequencies: Float32Array,
  { flipSinToCos }: Pick<KUNetConfig, "flipSinToCos">,
): Float32Array {
  const half = frequencies.length;
  const out = new Float32Array(times.length * 2 * half);
  times.forEach((time, row) => {
    frequencies.forEach((frequency, i) => {
      const angle = Math.fround(Math.fround(Math.fround(Math.fround(time) * frequency) * 2) * Math.PI);
      const [first, second] = flipSinToCos
        ? [Math.cos(angle), Math.sin(angle)]
        : [Math.sin(angle), Math.cos(angle)];
      out[row * 2 * half + i] = first;
      out[row * 2 * half + half + i] = second;
    });
  });
  return out;
}
