/**
 * From the names of the original latent-diffusion code, in which single files and some LoRAs are written, to those
 * of diffusers. Rules over the structure of a network: nothing here lists tensors.
 */

const renamed = (name: string, table: ReadonlyMap<string, string>): string => {
  for (const [from, to] of table) if (name.startsWith(`${from}.`)) return to + name.slice(from.length);
  return name;
};

const unetTop = new Map([
  ["time_embed.0", "time_embedding.linear_1"],
  ["time_embed.2", "time_embedding.linear_2"],
  ["time_embed.cond_proj", "time_embedding.cond_proj"],
  ["label_emb.0.0", "add_embedding.linear_1"],
  ["label_emb.0.2", "add_embedding.linear_2"],
  ["label_emb", "class_embedding"],
  ["input_blocks.0.0", "conv_in"],
  ["out.0", "conv_norm_out"],
  ["out.2", "conv_out"],
]);
const unetResnet = new Map([
  ["in_layers.0", "norm1"],
  ["in_layers.2", "conv1"],
  ["out_layers.0", "norm2"],
  ["out_layers.3", "conv2"],
  ["emb_layers.1", "time_emb_proj"],
  ["skip_connection", "conv_shortcut"],
]);
const middle = ["resnets.0", "attentions.0", "resnets.1"];

/**
 * A tensor of the UNet, without the prefix of its file; other names are returned as they are.
 *
 * The original numbers all blocks of the way down in one row: conv_in, then for each level its resnets (each with an
 * attention or not) and a downsampler, which the last level lacks; and likewise on the way up.
 *
 * @param layers resnets of each level on the way down; on the way up there is one more
 */
export function unetName(name: string, layers: readonly number[]): string {
  const [, side, block, part, rest] =
    /^(input|middle|output)_blocks?\.(\d+)\.(?:(\d+)\.)?(.+)$/.exec(name) ?? [];
  if (side === undefined || block === undefined || rest === undefined || name.startsWith("input_blocks.0."))
    return renamed(name, unetTop);
  if (side === "middle") return `mid_block.${middle[Number(block)]}.${renamed(rest, unetResnet)}`;
  const down = side === "input";
  // One more than resnets: on the way down a downsampler, on the way up one more resnet.
  const sizes = layers.map((count) => count + 1);
  if (!down) sizes.reverse();
  let [level, layer] = [0, Number(block) - (down ? 1 : 0)];
  while (level < sizes.length - 1 && layer >= sizes[level]!) layer -= sizes[level++]!;
  const at = `${down ? "down" : "up"}_blocks.${level}`;
  if (rest.startsWith("op.")) return `${at}.downsamplers.0.conv.${rest.slice(3)}`;
  if (rest.startsWith("conv.") && part !== "0") return `${at}.upsamplers.0.${rest}`;
  return part === "0"
    ? `${at}.resnets.${layer}.${renamed(rest, unetResnet)}`
    : `${at}.attentions.${layer}.${rest}`;
}

/**
 * A tensor of a ControlNet: the way down of a UNet, convolutions that began as zeros behind it, and those that bring the
 * picture to its size.
 *
 * @param layers as `unetName`
 * @param hints convolutions that the picture goes through
 */
export function controlNetName(name: string, layers: readonly number[], hints: number): string {
  const [, zero, rest] = /^zero_convs\.(\d+)\.0\.(.+)$/.exec(name) ?? [];
  if (zero !== undefined) return `controlnet_down_blocks.${zero}.${rest}`;
  if (name.startsWith("middle_block_out.0.")) return `controlnet_mid_block.${name.slice(19)}`;
  // Between two convolutions stands an activation, which is counted.
  const [, hint, part] = /^input_hint_block\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (hint === undefined) return unetName(name, layers);
  const at = Number(hint) / 2;
  const place = at === 0 ? "conv_in" : at === hints - 1 ? "conv_out" : `blocks.${at - 1}`;
  return `controlnet_cond_embedding.${place}.${part}`;
}

const vaeRules: readonly (readonly [RegExp, string])[] = [
  [/\bmid\.block_1\b/, "mid_block.resnets.0"],
  [/\bmid\.block_2\b/, "mid_block.resnets.1"],
  [/\bmid\.attn_1\b/, "mid_block.attentions.0"],
  [/\b(down_blocks|up_blocks)\.(\d+)\.block\b/, "$1.$2.resnets"],
  [/\b(down_blocks|up_blocks)\.(\d+)\.attn\b/, "$1.$2.attentions"],
  [/\bdownsample\.conv\b/, "downsamplers.0.conv"],
  [/\bupsample\.conv\b/, "upsamplers.0.conv"],
  [/\bnorm_out\b/, "conv_norm_out"],
  [/\bnin_shortcut\b/, "conv_shortcut"],
  [/(?<=attentions\.\d+\.)norm\b/, "group_norm"],
  [/(?<=attentions\.\d+\.)([qkv])\b/, "to_$1"],
  [/(?<=attentions\.\d+\.)proj_out\b/, "to_out.0"],
];

/**
 * A tensor of the VAE. The original counts the levels of the decoder from the image, diffusers from the latents.
 *
 * @param levels number of levels
 */
export function vaeName(name: string, levels: number): string {
  const counted = name
    .replace(/^encoder\.down\./, "encoder.down_blocks.")
    .replace(/^decoder\.up\.(\d+)/, (_, level) => `decoder.up_blocks.${levels - 1 - Number(level)}`);
  return vaeRules.reduce((result, [pattern, to]) => result.replace(pattern, to), counted);
}

const openClipTop = new Map([
  ["token_embedding", "embeddings.token_embedding"],
  ["ln_final", "final_layer_norm"],
]);
const openClipLayer = new Map([
  ["ln_1", "layer_norm1"],
  ["ln_2", "layer_norm2"],
  ["mlp.c_fc", "mlp.fc1"],
  ["mlp.c_proj", "mlp.fc2"],
  ["attn.out_proj", "self_attn.out_proj"],
]);

/** A tensor of OpenCLIP's text tower, but for its fused projections and its `text_projection`, which are no renamings. */
export function openClipName(name: string): string {
  if (name === "positional_embedding") return "text_model.embeddings.position_embedding.weight";
  const [, layer, rest] = /^transformer\.resblocks\.(\d+)\.(.+)$/.exec(name) ?? [];
  if (rest === undefined) return `text_model.${renamed(name, openClipTop)}`;
  return `text_model.encoder.layers.${layer}.${renamed(rest, openClipLayer)}`;
}
