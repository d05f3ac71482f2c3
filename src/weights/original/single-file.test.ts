import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../disk/json.js";
import { parseControlNetConfig } from "../../models/controlnet-config.js";
import { goldenCases, goldenPath } from "../../testing/golden.js";
import {
  originalUNetName,
  originalVaeName,
  tensorsOf,
  writeOriginal,
} from "../../testing/original-layout.js";
import { disposeTinyModels, tinyModel } from "../../testing/pipeline-case.js";
import { thrown } from "../../testing/thrown.js";
import type { ModelSource } from "../component.js";
import { openComponentFolder, openFolder } from "../folder.js";
import { float16ToFloat32, float32ToFloat16 } from "../formats/float16.js";
import { openSafetensors, writeSafetensors } from "../formats/safetensors.js";
import { openComponent, openModel } from "../model.js";
import { openSingleFile, openSingleFileVae } from "./single-file.js";

const folder = mkdtempSync(join(tmpdir(), "single-file-"));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenizer = goldenPath("tokenizers/tokenizer-clip");

const networks = ({ unet, vae, textEncoders }: ModelSource) => [unet, vae!, ...textEncoders];
/** All tensors of a single file are those of the folder of the same model, in half precision or as they are. */
function expectSameTensors(got: ModelSource, want: ModelSource, { half }: { half: boolean }): void {
  expect(networks(got).map(({ className }) => className)).toEqual(
    networks(want).map(({ className }) => className),
  );
  networks(want).forEach((network, i) => {
    const tensors = tensorsOf(networks(got)[i]!.open());
    const stored = tensorsOf(network.open());
    expect([...tensors.keys()]).toEqual([...stored.keys()]);
    for (const [name, { shape, data }] of stored) {
      expect([name, tensors.get(name)?.shape]).toEqual([name, shape]);
      expect(tensors.get(name)!.data).toBeCloseTo32(
        half ? float16ToFloat32(float32ToFloat16(data)) : data,
        {},
      );
    }
  });
}

/** What shapes tell of a configuration; heads, groups and sizes of tiny models are unlike the real ones'. */
const unetKeys = [
  "in_channels",
  "out_channels",
  "block_out_channels",
  "down_block_types",
  "up_block_types",
  "cross_attention_dim",
  "use_linear_projection",
  "num_class_embeds",
  "addition_embed_type",
  "projection_class_embeddings_input_dim",
  "addition_time_embed_dim",
];
const vaeKeys = [
  "in_channels",
  "out_channels",
  "latent_channels",
  "block_out_channels",
  "layers_per_block",
  "scaling_factor",
  "use_quant_conv",
  "use_post_quant_conv",
  "down_block_types",
  "up_block_types",
];
const textKeys = [
  "architectures",
  "vocab_size",
  "hidden_size",
  "intermediate_size",
  "num_hidden_layers",
  "max_position_embeddings",
  "hidden_act",
];

function expectSameConfigs(got: ModelSource, want: ModelSource): void {
  networks(want).forEach(({ config }, i) => {
    const derived = networks(got)[i]!.config;
    const keys = i === 0 ? unetKeys : i === 1 ? vaeKeys : textKeys;
    for (const key of keys) expect([key, derived[key] ?? null]).toEqual([key, config[key] ?? null]);
  });
  const levels = (want.unet.config.block_out_channels as number[]).length;
  const spread = (value: unknown) => (Array.isArray(value) ? value : Array(levels).fill(value));
  // Of a level without attention nothing is known about it, nor does it matter.
  const attends = (want.unet.config.down_block_types as string[]).map((type) => type.startsWith("Cross"));
  for (const key of ["layers_per_block", "only_cross_attention", "transformer_layers_per_block"]) {
    const values = (source: ModelSource) => spread(source.unet.config[key]).filter((_, i) => attends[i]);
    expect([key, values(got)]).toEqual([key, values(want)]);
  }
  expect(got.pipeline).toBe(want.pipeline);
}

describe("golden single files", () => {
  test.each(goldenCases("single-file").map((c) => [c.id, c] as const))("%s", (_, { config }) => {
    const path = goldenPath(config.checkpoint);
    const want = openFolder(goldenPath(config.config_from));
    const withConfigs = openModel(path, { tokenizer, config: goldenPath(config.config_from) });
    expectSameTensors(withConfigs, want, { half: true });
    expect(networks(withConfigs).map(({ config }) => config)).toEqual(
      networks(want).map(({ config }) => config),
    );
    expect(withConfigs.scheduler).toEqual(want.scheduler);
    expect(withConfigs.tokenizers).toEqual(want.tokenizers);

    const derived = openModel(path, { tokenizer });
    expectSameTensors(derived, want, { half: true });
    expectSameConfigs(derived, want);
    for (const key of [
      "beta_start",
      "beta_end",
      "beta_schedule",
      "_class_name",
      "steps_offset",
      "clip_sample",
    ])
      expect(derived.scheduler[key]).toEqual(want.scheduler[key]);
    expect(derived.scheduler.prediction_type).toBe(want.scheduler.prediction_type ?? "epsilon");
  });

  test.each(goldenCases("single-file-error").map((c) => [c.id, c] as const))("%s", (_, { files }) => {
    expect(() => openModel(goldenPath(files[0]!), { tokenizer })).toThrow(/pickle checkpoint/);
  });
});

test("the inverse used below writes exactly the names of the golden single files", () => {
  for (const name of ["tiny-sd1", "tiny-sd2"]) {
    const path = join(folder, `${name}.safetensors`);
    writeOriginal(path, openFolder(goldenPath(`models/${name}`)));
    const namesOf = (file: string) => {
      const opened = openSafetensors(file);
      opened.close();
      const core = [...opened.tensors.keys()].filter((key) =>
        /^(model\.diffusion|first_stage|cond_stage)/.test(key),
      );
      return core.filter((key) => !/position_ids|attn_mask|logit_scale|resblocks\.3/.test(key)).sort();
    };
    expect(namesOf(path)).toEqual(namesOf(goldenPath(`singlefile/${name}.safetensors`)));
  }
});

const lcmKeys = ({
  _class_name,
  original_inference_steps,
  set_alpha_to_one,
  timestep_spacing,
}: JsonObject) => ({
  ...{ _class_name, original_inference_steps, set_alpha_to_one, timestep_spacing },
});

describe("other architectures, written in the original layout", () => {
  test.each(["tiny-sdxl", "tiny-x4-upscaler", "tiny-sd1-inpaint", "tiny-ip2p", "tiny-lcm"])("%s", (name) => {
    const path = join(folder, `${name}.safetensors`);
    const want = openFolder(goldenPath(`models/${name}`));
    writeOriginal(path, want);
    const got = openModel(path, { tokenizer });
    expectSameTensors(got, want, { half: false });
    expectSameConfigs(got, want);
    for (const key of ["beta_start", "beta_end", "beta_schedule"]) {
      expect(got.scheduler[key]).toEqual(want.scheduler[key]);
      expect(got.lowResScheduler?.[key]).toEqual(want.lowResScheduler?.[key]);
    }
    expect(got.unet.config.time_cond_proj_dim ?? null).toBe(want.unet.config.time_cond_proj_dim ?? null);
    if (name === "tiny-lcm") expect(got.scheduler).toMatchObject(lcmKeys(want.scheduler));
    expect(got.scheduler.prediction_type).toBe(want.scheduler.prediction_type ?? "epsilon");
    expect(new Set(networks(got).map((network) => network.open().id)).size).toBe(networks(got).length);
    expect(got.tokenizers.map(({ padToken }) => padToken)).toEqual(
      { "tiny-sdxl": [undefined, "!"], "tiny-x4-upscaler": ["!"] }[name] ?? [undefined],
    );
  });

  test("a VAE alone", () => {
    const { vae } = openFolder(goldenPath("models/tiny-sd1"));
    const tensors = [...tensorsOf(vae!.open())].map(
      ([name, { shape, data }]) => [originalVaeName(name, 4), { dtype: "F32", shape, data }] as const,
    );
    const path = join(folder, "vae.safetensors");
    writeSafetensors(path, new Map(tensors));
    const got = tensorsOf(openSingleFileVae(path, "StableDiffusionPipeline").open());
    const want = tensorsOf(vae!.open());
    expect([...got.keys()]).toEqual([...want.keys()]);
    for (const [name, { data }] of want) expect(got.get(name)!.data).toBeCloseTo32(data, {});
    expect(() => openSingleFile(path, { tokenizer })).toThrow(/looks like a VAE: load a model first/);
  });
});

describe("a ControlNet alone", () => {
  const base = () => openFolder(goldenPath("models/tiny-sd1")).unet;
  const net = () => openComponentFolder(goldenPath("models/tiny-controlnet"));
  /** The inverse, by the numbers that the original gives its layers. */
  const originalName = (name: string) => {
    const [, place, rest = ""] =
      /^controlnet_cond_embedding\.(conv_in|conv_out|blocks\.\d)\.(.*)$/.exec(name) ?? [];
    if (place) {
      const order = ["conv_in", ...[0, 1, 2, 3, 4, 5].map((i) => `blocks.${i}`), "conv_out"];
      return `input_hint_block.${2 * order.indexOf(place)}.${rest}`;
    }
    return originalUNetName(
      name
        .replace(/^controlnet_down_blocks\.(\d+)\./, "zero_convs.$1.0.")
        .replace("controlnet_mid_block.", "middle_block_out.0."),
      1,
    );
  };
  const write = (file: string, rename: (name: string) => string) => {
    const path = join(folder, file);
    const tensors = [...tensorsOf(net().open())].map(
      ([name, { shape, data }]) => [rename(name), { dtype: "F32", shape, data }] as const,
    );
    writeSafetensors(path, new Map(tensors));
    return path;
  };

  test.each([
    ["as it was published", "control.safetensors", (name: string) => `control_model.${originalName(name)}`],
    ["without a prefix", "canny.safetensors", originalName],
    ["with diffusers' names", "shuffle.safetensors", (name: string) => name],
  ])("%s", (_, file, rename) => {
    const path = write(file, rename);
    const network = openComponent(path, { pipeline: "StableDiffusionPipeline", unet: base() }, {});
    const [got, want] = [tensorsOf(network.open()), tensorsOf(net().open())];
    expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [name, { data }] of want) expect(got.get(name)!.data).toBeCloseTo32(data, {});
    const { unet, ...rest } = parseControlNetConfig(network.config, path);
    const { unet: wantedUNet, ...wanted } = parseControlNetConfig(net().config, path);
    expect(rest).toEqual({ ...wanted, globalPool: file.startsWith("shuffle") });
    expect({ ...unet, sampleSize: wantedUNet.sampleSize }).toEqual(wantedUNet); // of no use here
    expect(() => openSingleFile(path, { tokenizer })).toThrow(/looks like a ControlNet: load a model first/);
  });

  test("makes the pictures that its folder makes", async () => {
    const path = write("control.safetensors", (name) => `control_model.${originalName(name)}`);
    const model = await tinyModel("models/tiny-sd1");
    const image = { width: 16, height: 16, data: Uint8Array.from({ length: 768 }, (_, i) => (i * 37) % 256) };
    const pictureWith = async (control: string) => {
      const controlnet = [{ model: control, image }];
      const options = { prompt: "a cat", seed: 1, steps: 2, width: 16, height: 16 } as const;
      return (await model.generate({ ...options, output: "latents", controlnet })).latents.data;
    };
    expect(await pictureWith(path)).toEqual(await pictureWith(goldenPath("models/tiny-controlnet")));
    await expect(
      (await tinyModel("models/tiny-sd2")).generate({ prompt: "a", controlnet: [{ model: path, image }] }),
    ).rejects.toThrow(path);
    await disposeTinyModels();
  });
});

describe("recognition", () => {
  /** A whole model's names with shapes of the real ones where they matter; the values are of no account. */
  const file = (tensors: Record<string, number[]>, metadata: Record<string, string> = {}) => {
    const path = join(folder, "recognised.safetensors");
    const made = Object.entries(tensors).map(([name, shape]) => {
      const length = shape.reduce((a, b) => a * b, 1);
      return [name, { dtype: "U8", shape, data: new Uint8Array(length) }] as const;
    });
    writeSafetensors(path, new Map(made), metadata);
    return path;
  };
  const error = (tensors: Record<string, number[]>) =>
    thrown(() => openSingleFile(file(tensors), { tokenizer }));
  const unet = "model.diffusion_model.";

  test.each<[string, Record<string, number[]>, RegExp]>([
    ["a LoRA", { "lora_unet_down_blocks_0.lora_up.weight": [1] }, /looks like a LoRA/],
    ["nothing", {}, /a file without any tensor: download it again/],
    ["Flux", { "double_blocks.0.img_attn.qkv.weight": [1] }, /Flux/],
    ["Stable Diffusion 3", { [`${unet}joint_blocks.0.x`]: [1] }, /Stable Diffusion 3/],
    ["a diffusers UNet", { "conv_in.weight": [1], "down_blocks.0.x": [1] }, /UNet of a diffusers folder/],
    [
      "nothing known",
      { "a.x.0": [1], "a.x.1": [1], b: [1], betas: [1] },
      /recognised: nothing; not recognised: a\.x \(2 tensors\), b \(1 tensor\)$/,
    ],
    ["an IP-Adapter", { "image_proj.proj.weight": [1] }, /looks like an IP-Adapter/],
    [
      "a pruned model",
      { [`${unet}input_blocks.0.0.weight`]: [8, 4, 3, 3], "model_ema.x": [1], "text_encoders.t5.a": [1] },
      /lacks a VAE and a text encoder; recognised: a UNet \(4 input channels, 8 wide\); not recognised: text_encoders\.t5 \(1 tensor\)$/,
    ],
    [
      "numbers beyond reason",
      {
        [`${unet}input_blocks.0.0.weight`]: [8, 4, 3, 3],
        [`${unet}input_blocks.999999999999.0.x`]: [1],
        "vae.decoder.conv_in.weight": [1],
        "vae.encoder.down.0.block.0.conv1.weight": [1],
        "cond_stage_model.transformer.x": [1],
      },
      /./,
    ],
  ])("%s is named", (_, tensors, message) => {
    const { message: got, code } = error(tensors);
    expect(got).toMatch(message);
    expect(got).toContain("recognised.safetensors");
    expect(code).not.toBe("INTERNAL");
  });

  test("a file's own word on the prediction, and the marks of v-prediction models", () => {
    const golden = openSafetensors(goldenPath("singlefile/tiny-sd1.safetensors"));
    golden.close();
    const tensors = Object.fromEntries([...golden.tensors].map(([name, { shape }]) => [name, [...shape]]));
    const scheduler = (
      extra: Record<string, number[]>,
      metadata: Record<string, string> = {},
      prediction?: "epsilon",
    ) =>
      openSingleFile(file({ ...tensors, ...extra }, metadata), {
        tokenizer,
        ...(prediction ? { prediction } : {}),
      }).scheduler;
    expect(scheduler({}).prediction_type).toBe("epsilon");
    expect(scheduler({}, { "modelspec.prediction_type": "v" }).prediction_type).toBe("v_prediction");
    expect(scheduler({ v_pred: [0], ztsnr: [0] })).toMatchObject({
      prediction_type: "v_prediction",
      rescale_betas_zero_snr: true,
    });
    expect(scheduler({ v_pred: [0] }, {}, "epsilon").prediction_type).toBe("epsilon");
  });
});
