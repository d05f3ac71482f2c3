import * as tf from "@tensorflow/tfjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  attention,
  feedForward,
  geglu,
  spatialSelfAttention,
  spatialTransformer,
  transformerBlock,
} from "../nn/attention.js";
import { channels, conv2d, groupNorm, timestepEmbedding } from "../nn/basic.js";
import { Module } from "../nn/module.js";
import { downsample, resnetBlock, upsample } from "../nn/resnet.js";
import { eagerOps } from "../ops/eager.js";
import { defaultView, toTensorFlow, viewShape } from "../ops/layout.js";
import type { Tensor } from "../ops/ops.js";
import { type GoldenCase, goldenCases, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { openComponentFolder } from "../weights/folder.js";
import { embedTimesteps } from "./timestep-embedding.js";
import * as plain from "./unconditional.js";
import { parseUNet2DConfig } from "./unconditional-config.js";
import * as conditional from "./unet-blocks.js";
import { parseUNetConfig, type UNetConfig } from "./unet-config.js";

/** Each kind of layer by itself, on tfjs in pure JavaScript, with the weights at its path in the checkpoint. */

const tolerance = { abs: 1e-5, rel: 1e-4 };

/** Everything that a layer of a case needs: its weights, what it is given, and the configs of its network. */
interface Stage {
  readonly m: Module;
  readonly given: Record<string, Tensor | Tensor[]>;
  /** The level that the path is in, in the order of the way down. */
  readonly level: number;
  readonly last: boolean;
  readonly conditional?: UNetConfig;
  readonly plain?: plain.UNet2DConfig;
}

const one = (stage: Stage, name: string): Tensor => stage.given[name] as Tensor;
const norms = ({ conditional, plain }: Stage) => {
  const { normGroups, epsilon } = (conditional ?? plain)!;
  return { groups: normGroups, epsilon };
};
/** Channels of the weight that says how wide a layer's output is. */
const width = (shape: readonly number[]) => shape[shape.length - 1]!;

const layers: Record<string, (stage: Stage, golden: GoldenCase) => Tensor | Tensor[]> = {
  Conv2d: (s, { expected }) => conv2d(s.m, one(s, "input"), expected.out.shape[1]),
  GroupNorm: (s) => groupNorm(s.m, one(s, "input"), norms(s)),
  TimestepEmbedding: (s, { expected }) =>
    timestepEmbedding(s.m, one(s, "sample"), width(expected.out.shape), "silu"),
  Downsample2D: (s) =>
    downsample(s.m, one(s, "hidden_states"), (s.conditional ?? s.plain)!.downsamplePadding),
  Upsample2D: (s) => {
    const x = one(s, "hidden_states");
    return upsample(s.m, x, 2 * x.shape[1]!, 2 * x.shape[2]!);
  },
  ResnetBlock2D: (s, { expected }) =>
    resnetBlock(s.m, one(s, "input_tensor"), one(s, "temb"), expected.out.shape[1], norms(s)),
  Attention: (s) => {
    const x = one(s, "hidden_states");
    if (s.plain) return spatialSelfAttention(s.m, x, { heads: s.plain.levels[s.level]!.heads, ...norms(s) });
    return attention(
      s.m,
      x,
      (s.given.encoder_hidden_states as Tensor) ?? x,
      s.conditional!.levels[s.level]!.heads,
    );
  },
  GEGLU: (s) => geglu(s.m, one(s, "hidden_states"), 4 * channels(one(s, "hidden_states"))),
  FeedForward: (s) => feedForward(s.m, one(s, "hidden_states")),
  BasicTransformerBlock: (s) => {
    const { heads, onlyCrossAttention } = s.conditional!.levels[s.level]!;
    return transformerBlock(
      s.m,
      one(s, "hidden_states"),
      one(s, "encoder_hidden_states"),
      heads,
      onlyCrossAttention,
    );
  },
  Transformer2DModel: (s) => {
    const config = s.conditional!;
    const { heads, transformerLayers, onlyCrossAttention } = config.levels[s.level]!;
    return spatialTransformer(s.m, one(s, "hidden_states"), one(s, "encoder_hidden_states"), {
      ...{ heads, onlyCrossAttention, layers: transformerLayers[0]! },
      ...{ groups: config.normGroups, linearProjection: config.linearProjection },
    });
  },
  CrossAttnDownBlock2D: downBlock,
  DownBlock2D: downBlock,
  AttnDownBlock2D: downBlock,
  CrossAttnUpBlock2D: upBlock,
  UpBlock2D: upBlock,
  AttnUpBlock2D: upBlock,
  UNetMidBlock2DCrossAttn: (s) =>
    conditional.midBlock(
      s.m,
      one(s, "hidden_states"),
      one(s, "temb"),
      { text: one(s, "encoder_hidden_states") },
      s.conditional!,
    ),
  UNetMidBlock2D: (s) => plain.midBlock(s.m, one(s, "hidden_states"), one(s, "temb"), s.plain!),
};

function downBlock(s: Stage): Tensor[] {
  const [x, time] = [one(s, "hidden_states"), one(s, "temb")];
  if (s.plain) return plain.downBlock(s.m, x, time, s.plain, s.plain.levels[s.level]!, s.last);
  const context = { text: s.given.encoder_hidden_states as Tensor };
  return conditional.downBlock(
    s.m,
    x,
    time,
    context,
    s.conditional!,
    s.conditional!.levels[s.level]!,
    s.last,
  );
}

function upBlock(s: Stage): Tensor {
  const [x, time] = [one(s, "hidden_states"), one(s, "temb")];
  const skips = [...(s.given.res_hidden_states_tuple as Tensor[])].reverse();
  const from = (s.conditional ?? s.plain)!.levels.length - 1 - s.level;
  if (s.plain) {
    const level = { ...s.plain.levels[s.level]!, attention: s.plain.upAttention[from]! };
    return plain.upBlock(s.m, x, skips, time, s.plain, level, s.last);
  }
  const config = s.conditional!;
  const level = {
    ...config.levels[s.level]!,
    crossAttention: config.upCrossAttention[from]!,
    transformerLayers: config.upTransformerLayers[from]!,
  };
  const [b, h, w, c] = x.shape as [number, number, number, number];
  const next = s.last ? undefined : { shape: [b, 2 * h, 2 * w, c], dtype: "float32" as const };
  const context = { text: s.given.encoder_hidden_states as Tensor };
  return conditional.upBlock(s.m, x, skips, time, context, config, level, next);
}

const checkpoints = new Map<string, Checkpoint>();
beforeAll(() => tf.setBackend("cpu"));
afterAll(() => {
  for (const checkpoint of checkpoints.values()) checkpoint.close();
});

const tensor = (reference: { file: string; key: string }): Tensor => {
  const { shape, data } = toNhwc(goldenTensor(reference));
  return tf.tensor(data, shape) as unknown as Tensor;
};

function stageOf({ config, inputs }: GoldenCase): Stage {
  const network = openComponentFolder(goldenPath(`${config.model}/${config.component}`));
  const checkpoint = checkpoints.get(config.model) ?? network.open();
  checkpoints.set(config.model, checkpoint);
  const get = (name: string): Tensor => {
    const { shape } = checkpoint.tensors.get(name)!;
    const view = defaultView(name, shape);
    const values = toTensorFlow(checkpoint.readFloat32(name), shape, view);
    return tf.tensor(values, viewShape(shape, view)) as unknown as Tensor;
  };
  const given = Object.entries(inputs).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.map(tensor) : tensor(value as { file: string; key: string }),
  ]);
  const isPlain = network.className === "UNet2DModel";
  const parsed = isPlain ? parseUNet2DConfig(network.config, "") : parseUNetConfig(network.config, "");
  const levels = parsed.levels.length;
  const [, way, number] = /^(down|up)_blocks\.(\d+)/.exec(config.path) ?? [];
  const index = Number(number ?? levels - 1);
  return {
    m: new Module(eagerOps(tf), { get }, config.path),
    given: Object.fromEntries(given),
    level: way === "up" ? levels - 1 - index : index,
    last: index === levels - 1,
    ...(isPlain ? { plain: parsed as plain.UNet2DConfig } : { conditional: parsed as UNetConfig }),
  };
}

describe("layers by themselves", () => {
  const cases = goldenCases("module").filter((c) => c.config.type !== "Timesteps");
  it.each(cases.map((c) => [c.id, c] as const))("%s", (_, golden) => {
    tf.engine().startScope();
    const result = layers[golden.config.type]!(stageOf(golden), golden);
    const { hidden_states, res_samples, out, o0 } = golden.expected;
    const got = [result].flat();
    // A way down gives its skip connections, of which the last is its output.
    const want = res_samples ?? [out ?? o0];
    expect(got.length).toBe(want.length);
    for (const [i, x] of got.entries()) {
      const { shape, data } = toNhwc(goldenTensor(want[i]));
      expect(x.shape).toEqual(shape);
      expect((x as unknown as tf.Tensor).dataSync()).toBeCloseTo32(data, tolerance);
    }
    if (hidden_states)
      expect((got.at(-1) as unknown as tf.Tensor).dataSync()).toBeCloseTo32(
        toNhwc(goldenTensor(hidden_states)).data,
        tolerance,
      );
    tf.engine().endScope();
  });
});

describe("sinusoidal embeddings", () => {
  const inNetworks = goldenCases("module").filter((c) => c.config.type === "Timesteps");
  it.each(inNetworks.map((c) => [c.id, c] as const))("%s", (_, { config, inputs, expected }) => {
    const network = openComponentFolder(goldenPath(`${config.model}/${config.component}`));
    const parsed =
      network.className === "UNet2DModel"
        ? parseUNet2DConfig(network.config, "")
        : parseUNetConfig(network.config, "");
    const { flipSinToCos, freqShift, levels } = parsed;
    const got = embedTimesteps([...goldenTensor(inputs.timesteps).data], {
      ...{ width: levels[0]!.channels, flipSinToCos, freqShift },
    });
    expect(got).toBeCloseTo32(goldenTensor(expected.out).data, { abs: 1e-6 });
  });

  it.each(goldenCases("timestep-embedding").map((c) => [c.id, c] as const))(
    "%s",
    (_, { config, inputs, expected }) => {
      const guidance = inputs.w !== undefined;
      const got = embedTimesteps(guidance ? inputs.w.map((w: number) => w * 1000) : inputs.timesteps, {
        width: config.dim,
        flipSinToCos: !guidance && config.flip_sin_to_cos,
        freqShift: guidance ? 1 : config.downscale_freq_shift,
      });
      // The reference's own sines of large arguments are this far off.
      expect(got).toBeCloseTo32(goldenTensor(expected.out).data, { abs: guidance ? 5e-4 : 1e-4 });
    },
  );
});
