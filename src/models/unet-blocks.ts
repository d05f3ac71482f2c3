import { type PictureTokens, spatialTransformer } from "../nn/attention.js";
import { channels, repeated } from "../nn/basic.js";
import { layer, type Module } from "../nn/module.js";
import { downsample, type ResnetOptions, resnetBlock, upsample } from "../nn/resnet.js";
import type { Tensor } from "../ops/ops.js";
import { type JoinFactors, scaledBackbone, scaledLowFrequencies } from "./freeu.js";
import type { UNetConfig, UNetLevel } from "./unet-config.js";

/** What cross-attention looks at: the prompt [B, T, D], and the pictures of IP-Adapters. */
export interface Context {
  readonly text: Tensor;
  readonly pictures?: readonly PictureTokens[];
  /** Where self-attention works on fewer tokens. */
  readonly mergeTokens?: { readonly height: number; readonly width: number; readonly ratio: number };
  /** Paths of the transformer blocks in which self-attention is the identity. */
  readonly perturbed?: readonly string[];
}

export const downBlock = layer(
  (
    m: Module,
    x: Tensor,
    time: Tensor,
    context: Context,
    config: UNetConfig,
    level: UNetLevel,
    last: boolean,
    feature?: Tensor,
  ) => {
    const outputs: Tensor[] = [];
    let h = x;
    for (let i = 0; i < level.layers; i++) {
      // Halves of the batch that are still the same have the same time embedding, too.
      const own = h.shape[0] === time.shape[0] ? time : m.ops.slice(time, 0, 0, h.shape[0]!);
      h = resnetBlock(m.at("resnets", i), h, own, level.channels, resnetOptions(config));
      if (level.crossAttention) h = transformer(m, h, context, config, { ...level, layer: i });
      if (feature && level.crossAttention && i === level.layers - 1) h = m.ops.add(h, feature);
      outputs.push(h);
    }
    if (!last) outputs.push(downsample(m.at("downsamplers", 0), h, config.downsamplePadding));
    // Without attention it comes after the halving.
    if (feature && !level.crossAttention)
      outputs.push(m.ops.add(repeated(m.ops, outputs.pop()!, feature.shape[0]!), feature));
    return outputs;
  },
);

/** The middle of a UNet that has one. */
export const midBlock = layer((m: Module, x: Tensor, time: Tensor, context: Context, config: UNetConfig) => {
  const layers = config.middle?.transformerLayers;
  let h = resnetBlock(m.at("resnets", 0), x, time, channels(x), resnetOptions(config));
  if (layers === undefined) return h;
  // Looks at itself first, even where only_cross_attention holds for all levels.
  const level = { ...config.levels.at(-1)!, onlyCrossAttention: false, transformerLayers: [layers] };
  h = transformer(m, h, context, config, { ...level, layer: 0 });
  return resnetBlock(m.at("resnets", 1), h, time, channels(x), resnetOptions(config));
});

export const upBlock = layer(
  (
    m: Module,
    x: Tensor,
    skips: readonly Tensor[],
    time: Tensor,
    context: Context,
    config: UNetConfig,
    level: UNetLevel,
    next: Tensor | undefined,
    factors?: JoinFactors,
  ) => {
    let h = x;
    skips.forEach((skip, i) => {
      h = join(m, h, skip, factors);
      h = resnetBlock(m.at("resnets", i), h, time, level.channels, resnetOptions(config));
      if (level.crossAttention) h = transformer(m, h, context, config, { ...level, layer: i });
    });
    // To the size of the next skip connection, which is odd when the latents' size is.
    return next ? upsample(m.at("upsamplers", 0), h, next.shape[1]!, next.shape[2]!) : h;
  },
);

/** The last layer of the last up block, the only one that joins the first skip connection. */
export const lastUpLayer = layer(
  (
    m: Module,
    x: Tensor,
    skip: Tensor,
    time: Tensor,
    context: Context,
    config: UNetConfig,
    factors?: JoinFactors,
  ) => {
    const level = config.levels[0]!;
    const joined = join(m, x, skip, factors);
    const h = resnetBlock(m.at("resnets", level.layers), joined, time, level.channels, resnetOptions(config));
    if (!config.upCrossAttention.at(-1)) return h;
    const up = { ...level, transformerLayers: config.upTransformerLayers.at(-1)! };
    return transformer(m, h, context, config, { ...up, layer: level.layers });
  },
);

/** The transformer behind one ResNet of a block. */
/** What comes up and what went down before, side by side. */
function join({ ops }: Module, x: Tensor, skip: Tensor, factors: JoinFactors | undefined): Tensor {
  if (!factors) return ops.concat([x, skip], 3);
  return ops.concat(
    [scaledBackbone(ops, x, factors.backbone), scaledLowFrequencies(ops, skip, factors.skip)],
    3,
  );
}

const transformer = (
  m: Module,
  x: Tensor,
  context: Context,
  config: UNetConfig,
  level: UNetLevel & { readonly layer: number },
): Tensor => {
  const { mergeTokens: merging } = context;
  const isThere = x.shape[1] === merging?.height && x.shape[2] === merging?.width;
  return spatialTransformer(m.at("attentions", level.layer), x, context.text, {
    heads: level.heads,
    layers: level.transformerLayers[level.layer]!,
    groups: config.normGroups,
    linearProjection: config.linearProjection,
    onlyCrossAttention: level.onlyCrossAttention,
    ...(context.pictures && { pictures: context.pictures }),
    ...(merging && isThere && { mergeTokens: merging.ratio }),
    ...(context.perturbed && { perturbed: context.perturbed }),
  });
};

const resnetOptions = (config: UNetConfig): ResnetOptions => ({
  groups: config.normGroups,
  epsilon: config.epsilon,
  timeScaleShift: config.timeScaleShift,
});
