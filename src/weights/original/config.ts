import type { JsonObject } from "../../disk/json.js";
import { DiffusionError } from "../../errors.js";
import type { Tensors } from "../checkpoint.js";

/**
 * What a single file leaves out, its configuration, from the names and shapes of its tensors; and by family what no
 * shape tells: numbers of heads, scaling factors, schedules.
 */

/** "turbo" is Stable Diffusion 2 in the layout of XL's code (SD-Turbo), "upscaler" 2's times-4 one. */
export type Family = "sd1" | "sd2" | "turbo" | "sdxl" | "refiner" | "upscaler";

export const isXl = (family: Family): boolean => family === "sdxl" || family === "refiner";

/** The tensors of one network of the file, without its prefix. */
export type Part = Tensors;

export const dimension = (part: Part, name: string, axis: number): number => {
  const length = part.get(name)?.shape[axis];
  if (length === undefined)
    throw new DiffusionError("FILE_FORMAT", `expected a tensor ${name} with more than ${axis} dimensions`);
  return length;
};

/** Output channels of a ResNet block: those of its first convolution, and of the norm behind it. */
function channelsOf(part: Part, block: string): number {
  const [conv, norm] = [`${block}.conv1.weight`, `${block}.norm2.weight`];
  const [channels, behind] = [dimension(part, conv, 0), dimension(part, norm, 0)];
  if (channels !== behind)
    throw new DiffusionError(
      "FILE_FORMAT",
      `${conv} gives ${channels} channels, and ${norm} takes ${behind}`,
    );
  return channels;
}

/** How many of `prefix0.`, `prefix1.`, … there are, without a gap. */
export function count(part: Part, prefix: string): number {
  const found = new Set<number>();
  for (const name of part.keys())
    if (name.startsWith(prefix)) found.add(Number.parseInt(name.slice(prefix.length), 10));
  let n = 0;
  while (found.has(n)) n++;
  return n;
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
    ...(part.has("conv_in.weight") ? wayDown(part) : {}),
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

/**
 * The blocks of a ControlNet with diffusers' names: small ones have fewer transformers than the UNet that they are for,
 * and none in the middle. The way up, which only the UNet has, is left to the defaults.
 */
function wayDown(part: Part): JsonObject {
  const levels = Array.from({ length: count(part, "down_blocks.") }, (_, i) => `down_blocks.${i}.`);
  const depth = (block: string): number => count(part, `${block}attentions.0.transformer_blocks.`);
  const middle = depth("mid_block.");
  const isLast = (i: number): boolean => i === levels.length - 1;
  return {
    block_out_channels: levels.map((level) => channelsOf(part, `${level}resnets.0`)),
    layers_per_block: levels.map((level) => count(part, `${level}resnets.`)),
    down_block_types: levels.map((level) => (depth(level) > 0 ? "CrossAttnDownBlock2D" : "DownBlock2D")),
    mid_block_type: middle > 0 ? "UNetMidBlock2DCrossAttn" : "UNetMidBlock2D",
    // A level without attention has no depth of its own; the middle goes by that of the last.
    transformer_layers_per_block: levels.map((level, i) => depth(level) || (isLast(i) ? middle || 1 : 1)),
    up_block_types: levels.map((_, i) => (i === 0 ? "UpBlock2D" : "CrossAttnUpBlock2D")),
    reverse_transformer_layers_per_block: null,
  };
}

const scalingFactors: Record<Family, number> = {
  sd1: 0.18215,
  sd2: 0.18215,
  turbo: 0.18215,
  sdxl: 0.13025,
  refiner: 0.13025,
  upscaler: 0.08333,
};

/** Whether an autoencoder has diffusers' names. */
export const isDiffusersVae = (part: Part): boolean =>
  part.has("decoder.conv_in.weight") && part.has("encoder.down_blocks.0.resnets.0.conv1.weight");

/** AutoencoderKL's configuration, from names of the original or of diffusers. */
export function vaeConfig(part: Part, family: Family): JsonObject {
  const [level, resnet] = isDiffusersVae(part) ? ["down_blocks", "resnets"] : ["down", "block"];
  const levels = Array.from({ length: count(part, `encoder.${level}.`) }, (_, i) => i);
  return {
    _class_name: "AutoencoderKL",
    in_channels: dimension(part, "encoder.conv_in.weight", 1),
    out_channels: dimension(part, "decoder.conv_out.weight", 0),
    latent_channels: dimension(part, "decoder.conv_in.weight", 1),
    block_out_channels: levels.map((i) => channelsOf(part, `encoder.${level}.${i}.${resnet}.0`)),
    layers_per_block: count(part, `encoder.${level}.0.${resnet}.`),
    down_block_types: levels.map(() => "DownEncoderBlock2D"),
    up_block_types: levels.map(() => "UpDecoderBlock2D"),
    use_quant_conv: part.has("quant_conv.weight"),
    use_post_quant_conv: part.has("post_quant_conv.weight"),
    scaling_factor: scalingFactors[family],
    sample_size: isXl(family) ? 1024 : 512,
    force_upcast: isXl(family),
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
