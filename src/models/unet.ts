import { conv2d, groupNorm, timestepEmbedding } from "../nn/basic.js";
import type { Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import type { Network, TensorSpec } from "./network.js";
import { type Context, downBlock, lastUpLayer, midBlock, upBlock } from "./unet-blocks.js";
import type { UNetConfig, UNetLevel } from "./unet-config.js";

export interface UNetSize {
  readonly batch: number;
  readonly height: number; // latent cells
  readonly width: number;
  readonly tokens: number; // of the context
  /** ControlNet's residuals are added to the skip connections and the middle. */
  readonly residuals?: boolean;
  /** Features of T2I-Adapters that are added on the way down: one for each level, and one for the middle of SDXL. */
  readonly features?: number;
  /** Tokens of each IP-Adapter's pictures. */
  readonly pictures?: readonly number[];
  /** Token merging in the self-attention of the first level that has some: the share of its tokens that is merged. */
  readonly mergeTokens?: number;
  /** DeepCache: also gives what the last layer of the way up begins with, or takes that and runs what is around it alone. */
  readonly deep?: "out" | "in";
}

/**
 * Inputs: `sample` [B, H, W, I]; `time` [B, channels of the first level], the sinusoidal embedding of the
 * timesteps; `context` [B, T, D]; by configuration `classLabels` [B], `timeCond` [B, timeCondDim] and `added`
 * [B, added.width] (pooled text, then the embedded sizes); with residuals `residual.0` … and `residual.mid`;
 * with features `feature.0` …; with pictures `picture.0` [B, tokens, D] and `picture.0.scale` [B, 1, 1] ….
 * Output: `sample` [B, H, W, O], and `deep` [B, H, W, channels of the first level] if the size asks for it.
 */
export function unet(config: UNetConfig, size: UNetSize): Network {
  const { batch, height, width, tokens } = size;
  const float = (...shape: number[]): TensorSpec => ({ shape, dtype: "float32" });
  const inputs: Record<string, TensorSpec> = {
    sample: float(batch, height, width, config.inChannels),
    time: float(batch, config.levels[0]!.channels),
    context: float(batch, tokens, config.crossAttentionDim),
  };
  if (config.classes) inputs.classLabels = { shape: [batch], dtype: "int32" };
  if (config.timeCondDim) inputs.timeCond = float(batch, config.timeCondDim);
  if (config.added) inputs.added = float(batch, config.added.width);
  size.pictures?.forEach((count, i) => {
    inputs[`picture.${i}`] = float(batch, count, config.crossAttentionDim);
    inputs[`picture.${i}.scale`] = float(batch, 1, 1);
  });
  if (size.deep === "in") return outermost(config, size, inputs);
  if (size.residuals) Object.assign(inputs, residualInputs(config, size));
  if (size.features) Object.assign(inputs, featureInputs(config, size));

  return {
    inputs,
    forward(m, given) {
      const time = timeEmbedding(m, given, config);
      const context = contextOf(given, size, config);
      const features = Array.from({ length: size.features ?? 0 }, (_, i) => given[`feature.${i}`]!);
      const { h, skips } = downPath(m, given.sample!, time, context, config, { features });
      if (size.residuals)
        skips.forEach((skip, i) => {
          skips[i] = m.ops.add(skip, given[`residual.${i}`]!);
        });
      let middle = midBlock(m.at("mid_block"), h, time, context, config);
      const last = features[config.levels.length];
      if (last) middle = m.ops.add(middle, last);
      if (size.residuals) middle = m.ops.add(middle, given["residual.mid"]!);
      if (!size.deep) return { sample: head(m, upPath(m, middle, skips, time, context, config), config) };
      const [first, ...others] = skips;
      const deep = upPath(m, middle, others, time, context, config);
      const block = m.at("up_blocks", config.levels.length - 1);
      const shallow = lastUpLayer(block, deep, first!, time, context, config);
      return { sample: head(m, shallow, config), deep };
    },
  };
}

/**
 * The shallow part of the UNet (DeepCache, Ma et al. 2023, branch 0): the first convolution, the layer of the way up
 * that joins it, and the head, on the `deep` [B, H, W, C] that the whole network gave before. Of residuals, it takes
 * the first.
 */
function outermost(config: UNetConfig, size: UNetSize, whole: Record<string, TensorSpec>): Network {
  const { batch, height, width } = size;
  const shape = [batch, height, width, config.levels[0]!.channels];
  const inputs = { ...whole, deep: { shape, dtype: "float32" } as const };
  return {
    inputs: size.residuals ? { ...inputs, "residual.0": inputs.deep } : inputs,
    forward(m, given) {
      const time = timeEmbedding(m, given, config);
      let skip = conv2d(m.at("conv_in"), given.sample!, shape[3]!);
      if (size.residuals) skip = m.ops.add(skip, given["residual.0"]!);
      const block = m.at("up_blocks", config.levels.length - 1);
      const h = lastUpLayer(block, given.deep!, skip, time, contextOf(given, size, config), config);
      return { sample: head(m, h, config) };
    },
  };
}

const contextOf = (
  given: Readonly<Record<string, Tensor>>,
  { pictures = [], mergeTokens: ratio, height, width }: UNetSize,
  { levels }: UNetConfig,
): Context => ({
  text: given.context!,
  ...(ratio !== undefined && { mergeTokens: { ...largestAttention({ height, width }, levels), ratio } }),
  pictures: pictures.map((_, i) => ({
    tokens: given[`picture.${i}`]!,
    scale: given[`picture.${i}.scale`]!,
  })),
});

/** The size at the first level that has attention. */
function largestAttention(size: { height: number; width: number }, levels: readonly UNetLevel[]) {
  let { height, width } = size;
  for (let i = 0; i < levels.findIndex(({ crossAttention }) => crossAttention); i++)
    [height, width] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  return { height, width };
}

/** Everything that the network is told besides the sample and the prompt, as one vector [B, 4 * channels]. */
export function timeEmbedding(
  m: Module,
  given: Readonly<Record<string, Tensor>>,
  config: UNetConfig,
): Tensor {
  const { ops } = m;
  const width = 4 * config.levels[0]!.channels;
  let time = timestepEmbedding(m.at("time_embedding"), given.time!, width, "silu", given.timeCond);
  if (config.classes) {
    const table = m.at("class_embedding").get("weight", [config.classes, width]);
    time = ops.add(time, ops.gather(table, given.classLabels!));
  }
  if (config.added)
    time = ops.add(time, timestepEmbedding(m.at("add_embedding"), given.added!, width, "silu"));
  return time;
}

/**
 * From the sample to the lowest resolution; `skips` are what the way up joins again, first to last. ControlNet adds
 * its `hint` to the first.
 */
export function downPath(
  m: Module,
  sample: Tensor,
  time: Tensor,
  context: Context,
  config: UNetConfig,
  { hint, features = [] }: { hint?: Tensor; features?: readonly Tensor[] } = {},
) {
  const { levels } = config;
  let h = conv2d(m.at("conv_in"), sample, levels[0]!.channels);
  if (hint) h = m.ops.add(h, hint);
  const skips = [h];
  levels.forEach((level, i) => {
    const outputs = downBlock(
      m.at("down_blocks", i),
      h,
      time,
      context,
      config,
      level,
      i === levels.length - 1,
      features[i],
    );
    skips.push(...outputs);
    h = outputs.at(-1)!;
  });
  return { h, skips };
}

function upPath(
  m: Module,
  x: Tensor,
  skips: Tensor[],
  time: Tensor,
  context: Context,
  config: UNetConfig,
): Tensor {
  const remaining = [...skips];
  let h = x;
  [...config.levels].reverse().forEach((level, i) => {
    const joined = remaining.splice(-(level.layers + 1)).reverse();
    const next = remaining.at(-1);
    const crossAttention = config.upCrossAttention[i]!;
    const up = { ...level, crossAttention, transformerLayers: config.upTransformerLayers[i]! };
    h = upBlock(m.at("up_blocks", i), h, joined, time, context, config, up, next);
  });
  return h;
}

const head = (m: Module, x: Tensor, config: UNetConfig): Tensor => {
  const options = { groups: config.normGroups, epsilon: config.epsilon, activation: "silu" } as const;
  return conv2d(m.at("conv_out"), groupNorm(m.at("conv_norm_out"), x, options), config.outChannels);
};

/** Where T2I-Adapters' features are added: at each level before its halving, without attention behind it; the middle. */
function featureInputs(
  config: UNetConfig,
  { batch, height, width, features = 0 }: UNetSize,
): Record<string, TensorSpec> {
  let [h, w] = [height, width];
  const shapes = config.levels.map(({ channels: c, crossAttention }, i) => {
    const before = [batch, h, w, c];
    if (i < config.levels.length - 1) [h, w] = [Math.ceil(h / 2), Math.ceil(w / 2)];
    return crossAttention ? before : [batch, h, w, c];
  });
  shapes.push([batch, h, w, config.levels.at(-1)!.channels]);
  return Object.fromEntries(
    shapes.slice(0, features).map((shape, i) => [`feature.${i}`, { shape, dtype: "float32" }]),
  );
}

/** The shapes of the skip connections, which ControlNet's residuals share. */
function residualInputs(config: UNetConfig, { batch, height, width }: UNetSize): Record<string, TensorSpec> {
  const shapes: number[][] = [[batch, height, width, config.levels[0]!.channels]];
  let [h, w] = [height, width];
  config.levels.forEach((level, i) => {
    for (let j = 0; j < level.layers; j++) shapes.push([batch, h, w, level.channels]);
    if (i === config.levels.length - 1) return;
    [h, w] = [Math.ceil(h / 2), Math.ceil(w / 2)];
    shapes.push([batch, h, w, level.channels]);
  });
  const named = shapes.map((shape, i) => [`residual.${i}`, { shape, dtype: "float32" }] as const);
  const mid = { shape: shapes.at(-1)!, dtype: "float32" } as const;
  return Object.fromEntries([...named, ["residual.mid", mid]]);
}
