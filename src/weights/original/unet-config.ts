import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import { count, dimension, type Family, isXl, type Part } from "./config.js";

interface UNetLevel {
  readonly channels: number;
  readonly resnets: number;
  /** Transformer layers behind each resnet; 0 where there is no attention. */
  readonly depths: readonly number[];
  /** The self-attention reads the text. */
  readonly onlyCross: boolean;
}

/** The levels of a UNet, read off the row of its blocks on the way down. */
export function unetLevels(part: Part): UNetLevel[] {
  const levels: UNetLevel[] = [];
  let resnets = 0;
  const blocks = count(part, "input_blocks.");
  for (let i = 1; i <= blocks; i++) {
    const isLast = i === blocks;
    const isDownsampler = part.has(`input_blocks.${i}.0.op.weight`);
    if (!isLast && !isDownsampler) resnets++;
    else {
      levels.push(levelBefore(part, i, resnets));
      resnets = 0;
    }
  }
  return levels;
}

const depthOf = (part: Part, block: string): number => count(part, `${block}.1.transformer_blocks.`);

function levelBefore(part: Part, end: number, resnets: number): UNetLevel {
  const blocks = Array.from({ length: resnets }, (_, i) => `input_blocks.${end - resnets + i}`);
  const last = blocks.at(-1) ?? `input_blocks.${end - 1}`;
  const channels = dimension(part, `${last}.0.out_layers.3.weight`, 0);
  const self = part.get(`${last}.1.transformer_blocks.0.attn1.to_k.weight`)?.shape[1];
  return {
    channels,
    resnets,
    depths: blocks.map((block) => depthOf(part, block)),
    onlyCross: self !== undefined && self !== channels,
  };
}

/**
 * Transformer layers of the way up, the last level first; distilled UNets have others there. A level has one resnet more
 * than on the way down.
 *
 * @throws DiffusionError UNSUPPORTED for other numbers of blocks
 */
function upDepths(part: Part, levels: readonly UNetLevel[]): (readonly number[])[] {
  const reversed = [...levels].reverse();
  const blocks = count(part, "output_blocks.");
  const expected = levels.reduce((sum, { resnets }) => sum + resnets + 1, 0);
  if (blocks !== expected)
    throw new DiffusionError(
      "UNSUPPORTED",
      `its UNet has ${blocks} blocks on the way up, where its way down of ${levels.map(({ resnets }) => resnets)} resnets asks for ${expected}`,
    );
  let at = 0;
  return reversed.map(({ resnets }) =>
    Array.from({ length: resnets + 1 }, () => depthOf(part, `output_blocks.${at++}`)),
  );
}

const hasAttention = (depths: readonly number[]): boolean => depths.some((depth) => depth > 0);

/** As diffusers writes it: one number where all are equal. */
function depthsInConfig(depths: readonly number[], otherwise: number): number | number[] {
  const [first = 0] = depths;
  if (!hasAttention(depths)) return otherwise;
  if (depths.includes(0))
    throw new DiffusionError(
      "UNSUPPORTED",
      `its UNet has attention behind some of the resnets of a level only (layers: ${depths})`,
    );
  return depths.every((depth) => depth === first) ? first : [...depths];
}

const firstAttention = (part: Part): string => {
  for (const name of part.keys()) {
    const [at] = /^input_blocks\.\d+\.1\.(?=transformer_blocks\.0\.)/.exec(name) ?? [];
    if (at !== undefined) return at;
  }
  throw new DiffusionError("MODEL_KIND", "its UNet has no attention to a text", {
    hint: "Only Stable Diffusion 1, 2, XL and their variants can be loaded from a single file.",
  });
};

/** Width of the text that a UNet attends to: 768 (Stable Diffusion 1), 1024 (2), 2048 (XL), 1280 (XL's refiner). */
export const contextWidth = (part: Part): number =>
  dimension(part, `${firstAttention(part)}transformer_blocks.0.attn2.to_k.weight`, 1);

/** Latents' width and height that the family was trained at. */
const sampleSizes: Record<Family, number> = {
  sd1: 64,
  sd2: 64,
  turbo: 64,
  sdxl: 128,
  refiner: 128,
  upscaler: 128,
};

/**
 * UNet2DConditionModel's configuration; also of distilled UNets (SSD-1B, Vega, BK-SDM), which have other depths on the
 * two ways, or no middle.
 *
 * @param pooledWidth width of SDXL's pooled text, the rest of its added embedding being six sizes (of the refiner: five)
 */
export function unetConfig(part: Part, family: Family, pooledWidth: number | undefined): JsonObject {
  const levels = unetLevels(part);
  const ups = upDepths(part, levels);
  const middle = depthOf(part, "middle_block");
  const hasMiddle = part.has("middle_block.0.in_layers.0.weight");
  const isLinear = part.get(`${firstAttention(part)}proj_in.weight`)?.shape.length === 2;
  const perHead = family !== "sd1" && family !== "upscaler";
  // A level without attention has no depth of its own; the middle goes by that of the last level.
  const depths = levels.map(({ depths }, i) =>
    depthsInConfig(depths, i === levels.length - 1 ? Math.max(1, middle) : 1),
  );
  const lastDepth = depths.at(-1);
  if (middle > 0 && middle !== lastDepth)
    throw new DiffusionError(
      "UNSUPPORTED",
      `its UNet has ${middle} transformer layers in the middle and ${String(lastDepth)} before; diffusers knows no such UNet`,
    );
  const up = ups.map((all, i) => depthsInConfig(all, symmetric(depths[levels.length - 1 - i]!)));
  const isSymmetric = up.every((depth, i) => depth === depths[levels.length - 1 - i]);
  return {
    _class_name: "UNet2DConditionModel",
    in_channels: dimension(part, "input_blocks.0.0.weight", 1),
    out_channels: dimension(part, "out.2.weight", 0),
    sample_size: sampleSizes[family],
    block_out_channels: levels.map(({ channels }) => channels),
    layers_per_block: levels.map(({ resnets }) => resnets),
    down_block_types: levels.map(({ depths }) =>
      hasAttention(depths) ? "CrossAttnDownBlock2D" : "DownBlock2D",
    ),
    mid_block_type: hasMiddle ? (middle > 0 ? "UNetMidBlock2DCrossAttn" : "UNetMidBlock2D") : null,
    up_block_types: ups.map((all) => (hasAttention(all) ? "CrossAttnUpBlock2D" : "UpBlock2D")),
    cross_attention_dim: contextWidth(part),
    transformer_layers_per_block: depths,
    ...(isSymmetric ? {} : { reverse_transformer_layers_per_block: up }),
    only_cross_attention: levels.map(({ onlyCross }) => onlyCross),
    use_linear_projection: isLinear,
    // diffusers' name for the number of heads: 8, later one for every 64 channels.
    attention_head_dim: perHead ? levels.map(({ channels }) => Math.max(1, channels / 64)) : 8,
    ...(part.has(scaleEmbedding) && { time_cond_proj_dim: dimension(part, scaleEmbedding, 1) }),
    ...labels(part, family, pooledWidth),
  };
}

/** Latent consistency models are told the guidance scale beside the time. */
export const scaleEmbedding = "time_embed.cond_proj.weight";

const symmetric = (depth: number | readonly number[]): number => (typeof depth === "number" ? depth : 1);

function labels(part: Part, family: Family, pooledWidth: number | undefined): JsonObject {
  const classes = part.get("label_emb.weight")?.shape[0];
  if (classes !== undefined) return { num_class_embeds: classes };
  const added = part.get("label_emb.0.0.weight")?.shape[1];
  if (added === undefined) return {};
  if (pooledWidth === undefined || !isXl(family))
    throw new DiffusionError(
      "UNSUPPORTED",
      "its UNet takes an added embedding that no text encoder here makes",
      {
        hint: "unCLIP models are not supported.",
      },
    );
  return {
    addition_embed_type: "text_time",
    addition_time_embed_dim: (added - pooledWidth) / (family === "refiner" ? 5 : 6),
    projection_class_embeddings_input_dim: added,
  };
}
