import { z } from "zod";
import {
  count,
  firstOf,
  keysOf,
  layers,
  nullable,
  parse,
  perLevel,
  requireDivisible,
  sampleSize,
  silu,
  unusable,
} from "./config.js";
import type { TaesdConfig } from "./taesd.js";
import type { KlConfig } from "./vae.js";
import type { VqConfig } from "./vq.js";

export type VaeConfig = KlConfig | VqConfig | TaesdConfig;

/** What AutoencoderKL and VQModel have in common. */
const coderShape = {
  in_channels: count.default(3),
  out_channels: count.default(3),
  block_out_channels: perLevel.default([64]),
  layers_per_block: layers.default(1),
  norm_num_groups: count.default(32),
  mid_block_add_attention: z.boolean().default(true),
  scaling_factor: z.number().positive().default(0.18215),
  sample_size: sampleSize,
  down_block_types: z.array(z.literal("DownEncoderBlock2D")).optional(),
  up_block_types: z.array(z.literal("UpDecoderBlock2D")).optional(),
  act_fn: silu,
};

const klSchema = z.object({
  ...coderShape,
  latent_channels: count.default(4),
  use_quant_conv: z.boolean().default(true),
  use_post_quant_conv: z.boolean().default(true),
  shift_factor: nullable(z.number()),
  latents_mean: nullable(z.array(z.number())),
  latents_std: nullable(z.array(z.number().positive())),
});

/** AutoencoderKL. */
function parseKlConfig(json: unknown, file: string): KlConfig {
  const c = parse(klSchema, json, file);
  return {
    kind: "kl",
    ...coder(c, file),
    latentChannels: c.latent_channels,
    quantConv: c.use_quant_conv,
    postQuantConv: c.use_post_quant_conv,
    shiftFactor: c.shift_factor ?? 0,
    sampleSize: firstOf(c.sample_size) ?? 512,
    ...(c.latents_mean && { latentsMean: c.latents_mean }),
    ...(c.latents_std && { latentsStd: c.latents_std }),
  };
}

const vqSchema = z.object({
  ...coderShape,
  latent_channels: count.default(3),
  num_vq_embeddings: count.default(256),
  vq_embed_dim: nullable(count),
  norm_type: z.literal("group").default("group"),
  lookup_from_codebook: z.literal(false).default(false),
});

/** VQModel. */
function parseVqConfig(json: unknown, file: string): VqConfig {
  const c = parse(vqSchema, json, file);
  return {
    kind: "vq",
    ...coder(c, file),
    latentChannels: c.vq_embed_dim ?? c.latent_channels,
    innerChannels: c.latent_channels,
    codes: c.num_vq_embeddings,
    shiftFactor: 0,
    sampleSize: firstOf(c.sample_size) ?? 256,
  };
}

function coder(c: z.infer<z.ZodObject<typeof coderShape>>, file: string) {
  const levels = c.block_out_channels.length;
  requireDivisible(file, "norm_num_groups", c.block_out_channels, Array(levels).fill(c.norm_num_groups));
  return {
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    blockOutChannels: c.block_out_channels,
    layersPerBlock: c.layers_per_block,
    normGroups: c.norm_num_groups,
    midBlockAttention: c.mid_block_add_attention,
    scalingFactor: c.scaling_factor,
    factor: 2 ** (levels - 1),
  };
}

const stages = z.array(z.number().int().nonnegative().max(64)).min(1).max(16);
const tinySchema = z.object({
  in_channels: count.default(3),
  out_channels: count.default(3),
  encoder_block_out_channels: perLevel.default([64, 64, 64, 64]),
  decoder_block_out_channels: perLevel.default([64, 64, 64, 64]),
  num_encoder_blocks: stages.default([1, 3, 3, 3]),
  num_decoder_blocks: stages.default([3, 3, 3, 1]),
  act_fn: z.literal("relu").default("relu"),
  upsample_fn: z.literal("nearest").default("nearest"),
  upsampling_scaling_factor: z.literal(2).default(2),
  latent_channels: count.default(4),
  scaling_factor: z.number().positive().default(1),
  shift_factor: nullable(z.number()),
});

/** AutoencoderTiny. */
function parseTaesdConfig(json: unknown, file: string): TaesdConfig {
  const c = parse(tinySchema, json, file);
  const stagesOf = (widths: readonly number[], blocks: readonly number[], part: string) => {
    if (widths.length !== blocks.length)
      throw unusable(file, `num_${part}_blocks has ${blocks.length} entries for ${widths.length} stages`);
    if (widths.some((width) => width !== widths[0]))
      throw unusable(file, `${part}_block_out_channels differ [${widths}]`);
    return { width: widths[0]!, blocks };
  };
  const encoder = stagesOf(c.encoder_block_out_channels, c.num_encoder_blocks, "encoder");
  const decoder = stagesOf(c.decoder_block_out_channels, c.num_decoder_blocks, "decoder");
  if (encoder.blocks.length !== decoder.blocks.length)
    throw unusable(file, "encoder and decoder have different numbers of stages");
  return {
    kind: "tiny",
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    latentChannels: c.latent_channels,
    encoder,
    decoder,
    scalingFactor: c.scaling_factor,
    shiftFactor: c.shift_factor ?? 0,
    factor: 2 ** (encoder.blocks.length - 1),
    sampleSize: 512,
  };
}

/** The keys of each class that are looked at. */
export const vaeKeys = {
  AutoencoderKL: keysOf(klSchema),
  VQModel: keysOf(vqSchema),
  AutoencoderTiny: keysOf(tinySchema),
} as const;

const parsers = new Map<string, (json: unknown, file: string) => VaeConfig>([
  ["AutoencoderKL", parseKlConfig],
  ["VQModel", parseVqConfig],
  ["AutoencoderTiny", parseTaesdConfig],
]);

/** The autoencoder of any kind that is supported; `className` is diffusers' name for it. */
export function parseVaeConfig(json: unknown, className: string, file: string): VaeConfig {
  const parser = parsers.get(className);
  if (!parser) throw unusable(file, `its class ${className} is not one of ${[...parsers.keys()].join(", ")}`);
  return parser(json, file);
}
