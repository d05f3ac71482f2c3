import { DiffusionError } from "../errors.js";
import type { UNetConfig } from "./unet-config.js";

/** Paths of the transformer blocks that look at themselves first: mid_block.attentions.0.transformer_blocks.0, … */
export function selfAttentions(config: UNetConfig): string[] {
  const blocks = (place: string, depth: number) =>
    Array.from({ length: depth }, (_, i) => `${place}.transformer_blocks.${i}`);
  const down = config.levels.flatMap(({ crossAttention, onlyCrossAttention, transformerLayers }, i) =>
    crossAttention && !onlyCrossAttention
      ? transformerLayers.flatMap((depth, j) => blocks(`down_blocks.${i}.attentions.${j}`, depth))
      : [],
  );
  const up = [...config.levels]
    .reverse()
    .flatMap(({ onlyCrossAttention }, i) =>
      config.upCrossAttention[i] && !onlyCrossAttention
        ? config.upTransformerLayers[i]!.flatMap((depth, j) =>
            blocks(`up_blocks.${i}.attentions.${j}`, depth),
          )
        : [],
    );
  return [...down, ...blocks("mid_block.attentions.0", config.middle?.transformerLayers ?? 0), ...up];
}

/** Short for all that lies on the way down, in the middle, on the way up. */
const short: Readonly<Record<string, string>> = { down: "down_blocks", mid: "mid_block", up: "up_blocks" };

/**
 * The blocks that some names stand for: paths, or their beginnings (down_blocks.1, mid_block), or down, mid and up.
 *
 * @throws DiffusionError BAD_OPTION for a name that stands for none
 */
export function selectedSelfAttentions(config: UNetConfig, names: readonly string[]): string[] {
  const all = selfAttentions(config);
  const selected = new Set<string>();
  for (const name of names) {
    const start = short[name] ?? name;
    const found = all.filter((path) => path === start || path.startsWith(`${start}.`));
    if (found.length === 0) {
      const places = [...new Set(all.map((path) => path.split(".transformer_blocks")[0]!))];
      throw new DiffusionError("BAD_OPTION", `layers: the UNet has no self-attention in ${name}`, {
        hint: `there are down, mid, up, and ${places.join(", ")}`,
      });
    }
    for (const path of found) selected.add(path);
  }
  return [...selected];
}
