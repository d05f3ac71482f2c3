import type { PictureTokens } from "../nn/attention.js";
import { conv2d, groupNorm, repeated, timestepEmbedding } from "../nn/basic.js";
import type { Module } from "../nn/module.js";
import type { Tensor } from "../ops/ops.js";
import { type FreeU, joinFactors } from "./freeu.js";
import type { Network } from "./network.js";
import { type Context, downBlock, lastUpLayer, midBlock, upBlock } from "./unet-blocks.js";
import type { UNetConfig, UNetLevel } from "./unet-config.js";

export interface UNetSize {
  readonly batch: number;
  /**
   * Both halves of the batch have the same sample, time and conditions other than the prompt: the sample is given once, and
   * what comes before the first look at the prompt is computed once.
   */
  readonly sharedSample?: boolean;
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
  /** Factors of the up blocks. */
  readonly freeu?: FreeU;
  /** Paths of the transformer blocks in which self-attention is the identity (`selfAttentions`). */
  readonly perturbed?: readonly string[];
  /** DeepCache: also gives what the last layer of the way up begins with, or takes that and runs only what is around it. */
  readonly deep?: "out" | "in";
}

export type UNetInputs = {
  /** [B, H, W, I], or half of the rows where the size says that they are shared */
  readonly sample: Tensor;
  /** [B, channels of the first level], the sinusoidal embedding of the timesteps. */
  readonly time: Tensor;
  /** [B, T, D] */
  readonly context: Tensor;
  /** Int32 [B], where there are `classes`. */
  readonly classLabels?: Tensor;
  /** [B, timeCondDim] */
  readonly timeCond?: Tensor;
  /** [B, added.width]: the pooled text, then the embedded sizes. */
  readonly added?: Tensor;
  /** Of each IP-Adapter. */
  readonly pictures?: readonly PictureTokens[];
  /** One for each skip connection, and last the middle's. The shallow part takes the first. */
  readonly residuals?: readonly Tensor[];
  readonly features?: readonly Tensor[];
  /** [B, H, W, channels of the first level], for the shallow part. */
  readonly deep?: Tensor;
};

export type UNetOutputs = {
  /** [B, H, W, O] */
  readonly sample: Tensor;
  /** [B, H, W, channels of the first level], if the size asks for it. */
  readonly deep?: Tensor;
};

export function unet(config: UNetConfig, size: UNetSize): Network<UNetInputs, UNetOutputs> {
  if (size.deep === "in") return outermost(config, size);
  return {
    inputs: {
      ...outermostInputs(config, size),
      ...(size.residuals && { residuals: residualShapes(config, size).map(float) }),
      ...(size.features && { features: featureShapes(config, size).slice(0, size.features).map(float) }),
    },
    forward(m, given) {
      const time = timeEmbedding(m, given, config);
      const context = contextOf(given, size, config);
      const { residuals, features = [] } = given;
      const { h, skips: own } = downPath(m, given.sample, time, context, config, { features });
      const skips = residuals ? own.map((skip, i) => m.ops.add(skip, residuals[i]!)) : own;
      let middle = config.middle ? midBlock(m.at("mid_block"), h, time, context, config) : h;
      for (const added of [features[config.levels.length], residuals?.at(-1)])
        if (added) middle = m.ops.add(middle, added);
      if (!size.deep)
        return { sample: head(m, upPath(m, middle, skips, time, context, config, size.freeu), config) };
      const [first, ...others] = skips;
      const deep = upPath(m, middle, others, time, context, config, size.freeu);
      const last = config.levels.length - 1;
      const factors = joinFactors(size.freeu, last);
      const shallow = lastUpLayer(m.at("up_blocks", last), deep, first!, time, context, config, factors);
      return { sample: head(m, shallow, config), deep };
    },
  };
}

/**
 * The shallow part of the UNet (DeepCache, Ma et al. 2023, branch 0): the first convolution, the layer of the way up
 * that joins it, and the head, on the `deep` feature that the whole network gave before.
 */
function outermost(config: UNetConfig, size: UNetSize): Network<UNetInputs, UNetOutputs> {
  const channels = config.levels[0]!.channels;
  const deep = float([size.batch, size.height, size.width, channels]);
  return {
    inputs: { ...outermostInputs(config, size), deep, ...(size.residuals && { residuals: [deep] }) },
    forward(m, given) {
      const time = timeEmbedding(m, given, config);
      let skip = conv2d(m.at("conv_in"), given.sample, channels);
      if (given.residuals) skip = m.ops.add(skip, given.residuals[0]!);
      const last = config.levels.length - 1;
      const factors = joinFactors(size.freeu, last);
      const context = contextOf(given, size, config);
      const h = lastUpLayer(m.at("up_blocks", last), given.deep!, skip, time, context, config, factors);
      return { sample: head(m, h, config) };
    },
  };
}

const float = (shape: readonly number[]): Tensor => ({ shape, dtype: "float32" });

/** What both the whole network and its shallow part take. */
function outermostInputs(config: UNetConfig, size: UNetSize): UNetInputs {
  const { batch, height, width, tokens, pictures, sharedSample } = size;
  const { classes, timeCondDim, added, crossAttentionDim } = config;
  return {
    sample: float([sharedSample ? batch / 2 : batch, height, width, config.inChannels]),
    time: float([batch, config.levels[0]!.channels]),
    context: float([batch, tokens, crossAttentionDim]),
    ...(classes && { classLabels: { shape: [batch], dtype: "int32" } }),
    ...(timeCondDim && { timeCond: float([batch, timeCondDim]) }),
    ...(added && { added: float([batch, added.width]) }),
    ...(pictures && {
      pictures: pictures.map((count) => ({
        tokens: float([batch, count, crossAttentionDim]),
        scale: float([batch, 1, 1]),
      })),
    }),
  };
}

const contextOf = (
  { context, pictures }: UNetInputs,
  { mergeTokens: ratio, height, width, perturbed }: UNetSize,
  { levels }: UNetConfig,
): Context => ({
  text: context,
  ...(ratio !== undefined && { mergeTokens: { ...largestAttention({ height, width }, levels), ratio } }),
  ...(pictures && { pictures }),
  ...(perturbed && { perturbed }),
});

/** The size at the first level that has attention. */
function largestAttention(size: { height: number; width: number }, levels: readonly UNetLevel[]) {
  let { height, width } = size;
  for (let i = 0; i < levels.findIndex(({ crossAttention }) => crossAttention); i++)
    [height, width] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  return { height, width };
}

/** Everything that the network is told besides the sample and the prompt, as one vector [B, 4 * channels]. */
export function timeEmbedding(m: Module, given: UNetInputs, config: UNetConfig): Tensor {
  const { ops } = m;
  const width = 4 * config.levels[0]!.channels;
  let time = timestepEmbedding(m.at("time_embedding"), given.time, width, "silu", given.timeCond);
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
  const rows = time.shape[0]!;
  return { h: repeated(m.ops, h, rows), skips: skips.map((skip) => repeated(m.ops, skip, rows)) };
}

function upPath(
  m: Module,
  x: Tensor,
  skips: Tensor[],
  time: Tensor,
  context: Context,
  config: UNetConfig,
  freeu?: FreeU,
): Tensor {
  const remaining = [...skips];
  let h = x;
  [...config.levels].reverse().forEach((level, i) => {
    const joined = remaining.splice(-(level.layers + 1)).reverse();
    const next = remaining.at(-1);
    const crossAttention = config.upCrossAttention[i]!;
    const up = { ...level, crossAttention, transformerLayers: config.upTransformerLayers[i]! };
    h = upBlock(m.at("up_blocks", i), h, joined, time, context, config, up, next, joinFactors(freeu, i));
  });
  return h;
}

const head = (m: Module, x: Tensor, config: UNetConfig): Tensor => {
  const options = { groups: config.normGroups, epsilon: config.epsilon, activation: "silu" } as const;
  return conv2d(m.at("conv_out"), groupNorm(m.at("conv_norm_out"), x, options), config.outChannels);
};

/** Where T2I-Adapters' features are added: at each level before its halving, without attention behind it; the middle, if any. */
function featureShapes(config: UNetConfig, { batch, height, width }: UNetSize): number[][] {
  let [h, w] = [height, width];
  const shapes = config.levels.map(({ channels: c, crossAttention }, i) => {
    const before = [batch, h, w, c];
    if (i < config.levels.length - 1) [h, w] = [Math.ceil(h / 2), Math.ceil(w / 2)];
    return crossAttention ? before : [batch, h, w, c];
  });
  return config.middle ? [...shapes, [batch, h, w, config.levels.at(-1)!.channels]] : shapes;
}

/** Those of the skip connections and of the middle, which ControlNet's residuals share. */
function residualShapes(config: UNetConfig, { batch, height, width }: UNetSize): number[][] {
  const shapes: number[][] = [[batch, height, width, config.levels[0]!.channels]];
  let [h, w] = [height, width];
  config.levels.forEach((level, i) => {
    for (let j = 0; j < level.layers; j++) shapes.push([batch, h, w, level.channels]);
    if (i === config.levels.length - 1) return;
    [h, w] = [Math.ceil(h / 2), Math.ceil(w / 2)];
    shapes.push([batch, h, w, level.channels]);
  });
  return [...shapes, shapes.at(-1)!];
}
