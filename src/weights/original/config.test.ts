import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { goldenExtra } from "../../testing/golden.js";
import { originalUNetName } from "../../testing/original-layout.js";
import { clipConfig, type Family } from "./config.js";
import { unetName } from "./names.js";
import { schedulerConfig } from "./schedulers.js";
import { unetConfig, unetLevels } from "./unet-config.js";

/** The tensors that a configuration is read from, of a UNet of the real size: channels, depth and context by level. */
function unetPart(options: {
  channels: number[];
  depths: number[];
  context: number;
  inputs: number;
  linear: boolean;
  onlyCross?: boolean[];
  label?: [name: string, shape: number[]];
}) {
  const part = new Map<string, { dtype: string; shape: number[] }>();
  const put = (name: string, ...shape: number[]) => part.set(name, { dtype: "F16", shape });
  put("input_blocks.0.0.weight", options.channels[0]!, options.inputs, 3, 3);
  put("out.2.weight", 4, options.channels[0]!, 3, 3);
  options.channels.forEach((width, level) => {
    for (const layer of [1, 2]) {
      const block = `input_blocks.${level * 3 + layer}`;
      put(`${block}.0.out_layers.3.weight`, width, width, 3, 3);
      if (options.depths[level]! > 0)
        put(`${block}.1.proj_in.weight`, width, width, ...(options.linear ? [] : [1, 1]));
      for (let i = 0; i < options.depths[level]!; i++) {
        const self = options.onlyCross?.[level] ? options.context : width;
        put(`${block}.1.transformer_blocks.${i}.attn1.to_k.weight`, width, self);
        put(`${block}.1.transformer_blocks.${i}.attn2.to_k.weight`, width, options.context);
      }
    }
    if (level < options.channels.length - 1)
      put(`input_blocks.${level * 3 + 3}.0.op.weight`, width, width, 3, 3);
  });
  const levels = options.channels.length;
  for (let block = 0; block < 3 * levels; block++) {
    const level = levels - 1 - Math.floor(block / 3);
    put(`output_blocks.${block}.0.in_layers.0.weight`, 8);
    for (let i = 0; i < options.depths[level]!; i++)
      put(`output_blocks.${block}.1.transformer_blocks.${i}.attn1.to_k.weight`, 8, 8);
  }
  put("middle_block.0.in_layers.0.weight", 8);
  for (let i = 0; i < Math.max(1, options.depths.at(-1)!); i++)
    put(`middle_block.1.transformer_blocks.${i}.attn1.to_k.weight`, 8, 8);
  if (options.label) put(options.label[0], ...options.label[1]);
  return part;
}

const wide = [320, 640, 1280, 1280];
const cross = "CrossAttnDownBlock2D";
const plain = "DownBlock2D";

test.each<[string, Family, Parameters<typeof unetPart>[0], number | undefined, object]>([
  [
    "Stable Diffusion 1 inpainting",
    "sd1",
    { channels: wide, depths: [1, 1, 1, 0], context: 768, inputs: 9, linear: false },
    undefined,
    {
      in_channels: 9,
      block_out_channels: wide,
      attention_head_dim: 8,
      cross_attention_dim: 768,
      use_linear_projection: false,
      sample_size: 64,
      down_block_types: [cross, cross, cross, plain],
      up_block_types: ["UpBlock2D", ...Array(3).fill("CrossAttnUpBlock2D")],
      layers_per_block: [2, 2, 2, 2],
    },
  ],
  [
    "Stable Diffusion 2",
    "sd2",
    { channels: wide, depths: [1, 1, 1, 0], context: 1024, inputs: 4, linear: true },
    undefined,
    {
      in_channels: 4,
      attention_head_dim: [5, 10, 20, 20],
      cross_attention_dim: 1024,
      use_linear_projection: true,
    },
  ],
  [
    "Stable Diffusion XL",
    "sdxl",
    {
      channels: [320, 640, 1280],
      depths: [0, 2, 10],
      context: 2048,
      inputs: 4,
      linear: true,
      label: ["label_emb.0.0.weight", [1280, 2816]],
    },
    1280,
    {
      attention_head_dim: [5, 10, 20],
      transformer_layers_per_block: [1, 2, 10],
      cross_attention_dim: 2048,
      sample_size: 128,
      down_block_types: [plain, cross, cross],
      addition_embed_type: "text_time",
      addition_time_embed_dim: 256,
      projection_class_embeddings_input_dim: 2816,
    },
  ],
  [
    "the times-4 upscaler",
    "upscaler",
    {
      channels: [256, 512, 512, 1024],
      depths: [0, 1, 1, 1],
      context: 1024,
      inputs: 7,
      linear: true,
      onlyCross: [true, true, true, false],
      label: ["label_emb.weight", [1000, 1024]],
    },
    undefined,
    {
      in_channels: 7,
      attention_head_dim: 8,
      num_class_embeds: 1000,
      only_cross_attention: [false, true, true, false],
      down_block_types: [plain, cross, cross, cross],
      sample_size: 128,
    },
  ],
])("the UNet of %s is described as diffusers describes it", (_, family, options, pooled, want) => {
  expect(unetConfig(unetPart(options), family, pooled)).toMatchObject(want);
});

interface Distilled {
  readonly config: Readonly<Record<string, unknown>>;
  readonly shapes: Readonly<Record<string, number[]>>;
}
const distilled = Object.entries(
  JSON.parse(readFileSync(goldenExtra("distilled-names/shapes.json"), "utf8")) as Record<string, Distilled>,
);

/** The original layout's names of a UNet, its upsamplers behind an attention or not. */
function originalPart({ config, shapes }: Distilled) {
  const layers = (config.layers_per_block as number | undefined) ?? 2;
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const level = /^up_blocks\.(\d+)/.exec(name)?.[1];
      const up = `up_blocks.${level}.attentions.0.norm.weight` in shapes ? "2" : "1";
      return [originalUNetName(name, layers).replace("UP", up), { dtype: "F32", shape }];
    }),
  );
}

describe.each(distilled)("%s, a distilled UNet", (_, { config, shapes }) => {
  const part = originalPart({ config, shapes });
  const family = config.addition_embed_type ? "sdxl" : "sd1";

  test("gets the configuration that diffusers has for it", () => {
    const got = unetConfig(part, family, 32);
    const names = ["mid_block_type", "block_out_channels", "addition_time_embed_dim"] as const;
    for (const name of names) expect([name, got[name]]).toEqual([name, config[name] ?? got[name]]);
    for (const name of ["down_block_types", "up_block_types"])
      if (config[name]) expect(got[name]).toEqual(config[name]);
    expect(got.layers_per_block).toEqual(
      got.down_block_types && (got.block_out_channels as number[]).map(() => config.layers_per_block ?? 2),
    );
    const flat = (value: unknown) =>
      JSON.stringify(value, (_key, item) => (isUniform(item) ? item[0] : item));
    expect(flat(got.transformer_layers_per_block)).toBe(
      flat(
        config.transformer_layers_per_block ??
          [1, 1, 1, 1].slice(0, (got.block_out_channels as number[]).length),
      ),
    );
    const reverse =
      got.reverse_transformer_layers_per_block ??
      [...(got.transformer_layers_per_block as number[])].reverse();
    if (config.reverse_transformer_layers_per_block)
      expect(flat(reverse)).toBe(flat(config.reverse_transformer_layers_per_block));
  });

  test("gets the names that diffusers gives its tensors", () => {
    const layers = unetLevels(part).map(({ resnets }) => resnets);
    expect([...part.keys()].map((name) => unetName(name, layers))).toEqual(Object.keys(shapes));
  });
});

/** A list for the resnets of one level, all with as many layers; not the list of levels. */
const isUniform = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => typeof item === "number" && item === value[0]);

test("what diffusers has no configuration for is refused by name", () => {
  const part = originalPart(distilled[0]![1]);
  const changed = (change: (part: Map<string, { dtype: string; shape: number[] }>) => void) => {
    const copy = new Map(part);
    change(copy);
    return () => unetConfig(copy, "sdxl", 32);
  };
  const without = (prefix: string) =>
    changed((copy) =>
      [...copy.keys()].filter((name) => name.startsWith(prefix)).forEach((name) => void copy.delete(name)),
    );
  expect(without("output_blocks.8.")).toThrow(/8 blocks on the way up.* asks for 9/);
  expect(without("output_blocks.1.1.")).toThrow(
    /attention behind some of the resnets of a level only \(layers: 3,0,5\)/,
  );
  expect(
    changed((copy) =>
      copy.set("middle_block.1.transformer_blocks.0.attn1.to_k.weight", { dtype: "F32", shape: [8, 8] }),
    ),
  ).toThrow(/1 transformer layers in the middle and 3 before/);
});

test("text encoders of the real sizes", () => {
  const part = (width: number, inner: number, layers: number, projection?: number) => {
    const shapes: Record<string, number[]> = {
      "text_model.embeddings.token_embedding.weight": [49408, width],
      "text_model.embeddings.position_embedding.weight": [77, width],
      ...(projection ? { "text_projection.weight": [projection, width] } : {}),
    };
    for (let i = 0; i < layers; i++) shapes[`text_model.encoder.layers.${i}.mlp.fc1.weight`] = [inner, width];
    return new Map(Object.entries(shapes).map(([name, shape]) => [name, { dtype: "F16", shape }]));
  };
  expect(clipConfig(part(768, 3072, 12), { openClip: false })).toMatchObject({
    architectures: ["CLIPTextModel"],
    num_attention_heads: 12,
    hidden_act: "quick_gelu",
    num_hidden_layers: 12,
    eos_token_id: 49407,
  });
  expect(clipConfig(part(1280, 5120, 32, 1280), { openClip: true })).toMatchObject({
    architectures: ["CLIPTextModelWithProjection"],
    num_attention_heads: 20,
    hidden_act: "gelu",
    projection_dim: 1280,
    intermediate_size: 5120,
  });
});

test("levels of different numbers of resnets are told apart", () => {
  const shape = [8, 8, 3, 3];
  const blocks = [
    "1.0.out_layers.3",
    "2.0.op",
    "3.0.out_layers.3",
    "4.0.out_layers.3",
    "5.0.op",
    "6.0.out_layers.3",
    "7.0.out_layers.3",
    "8.0.out_layers.3",
  ];
  const part = new Map(
    ["0.0", ...blocks].map((name) => [`input_blocks.${name}.weight`, { dtype: "F32", shape }]),
  );
  const layers = unetLevels(part).map(({ resnets }) => resnets);
  expect(layers).toEqual([1, 2, 3]);
  expect(unetName("input_blocks.2.0.op.bias", layers)).toBe("down_blocks.0.downsamplers.0.conv.bias");
  expect(unetName("input_blocks.8.0.skip_connection.weight", layers)).toBe(
    "down_blocks.2.resnets.2.conv_shortcut.weight",
  );
  expect(unetName("output_blocks.3.2.conv.weight", layers)).toBe("up_blocks.0.upsamplers.0.conv.weight");
  expect(unetName("output_blocks.6.1.proj_in.weight", layers)).toBe(
    "up_blocks.1.attentions.2.proj_in.weight",
  );
  expect(unetName("output_blocks.8.0.emb_layers.1.bias", layers)).toBe(
    "up_blocks.2.resnets.1.time_emb_proj.bias",
  );
  expect(unetName("middle_block.1.transformer_blocks.0.norm1.weight", layers)).toBe(
    "mid_block.attentions.0.transformer_blocks.0.norm1.weight",
  );
  expect(unetName("something.else", layers)).toBe("something.else");
});

test("schedules by family and prediction", () => {
  const classOf = (...args: Parameters<typeof schedulerConfig>) => schedulerConfig(...args)._class_name;
  expect(classOf("sd1", "StableDiffusionPipeline", "epsilon")).toBe("PNDMScheduler");
  expect(classOf("sd2", "StableDiffusionPipeline", "v_prediction")).toBe("DDIMScheduler");
  expect(classOf("sdxl", "StableDiffusionXLPipeline", "epsilon")).toBe("EulerDiscreteScheduler");
  expect(schedulerConfig("upscaler", "", "v_prediction")).toMatchObject({
    beta_start: 0.0001,
    beta_end: 0.02,
    prediction_type: "v_prediction",
  });
});
