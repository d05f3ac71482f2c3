import { layerNorm, linear } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network } from "./network.js";

/**
 * What an IP-Adapter (Ye et al. 2023) makes of an encoded picture: a few tokens as wide as the prompt's.
 * - "plain": the pooled embedding, projected to all tokens at once
 * - "resampler" ("plus"): learned queries that look at the picture's tokens, as in Flamingo (Alayrac et al. 2022)
 * - "full": each of the picture's tokens by itself
 */
export type ImageProjectionConfig = {
  /** Width of what comes in. */
  readonly embedding: number; // 1024
  /** How many tokens come out, and how wide. */
  readonly tokens: number; // 4
  readonly width: number; // 768
} & (
  | { readonly kind: "plain" | "full" }
  | {
      readonly kind: "resampler";
      readonly innerWidth: number; // 768
      readonly layers: number; // 4
      readonly heads: number; // 12, of 64 channels each
      readonly feedForward: number; // 3072
    }
);

/** Channels of one head of the resampler, fixed in all published ones. */
export const resamplerHeadWidth = 64;

/** diffusers' and the original's norms leave torch's default. */
const epsilon = 1e-5;

export type ImageProjectionInputs = {
  /** [B, E] for the plain kind, else [B, T, E]. */
  readonly embedding: Tensor;
};

/**
 * Gives `tokens` [B, tokens, width]. Names are those below `image_proj.` in the file, save `latent_embedding` for
 * `latents` (adapters/ip-adapter.ts).
 */
export function imageProjection(
  config: ImageProjectionConfig,
  { batch, length }: ImageProjectionSize,
): Network<ImageProjectionInputs, { readonly tokens: Tensor }> {
  const { kind, embedding, tokens, width } = config;
  const shape = kind === "plain" ? [batch, embedding] : [batch, length, embedding];
  return {
    inputs: { embedding: { shape, dtype: "float32" } },
    forward(m, given) {
      const x = given.embedding;
      if (config.kind === "resampler") return { tokens: resampler(m, x, config) };
      if (kind === "full") {
        const inner = linear(m.at("proj", 0), x, embedding, { activation: "gelu" });
        return { tokens: layerNorm(m.at("proj", 3), linear(m.at("proj", 2), inner, width), epsilon) };
      }
      const all = m.ops.reshape(linear(m.at("proj"), x, tokens * width), [batch, tokens, width]);
      return { tokens: layerNorm(m.at("norm"), all, epsilon) };
    },
  };
}

export interface ImageProjectionSize {
  readonly batch: number;
  /** Tokens of the encoded picture; without meaning for the plain kind. */
  readonly length: number;
}

type ResamplerConfig = Extract<ImageProjectionConfig, { kind: "resampler" }>;

function resampler(m: Module, picture: Tensor, config: ResamplerConfig): Tensor {
  const { ops } = m;
  const { tokens, innerWidth, layers, width } = config;
  const x = linear(m.at("proj_in"), picture, innerWidth);
  const table = m.get("latent_embedding", [tokens, innerWidth]);
  const batch = picture.shape[0]!;
  const rows = Array.from({ length: batch * tokens }, (_, i) => i % tokens);
  let queries = ops.gather(table, ops.constant(rows, [batch, tokens], "int32"));
  for (let i = 0; i < layers; i++) {
    const [look, feed] = [m.at("layers", i, 0), m.at("layers", i, 1)];
    queries = ops.add(perceiverAttention(look, x, queries, config.heads), queries);
    queries = ops.add(plainFeedForward(feed, queries, config.feedForward), queries);
  }
  return layerNorm(m.at("norm_out"), linear(m.at("proj_out"), queries, width), epsilon);
}

/** The queries look at the picture and at each other. */
const perceiverAttention = layer((m: Module, x: Tensor, queries: Tensor, heads: number) => {
  const { ops } = m;
  const width = x.shape.at(-1)!;
  const inner = heads * resamplerHeadWidth;
  const own = layerNorm(m.at("norm2"), queries, epsilon);
  const all = ops.concat([layerNorm(m.at("norm1"), x, epsilon), own], 1);
  const q = linear(m.at("to_q"), own, inner, { bias: false });
  const pair = ops.split(m.at("to_kv").get("weight", [width, 2 * inner]), 2, 1);
  const [k, v] = pair.map((weight) => ops.linear(all, weight)) as [Tensor, Tensor];
  return linear(m.at("to_out"), ops.attention(q, k, v, { heads }), width, { bias: false });
});

const plainFeedForward = layer((m: Module, x: Tensor, inner: number) => {
  const h = linear(m.at(1), layerNorm(m.at(0), x, epsilon), inner, { bias: false, activation: "gelu" });
  return linear(m.at(3), h, x.shape.at(-1)!, { bias: false });
});
