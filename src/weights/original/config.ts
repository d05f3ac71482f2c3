import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";

/**
 * What a single file leaves out, its configuration, from the names and shapes of its tensors; and by family what no
 * shape tells: numbers of heads, scaling factors, schedules.
 */

/** "upscaler" is Stable Diffusion 2's times-4 one. */
export type Family = "sd1" | "sd2" | "sdxl" | "upscaler";

/** The tensors of one network of the file, without its prefix. */
export type Part = Tensors;

const dimension = (part: Part, name: string, axis: number): number => {
  const length = part.get(name)?.shape[axis];
  if (length === undefined)
    throw new DiffusionError("FILE_FORMAT", `expected a tensor ${name} with more than ${axis} dimensions`);
  return length;
};

/** How many of `prefix0.`, `prefix1.`, … there are, without a gap. */
export function count(part: Part, prefix: string): number {
  const found = new Set<number>();
  for (const name of part.keys())
    if (name.startsWith(prefix)) found.add(Number.parseInt(name.slice(prefix.length), 10));
  let n = 0;
  while (found.has(n)) n++;
  return n;
}

interface UNetLevel {
  readonly channels: number;
  readonly resnets: number;
  /** Layers of each attention, 0 where there is none. */
  readonly depth: number;
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

function levelBefore(part: Part, end: number, resnets: number): UNetLevel {
  const block = `input_blocks.${end - 1}`;
  const transformer = `${block}.1.transformer_blocks.`;
  const channels = dimension(part, `${block}.0.out_layers.3.weight`, 0);
  const self = part.get(`${transformer}0.attn1.to_k.weight`)?.shape[1];
  return {
    channels,
    resnets,
    depth: count(part, transformer),
    onlyCross: self !== undefined && self !== channels,
  };
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

const contextWidth = (part: Part): number =>
  dimension(part, `${firstAttention(part)}transformer_blocks.0.attn2.to_k.weight`, 1);

/** Latents' width and height that the family was trained at. */
const sampleSizes: Record<Family, number> = { sd1: 64, sd2: 64, sdxl: 128, upscaler: 128 };

/**
 * UNet2DConditionModel's configuration.
 *
 * @param pooledWidth width of SDXL's pooled text, the rest of its added embedding being six sizes
 */
export function unetConfig(part: Part, family: Family, pooledWidth: number | undefined): JsonObject {
  const levels = unetLevels(part);
  const isLinear = part.get(`${firstAttention(part)}proj_in.weight`)?.shape.length === 2;
  const down = levels.map(({ depth }) => (depth > 0 ? "CrossAttnDownBlock2D" : "DownBlock2D"));
  const perHead = family === "sd2" || family === "sdxl";
  return {
    _class_name: "UNet2DConditionModel",
    in_channels: dimension(part, "input_blocks.0.0.weight", 1),
    out_channels: dimension(part, "out.2.weight", 0),
    sample_size: sampleSizes[family],
    block_out_channels: levels.map(({ channels }) => channels),
    layers_per_block: levels.map(({ resnets }) => resnets),
    down_block_types: down,
    up_block_types: down.map((type) => type.replace("Down", "Up")).reverse(),
    cross_attention_dim: contextWidth(part),
    transformer_layers_per_block: levels.map(({ depth }) => Math.max(1, depth)),
    only_cross_attention: levels.map(({ onlyCross }) => onlyCross),
    use_linear_projection: isLinear,
    // diffusers' name for the number of heads: 8, later one for every 64 channels.
    attention_head_dim: perHead ? levels.map(({ channels }) => Math.max(1, channels / 64)) : 8,
    ...labels(part, pooledWidth),
  };
}

/** The convolutions that a ControlNet's picture goes through, in the original layout or in diffusers'. */
export function hintConvolutions(part: Part): (readonly number[])[] {
  const found: [place: number, shape: readonly number[]][] = [];
  for (const [name, { shape }] of part) {
    const [, original, block, end] =
      /^(?:input_hint_block\.(\d+)|controlnet_cond_embedding\.(?:blocks\.(\d+)|(conv_in|conv_out)))\.weight$/.exec(
        name,
      ) ?? [];
    if (original !== undefined) found.push([Number(original), shape]);
    else if (block !== undefined) found.push([Number(block), shape]);
    else if (end !== undefined) found.push([end === "conv_in" ? -1 : Number.POSITIVE_INFINITY, shape]);
  }
  return found.sort(([a], [b]) => a - b).map(([, shape]) => shape);
}

/**
 * ControlNetModel's configuration. It is half a copy of a UNet, so what no shape tells is as there.
 *
 * @param base the configuration of the UNet that it is for
 */
export function controlNetConfig(part: Part, base: JsonObject, globalPool: boolean): JsonObject {
  const [first, ...others] = hintConvolutions(part);
  const input = part.has("conv_in.weight") ? "conv_in.weight" : "input_blocks.0.0.weight";
  const text = [...part].find(([name]) => name.endsWith("attn2.to_k.weight"))?.[1].shape[1];
  return {
    ...base,
    _class_name: "ControlNetModel",
    in_channels: dimension(part, input, 1),
    ...(text === undefined ? {} : { cross_attention_dim: text }),
    time_cond_proj_dim: null,
    conditioning_channels: first?.[1] ?? 3,
    // Of the pairs between first and last, the second of each is wider; the last is as wide as the UNet.
    conditioning_embedding_out_channels: [first, ...others.filter((_, i) => i % 2 === 1)].flatMap((shape) =>
      shape ? [shape[0]!] : [],
    ),
    global_pool_conditions: globalPool,
  };
}

function labels(part: Part, pooledWidth: number | undefined): JsonObject {
  const classes = part.get("label_emb.weight")?.shape[0];
  if (classes !== undefined) return { num_class_embeds: classes };
  const added = part.get("label_emb.0.0.weight")?.shape[1];
  if (added === undefined) return {};
  if (pooledWidth === undefined)
    throw new DiffusionError(
      "UNSUPPORTED",
      "its UNet takes an added embedding that no text encoder here makes",
      {
        hint: "unCLIP models are not supported.",
      },
    );
  return {
    addition_embed_type: "text_time",
    addition_time_embed_dim: (added - pooledWidth) / 6,
    projection_class_embeddings_input_dim: added,
  };
}

const scalingFactors: Record<Family, number> = {
  sd1: 0.18215,
  sd2: 0.18215,
  sdxl: 0.13025,
  upscaler: 0.08333,
};

/** AutoencoderKL's configuration. */
export function vaeConfig(part: Part, family: Family): JsonObject {
  const levels = Array.from({ length: vaeLevels(part) }, (_, i) => i);
  return {
    _class_name: "AutoencoderKL",
    in_channels: dimension(part, "encoder.conv_in.weight", 1),
    out_channels: dimension(part, "decoder.conv_out.weight", 0),
    latent_channels: dimension(part, "decoder.conv_in.weight", 1),
    block_out_channels: levels.map((i) => dimension(part, `encoder.down.${i}.block.0.conv1.weight`, 0)),
    layers_per_block: count(part, "encoder.down.0.block."),
    down_block_types: levels.map(() => "DownEncoderBlock2D"),
    up_block_types: levels.map(() => "UpDecoderBlock2D"),
    use_quant_conv: part.has("quant_conv.weight"),
    use_post_quant_conv: part.has("post_quant_conv.weight"),
    scaling_factor: scalingFactors[family],
    sample_size: family === "sdxl" ? 1024 : 512,
    force_upcast: family === "sdxl",
  };
}

export const vaeLevels = (part: Part): number => count(part, "encoder.down.");

/** Width of a head, the same in every CLIP text tower in use. */
const clipHead = 64;

/** CLIPTextModel's configuration, from today's names of its tensors. */
export function clipConfig(part: Part, { openClip }: { openClip: boolean }): JsonObject {
  const embeddings = "text_model.embeddings";
  const [vocabulary, width] = [0, 1].map((axis) =>
    dimension(part, `${embeddings}.token_embedding.weight`, axis),
  );
  const projection = part.get("text_projection.weight")?.shape[0];
  return {
    architectures: [projection === undefined ? "CLIPTextModel" : "CLIPTextModelWithProjection"],
    vocab_size: vocabulary!,
    hidden_size: width!,
    intermediate_size: dimension(part, "text_model.encoder.layers.0.mlp.fc1.weight", 0),
    num_hidden_layers: count(part, "text_model.encoder.layers."),
    num_attention_heads: Math.max(1, width! / clipHead),
    max_position_embeddings: dimension(part, `${embeddings}.position_embedding.weight`, 0),
    hidden_act: openClip ? "gelu" : "quick_gelu",
    eos_token_id: vocabulary! - 1,
    ...(projection === undefined ? {} : { projection_dim: projection }),
  };
}

export type Prediction = "epsilon" | "v_prediction";

const betas = {
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  num_train_timesteps: 1000,
};

/** The scheduler that the family is published with. */
export function schedulerConfig(
  family: Family,
  pipeline: string,
  prediction: Prediction,
  zeroTerminalSnr: boolean,
): JsonObject {
  const common = { ...betas, prediction_type: prediction, steps_offset: 1, clip_sample: false };
  const zeroSnr = zeroTerminalSnr ? { rescale_betas_zero_snr: true, timestep_spacing: "trailing" } : {};
  if (family === "sdxl")
    return { _class_name: "EulerDiscreteScheduler", ...common, timestep_spacing: "leading", ...zeroSnr };
  if (family === "upscaler")
    return {
      _class_name: "DDIMScheduler",
      ...common,
      beta_start: 0.0001,
      beta_end: 0.02,
      set_alpha_to_one: false,
    };
  if (pipeline === "StableDiffusionInstructPix2PixPipeline")
    return { _class_name: "EulerAncestralDiscreteScheduler", ...common, ...zeroSnr };
  if (prediction === "v_prediction" || pipeline === "StableDiffusionInpaintPipeline")
    return { _class_name: "DDIMScheduler", ...common, set_alpha_to_one: false, ...zeroSnr };
  return { _class_name: "PNDMScheduler", ...common, set_alpha_to_one: false, skip_prk_steps: true };
}

/** The upscaler's second schedule: the noise that the small image gets. */
export const lowResScheduler: JsonObject = {
  _class_name: "DDPMScheduler",
  ...betas,
  beta_start: 0.0001,
  beta_end: 0.02,
};
