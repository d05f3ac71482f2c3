import { z } from "zod";
import { DiffusionError } from "../errors.js";
import {
  count,
  depth,
  firstOf,
  keysOf,
  layers,
  layersPerLevel,
  nullable,
  parse,
  perLevel,
  requireDivisible,
  requireLengths,
  sampleSize,
  silu,
  spread,
  unusable,
} from "./config.js";

/** One resolution of the UNet, as seen from the way down. */
export interface UNetLevel {
  readonly channels: number; // 320
  readonly layers: number; // 2
  readonly crossAttention: boolean;
  readonly heads: number; // 8
  /** Depth of the transformer behind each ResNet, as many as there are `layers` (one more on the way up). */
  readonly transformerLayers: readonly number[]; // 1, 1
  /** The first attention of each transformer block looks at the prompt, too (x4 upscaler). */
  readonly onlyCrossAttention: boolean;
}

/** UNet2DConditionModel; the numbers are those of unet/config.json, with its per-level lists brought together. */
export interface UNetConfig {
  readonly inChannels: number; // 4, or 9 for inpainting, 8 for InstructPix2Pix, 7 for the x4 upscaler
  readonly outChannels: number; // 4
  readonly sampleSize: number; // 64
  readonly levels: readonly UNetLevel[];
  /** Up blocks, last level first; they may differ from the way down in `crossAttention`. */
  readonly upCrossAttention: readonly boolean[];
  readonly upTransformerLayers: readonly (readonly number[])[];
  /**
   * A ResNet, a transformer of so many layers and a ResNet; one ResNet where there is no transformer (SSD-1B). Absent:
   * the way up begins where the way down ends (BK-SDM-Tiny).
   */
  readonly middle?: { readonly transformerLayers?: number };
  readonly crossAttentionDim: number; // 768
  readonly linearProjection: boolean;
  readonly normGroups: number; // 32
  readonly epsilon: number; // 1e-5
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
  readonly downsamplePadding: number;
  readonly timeScaleShift: boolean;
  /** Width of the guidance embedding (LCM). */
  readonly timeCondDim?: number; // 256
  /** Rows of the class table (the x4 upscaler's noise level). */
  readonly classes?: number; // 1000
  /** SDXL's size conditioning: width of one sinusoidal embedding, and of all that is projected. */
  readonly added?: { readonly timeWidth: number; readonly width: number }; // 256, 2816
}

/** Layers of a transformer: 0 is a transformer that only projects. */
/** For each level, and there for each ResNet. */
const depths = z
  .array(z.union([depth, z.array(depth).min(1).max(17)]))
  .min(1)
  .max(16);

const unetSchema = z.object({
  in_channels: count.default(4),
  out_channels: count.default(4),
  sample_size: sampleSize,
  block_out_channels: perLevel.default([320, 640, 1280, 1280]),
  down_block_types: z.array(z.enum(["CrossAttnDownBlock2D", "DownBlock2D"])).optional(),
  up_block_types: z.array(z.enum(["CrossAttnUpBlock2D", "UpBlock2D"])).optional(),
  // Null is a UNet without a middle, which absence is not.
  mid_block_type: z
    .enum(["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"])
    .nullable()
    .default("UNetMidBlock2DCrossAttn"),
  layers_per_block: z.union([layers, layersPerLevel]).default(2),
  attention_head_dim: z.union([count, perLevel]).default(8),
  num_attention_heads: nullable(z.union([count, perLevel])),
  transformer_layers_per_block: z.union([depth, depths]).default(1),
  reverse_transformer_layers_per_block: nullable(depths),
  cross_attention_dim: z.union([count, perLevel]).default(1280),
  only_cross_attention: z.union([z.boolean(), z.array(z.boolean())]).default(false),
  use_linear_projection: z.boolean().default(false),
  norm_num_groups: count.default(32),
  norm_eps: z.number().positive().default(1e-5),
  flip_sin_to_cos: z.boolean().default(true),
  freq_shift: z.number().default(0),
  downsample_padding: z.union([z.literal(0), z.literal(1)]).default(1),
  resnet_time_scale_shift: z.enum(["default", "scale_shift"]).default("default"),
  time_cond_proj_dim: nullable(count),
  num_class_embeds: nullable(count),
  class_embed_type: z.null().optional(),
  addition_embed_type: nullable(z.literal("text_time")),
  addition_time_embed_dim: nullable(count),
  projection_class_embeddings_input_dim: nullable(count),
  act_fn: silu,
  time_embedding_type: z.literal("positional").default("positional"),
  conv_in_kernel: z.literal(3).default(3),
  conv_out_kernel: z.literal(3).default(3),
  dual_cross_attention: z.literal(false).default(false),
  encoder_hid_dim: z.null().optional(),
  center_input_sample: z.literal(false).default(false),
  mid_block_scale_factor: z.literal(1).default(1),
  resnet_skip_time_act: z.literal(false).default(false),
  resnet_out_scale_factor: z.literal(1).default(1),
  time_embedding_dim: z.null().optional(),
  time_embedding_act_fn: z.null().optional(),
  timestep_post_act: z.null().optional(),
  cross_attention_norm: z.null().optional(),
  encoder_hid_dim_type: z.null().optional(),
  class_embeddings_concat: z.literal(false).default(false),
  attention_type: z.literal("default").default("default"),
});

export const unetKeys = keysOf(unetSchema);

/** UNet2DConditionModel. */
export function parseUNetConfig(json: unknown, file: string): UNetConfig {
  const c = parse(unetSchema, json, file);
  const levels = c.block_out_channels.length;
  const down = c.down_block_types ?? defaultBlocks(levels, "CrossAttnDownBlock2D", "DownBlock2D");
  const up = c.up_block_types ?? defaultBlocks(levels, "CrossAttnUpBlock2D", "UpBlock2D").reverse();
  // A naming accident of diffusers: in these configs attention_head_dim holds the number of heads.
  const heads = spread(c.num_attention_heads ?? c.attention_head_dim, levels);
  const layers = spread(c.layers_per_block, levels);
  const onlyCross = spread(c.only_cross_attention, levels);
  const context = spread(c.cross_attention_dim, levels);
  requireLengths(file, levels, {
    down_block_types: down,
    up_block_types: up,
    attention_head_dim: heads,
    layers_per_block: layers,
    only_cross_attention: onlyCross,
    cross_attention_dim: context,
  });
  if (context.some((width) => width !== context[0]))
    throw new DiffusionError(
      "UNSUPPORTED",
      `${file}: cross_attention_dim differs between levels [${context}]`,
    );
  const transformers = transformerLayers(c, layers, file);
  const config: UNetConfig = {
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    sampleSize: firstOf(c.sample_size) ?? 64,
    levels: c.block_out_channels.map((channels, i) => ({
      channels,
      layers: layers[i]!,
      crossAttention: down[i] === "CrossAttnDownBlock2D",
      heads: heads[i]!,
      transformerLayers: transformers.down[i]!,
      onlyCrossAttention: onlyCross[i]!,
    })),
    upCrossAttention: up.map((type) => type === "CrossAttnUpBlock2D"),
    upTransformerLayers: transformers.up,
    ...(c.mid_block_type && {
      middle:
        c.mid_block_type === "UNetMidBlock2D" ? {} : { transformerLayers: transformers.down.at(-1)![0]! },
    }),
    crossAttentionDim: context[0]!,
    linearProjection: c.use_linear_projection,
    normGroups: c.norm_num_groups,
    epsilon: c.norm_eps,
    flipSinToCos: c.flip_sin_to_cos,
    freqShift: c.freq_shift,
    downsamplePadding: c.downsample_padding,
    timeScaleShift: c.resnet_time_scale_shift === "scale_shift",
    ...(c.time_cond_proj_dim && { timeCondDim: c.time_cond_proj_dim }),
    ...(c.num_class_embeds && { classes: c.num_class_embeds }),
    ...(c.addition_embed_type && { added: addedEmbedding(c, file) }),
  };
  requireDivisible(file, "norm_num_groups", c.block_out_channels, Array(levels).fill(c.norm_num_groups));
  requireDivisible(file, "the number of heads", c.block_out_channels, heads);
  return config;
}

/** Depths of the transformers for each level and ResNet, those of the way up from the last level on. */
function transformerLayers(
  c: z.infer<typeof unetSchema>,
  layers: readonly number[],
  file: string,
): { readonly down: number[][]; readonly up: number[][] } {
  const given = spread(c.transformer_layers_per_block, layers.length);
  const reverse = c.reverse_transformer_layers_per_block;
  if (!reverse && given.some(Array.isArray))
    throw unusable(
      file,
      "transformer_layers_per_block has lists for the way down, which needs reverse_transformer_layers_per_block for the way up",
    );
  const upLayers = [...layers].reverse().map((count) => count + 1);
  return {
    down: eachLayer(given, layers, "transformer_layers_per_block", file),
    up: eachLayer(reverse ?? [...given].reverse(), upLayers, "reverse_transformer_layers_per_block", file),
  };
}

function eachLayer(
  levels: readonly (number | readonly number[])[],
  layers: readonly number[],
  key: string,
  file: string,
): number[][] {
  requireLengths(file, layers.length, { [key]: levels });
  return levels.map((depths, i) => {
    const all = spread(depths, layers[i]!);
    if (all.length !== layers[i])
      throw unusable(file, `${key}.${i} has ${all.length} entries for ${layers[i]} ResNets`);
    return all;
  });
}

function addedEmbedding(c: z.infer<typeof unetSchema>, file: string) {
  const [timeWidth, width] = [c.addition_time_embed_dim, c.projection_class_embeddings_input_dim];
  if (!timeWidth || !width)
    throw unusable(
      file,
      "addition_embed_type text_time needs addition_time_embed_dim and projection_class_embeddings_input_dim",
    );
  return { timeWidth, width };
}

const defaultBlocks = <T>(levels: number, most: T, last: T): T[] =>
  Array.from({ length: levels }, (_, i) => (i === levels - 1 ? last : most));
