import { z } from "zod";
import {
  count,
  firstOf,
  keysOf,
  layers,
  parse,
  perLevel,
  requireDivisible,
  requireLengths,
  sampleSize,
  silu,
} from "./config.js";
import type { UNet2DConfig } from "./unconditional.js";

const unet2dSchema = z.object({
  in_channels: count.default(3),
  out_channels: count.default(3),
  sample_size: sampleSize,
  block_out_channels: perLevel.default([224, 448, 672, 896]),
  down_block_types: z
    .array(z.enum(["DownBlock2D", "AttnDownBlock2D"]))
    .default(["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]),
  up_block_types: z
    .array(z.enum(["UpBlock2D", "AttnUpBlock2D"]))
    .default(["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]),
  layers_per_block: layers.default(2),
  attention_head_dim: z.union([count, z.null()]).default(8),
  add_attention: z.boolean().default(true),
  norm_num_groups: count.default(32),
  norm_eps: z.number().positive().default(1e-5),
  flip_sin_to_cos: z.boolean().default(true),
  freq_shift: z.number().default(0),
  downsample_padding: z.union([z.literal(0), z.literal(1)]).default(1),
  downsample_type: z.literal("conv").default("conv"),
  upsample_type: z.literal("conv").default("conv"),
  resnet_time_scale_shift: z.enum(["default", "scale_shift"]).default("default"),
  mid_block_type: z.literal("UNetMidBlock2D").default("UNetMidBlock2D"),
  time_embedding_dim: z.null().optional(),
  center_input_sample: z.boolean().default(false),
  time_embedding_type: z.literal("positional").default("positional"),
  class_embed_type: z.null().optional(),
  num_class_embeds: z.null().optional(),
  act_fn: silu,
  mid_block_scale_factor: z.literal(1).default(1),
  attn_norm_num_groups: z.null().optional(),
});

export const unet2dKeys = keysOf(unet2dSchema);

/** UNet2DModel; here attention_head_dim really is the width of a head, and null means one head. */
export function parseUNet2DConfig(json: unknown, file: string): UNet2DConfig {
  const c = parse(unet2dSchema, json, file);
  const levels = c.block_out_channels.length;
  requireLengths(file, levels, { down_block_types: c.down_block_types, up_block_types: c.up_block_types });
  requireDivisible(file, "norm_num_groups", c.block_out_channels, Array(levels).fill(c.norm_num_groups));
  return {
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    sampleSize: firstOf(c.sample_size) ?? 64,
    levels: c.block_out_channels.map((channels, i) => ({
      channels,
      layers: c.layers_per_block,
      attention: c.down_block_types[i] === "AttnDownBlock2D",
      heads: c.attention_head_dim === null ? 1 : Math.max(1, Math.floor(channels / c.attention_head_dim)),
    })),
    upAttention: c.up_block_types.map((type) => type === "AttnUpBlock2D"),
    midAttention: c.add_attention,
    normGroups: c.norm_num_groups,
    epsilon: c.norm_eps,
    flipSinToCos: c.flip_sin_to_cos,
    freqShift: c.freq_shift,
    downsamplePadding: c.downsample_padding,
    timeScaleShift: c.resnet_time_scale_shift === "scale_shift",
    centerInput: c.center_input_sample,
  };
}
