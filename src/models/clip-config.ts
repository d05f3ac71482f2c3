import { z } from "zod";
import type { TextEncoderConfig } from "./clip.js";
import type { ImageEncoderConfig } from "./clip-vision.js";
import { count, keysOf, layers, parse, unusable } from "./config.js";

const clipSchema = z.object({
  architectures: z.array(z.string()).default([]),
  vocab_size: z.number().int().positive().max(10_000_000).default(49_408),
  hidden_size: count.default(512),
  intermediate_size: count.default(2048),
  num_hidden_layers: layers.default(12),
  num_attention_heads: count.default(8),
  max_position_embeddings: count.default(77),
  hidden_act: z.enum(["quick_gelu", "gelu", "gelu_new"]).default("quick_gelu"),
  layer_norm_eps: z.number().positive().default(1e-5),
  eos_token_id: z.number().int().nonnegative().default(49_407),
  projection_dim: count.default(512),
});

export const textEncoderKeys = keysOf(clipSchema);

/** transformers' names of activations, and ours. */
const activations = { quick_gelu: "quick_gelu", gelu: "gelu", gelu_new: "gelu_tanh" } as const;

/** CLIPTextModel, or CLIPTextModelWithProjection, the only one that holds the projection of the pooled output. */
export function parseTextEncoderConfig(json: unknown, file: string): TextEncoderConfig {
  const c = parse(clipSchema, json, file);
  if (c.hidden_size % c.num_attention_heads !== 0)
    throw unusable(
      file,
      `hidden_size ${c.hidden_size} does not divide into num_attention_heads ${c.num_attention_heads}`,
    );
  return {
    vocabularySize: c.vocab_size,
    width: c.hidden_size,
    innerWidth: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    maxPositions: c.max_position_embeddings,
    activation: activations[c.hidden_act],
    epsilon: c.layer_norm_eps,
    eosTokenId: c.eos_token_id,
    ...(c.architectures.includes("CLIPTextModelWithProjection") && { projection: c.projection_dim }),
  };
}

const visionSchema = z.object({
  hidden_size: count.default(768),
  intermediate_size: count.default(3072),
  num_hidden_layers: layers.default(12),
  num_attention_heads: count.default(12),
  image_size: count.default(224),
  patch_size: count.default(32),
  num_channels: z.literal(3).default(3),
  hidden_act: z.enum(["quick_gelu", "gelu", "gelu_new"]).default("quick_gelu"),
  layer_norm_eps: z.number().positive().default(1e-5),
  projection_dim: count.default(512),
});

export const imageEncoderKeys = keysOf(visionSchema);

/** CLIPVisionModelWithProjection. */
export function parseImageEncoderConfig(json: unknown, file: string): ImageEncoderConfig {
  const c = parse(visionSchema, json, file);
  if (c.hidden_size % c.num_attention_heads !== 0)
    throw unusable(
      file,
      `hidden_size ${c.hidden_size} does not divide into num_attention_heads ${c.num_attention_heads}`,
    );
  if (c.patch_size > c.image_size)
    throw unusable(file, `patch_size ${c.patch_size} is more than image_size ${c.image_size}`);
  return {
    width: c.hidden_size,
    innerWidth: c.intermediate_size,
    layers: c.num_hidden_layers,
    heads: c.num_attention_heads,
    imageSize: c.image_size,
    patchSize: c.patch_size,
    activation: activations[c.hidden_act],
    epsilon: c.layer_norm_eps,
    projection: c.projection_dim,
  };
}
