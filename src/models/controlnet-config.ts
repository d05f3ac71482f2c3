import { z } from "zod";
import { count, keysOf, parse, perLevel, unusable } from "./config.js";
import type { ControlNetConfig } from "./controlnet.js";
import { parseUNetConfig } from "./unet-config.js";

const controlNetSchema = z.object({
  conditioning_channels: count.default(3),
  conditioning_embedding_out_channels: perLevel.default([16, 32, 96, 256]),
  controlnet_conditioning_channel_order: z.literal("rgb").default("rgb"),
  global_pool_conditions: z.boolean().default(false),
});

export const controlNetKeys = keysOf(controlNetSchema);

/** ControlNetModel: the keys of the UNet that it is half a copy of, and its own. */
export function parseControlNetConfig(json: unknown, file: string): ControlNetConfig {
  const c = parse(controlNetSchema, json, file);
  const unet = parseUNetConfig(withWayUp(json), file);
  if (!unet.middle) throw unusable(file, "mid_block_type is null, but a ControlNet has a middle");
  return {
    unet,
    conditioningChannels: c.conditioning_channels,
    embeddingChannels: c.conditioning_embedding_out_channels,
    globalPool: c.global_pool_conditions,
  };
}

/** A ControlNet has no way up, of which a UNet has to say more where its depths are lists. */
function withWayUp(json: unknown): unknown {
  const depths = (json as { transformer_layers_per_block?: unknown }).transformer_layers_per_block;
  if (!Array.isArray(depths) || !depths.some(Array.isArray)) return json;
  const up = depths.map((depth) => (Array.isArray(depth) ? depth[0] : depth)).reverse();
  return { ...(json as object), reverse_transformer_layers_per_block: up };
}
