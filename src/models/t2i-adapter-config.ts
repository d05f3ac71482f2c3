import { z } from "zod";
import { count, keysOf, layers, parse, perLevel } from "./config.js";
import type { T2iAdapterConfig } from "./t2i-adapter.js";

const schema = z.object({
  in_channels: count.default(3),
  channels: perLevel.default([320, 640, 1280, 1280]),
  num_res_blocks: layers.default(2),
  downscale_factor: count.default(8),
  adapter_type: z.enum(["full_adapter", "full_adapter_xl", "light_adapter"]).default("full_adapter"),
});

export const t2iAdapterKeys = keysOf(schema);

/** T2IAdapter. */
export function parseT2iAdapterConfig(json: unknown, file: string): T2iAdapterConfig {
  const c = parse(schema, json, file);
  const last = c.channels.at(-1)!;
  const blocks = {
    full_adapter: c.channels.map((channels, i) => ({ channels, halves: i > 0 })),
    full_adapter_xl: c.channels.map((channels, i) => ({ channels, halves: i === 2 })),
    light_adapter: [...c.channels, last].map((channels, i) => ({ channels, halves: i > 0 })),
  }[c.adapter_type];
  return {
    kind: c.adapter_type === "light_adapter" ? "light" : "full",
    inChannels: c.in_channels,
    factor: c.downscale_factor,
    blocks,
    layers: c.num_res_blocks,
  };
}
