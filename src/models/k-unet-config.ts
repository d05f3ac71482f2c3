import { z } from "zod";
import {
  count,
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
  spread,
  unusable,
} from "./config.js";
import type { KUNetBlock, KUNetConfig } from "./k-unet.js";

/** Keys that have one value in the K blocks of diffusers are named, so that another value is refused. */
const schema = z.object({
  in_channels: count,
  out_channels: count,
  sample_size: sampleSize,
  block_out_channels: perLevel,
  down_block_types: z.array(z.enum(["KDownBlock2D", "KCrossAttnDownBlock2D"])),
  up_block_types: z.array(z.enum(["KUpBlock2D", "KCrossAttnUpBlock2D"])),
  mid_block_type: z.null().optional(),
  layers_per_block: z.union([layers, layersPerLevel]).default(2),
  attention_head_dim: count,
  num_attention_heads: z.null().optional(),
  cross_attention_dim: count,
  norm_num_groups: z.null().optional(),
  norm_eps: z.number().positive().default(1e-5),
  act_fn: z.enum(["gelu", "silu"]),
  time_embedding_type: z.literal("fourier"),
  time_embedding_dim: nullable(count),
  timestep_post_act: z.string(),
  time_cond_proj_dim: count,
  flip_sin_to_cos: z.boolean().default(true),
  conv_in_kernel: z.literal(1),
  conv_out_kernel: z.literal(1),
  class_embed_type: z.null().optional(),
  num_class_embeds: z.null().optional(),
  addition_embed_type: z.null().optional(),
  center_input_sample: z.literal(false).default(false),
});

/** Whether a UNet2DConditionModel is made of K blocks. */
export const kUNetKeys = keysOf(schema);

export const hasKBlocks = (json: unknown): boolean => {
  const types = (json as { down_block_types?: unknown }).down_block_types;
  return Array.isArray(types) && types.some((type) => typeof type === "string" && /^K[A-Z]/.test(type));
};

/** UNet2DConditionModel of K blocks. */
export function parseKUNetConfig(json: unknown, file: string): KUNetConfig {
  const c = parse(schema, json, file);
  const widths = c.block_out_channels;
  const levels = widths.length;
  const layers = spread(c.layers_per_block, levels);
  requireLengths(file, levels, {
    down_block_types: c.down_block_types,
    up_block_types: c.up_block_types,
    layers_per_block: layers,
  });
  if (c.timestep_post_act !== c.act_fn)
    throw unusable(file, `timestep_post_act ${c.timestep_post_act} is not act_fn ${c.act_fn}`);
  requireDivisible(file, "the group size", widths, Array(levels).fill(32));
  requireDivisible(file, "attention_head_dim", widths, Array(levels).fill(c.attention_head_dim));
  const timeWidth = c.time_embedding_dim ?? 2 * widths[0]!;
  if (c.down_block_types.at(-1) !== "KCrossAttnDownBlock2D")
    throw unusable(file, "the last of down_block_types must be KCrossAttnDownBlock2D");
  const down = widths.map((channels, i): KUNetBlock => {
    const own = c.down_block_types[i] === "KDownBlock2D" ? "none" : "cross";
    // The lowest resolution also looks at itself.
    const attention = own === "cross" && i === levels - 1 ? "self and cross" : own;
    return { channels, layers: layers[i]!, attention };
  });
  return {
    inChannels: c.in_channels,
    outChannels: c.out_channels,
    sampleSize: firstOf(c.sample_size) ?? 64,
    levels: down,
    up: upBlocks(c, layers, timeWidth, file),
    crossAttentionDim: c.cross_attention_dim,
    headWidth: c.attention_head_dim,
    epsilon: c.norm_eps,
    activation: c.act_fn,
    timeWidth,
    flipSinToCos: c.flip_sin_to_cos,
    timeCondDim: c.time_cond_proj_dim,
  };
}

/**
 * The way up is derived from widths in diffusers: a block as wide as the next one and as the time embedding is taken for
 * the first, which joins no skip connection. Configs in which that is another block than the first are refused there
 * (shapes do not fit) and here.
 */
function upBlocks(c: z.infer<typeof schema>, layers: readonly number[], timeWidth: number, file: string) {
  const widths = [...c.block_out_channels].reverse();
  const next = (i: number) => widths[Math.min(i + 1, widths.length - 1)]!;
  return widths.map((channels, i): KUNetConfig["up"][number] => {
    const crosses = c.up_block_types[i] === "KCrossAttnUpBlock2D";
    const isFirst = crosses && channels === next(i) && channels === timeWidth;
    if (isFirst !== (i === 0))
      throw unusable(file, `block_out_channels [${c.block_out_channels}] do not make a K UNet`);
    const attention = !crosses ? "none" : isFirst ? "self and cross" : "cross";
    return { channels, layers: [...layers].reverse()[i]!, attention, last: next(i) };
  });
}
