import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { goldenCase, goldenCases, goldenExtra, goldenPath, readTensors } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { openSafetensors } from "../weights/formats/safetensors.js";
import type { AdapterFile, TensorFile } from "../weights/formats/tensors.js";
import { type Lora, matchLora, openLora } from "./lora.js";
import type { MatMul } from "./lora-delta.js";
import type { AdaptedModel } from "./lora-keys.js";
import { adaptWeight, planMerge } from "./lora-merge.js";
import type { LoraTarget } from "./lora-target.js";

const open: { close(): void }[] = [];
afterAll(() => {
  for (const file of open) file.close();
});

function golden(path: string): TensorFile {
  const file = openSafetensors(goldenPath(path));
  open.push(file);
  return file;
}

function goldenModel(folder: string): AdaptedModel {
  const tensors = (part: string) => {
    const checkpoint = openCheckpoint(goldenPath(`${folder}/${part}.safetensors`));
    checkpoint.close();
    return checkpoint.tensors;
  };
  return {
    unet: tensors("unet/diffusion_pytorch_model"),
    text_encoder: tensors("text_encoder/model"),
    ...(folder.includes("sdxl") && { text_encoder_2: tensors("text_encoder_2/model") }),
  };
}

type Numbers = { readonly shape: readonly number[]; readonly data: readonly number[] };

/** A file in memory. */
function memory(
  tensors: Readonly<Record<string, Numbers>>,
  metadata: Record<string, string> = {},
): AdapterFile {
  return {
    path: "style.safetensors",
    metadata: new Map(Object.entries(metadata)),
    tensors: new Map(Object.entries(tensors).map(([name, { shape }]) => [name, { dtype: "F32", shape }])),
    readFloat32: (name) => Float32Array.from(tensors[name]!.data),
  };
}

/** What a target adds to a weight at scale 1. */
function deltaOf(target: LoraTarget, matMul?: MatMul): Float32Array {
  const weight = new Float32Array(target.shape.reduce((a, b) => a * b, 1));
  target.apply(weight, 1, matMul);
  return weight;
}

const names = (lora: Lora, network: string) =>
  lora.targets.filter((target) => target.network === network).map(({ name }) => name);

describe("golden adapters", () => {
  const cases = goldenCases("lora");

  it.each(cases.filter((c) => c.config.unet_targets))(
    "$id: every key has its tensor",
    ({ config, inputs }) => {
      const lora = matchLora(golden(inputs.lora), goldenModel(config.model));
      const weights = (targets: string[]) => targets.map((name) => `${name}.weight`).sort();
      expect(lora.unmatched).toEqual([]);
      expect(names(lora, "unet").sort()).toEqual(weights(config.unet_targets));
      expect(names(lora, "text_encoder").sort()).toEqual(weights(config.text_targets));
      expect(new Set(lora.targets.map(({ rank }) => rank))).toEqual(new Set([config.rank]));
    },
  );

  it("names of the original code (SDXL) reach all three networks", () => {
    const { config, inputs } = goldenCase("lora/kohya-sdxl");
    const model = goldenModel(config.model);
    const lora = matchLora(golden(inputs.lora), model);
    expect(lora.unmatched).toEqual([]);
    expect(lora.targets).toHaveLength(golden(inputs.lora).tensors.size / 3);
    expect(new Set(lora.targets.map(({ network, name }) => `${network}.${name}`)).size).toBe(
      lora.targets.length,
    );
    for (const network of ["unet", "text_encoder", "text_encoder_2"])
      expect(names(lora, network)).not.toEqual([]);
  });

  it.each(cases.filter((c) => c.config.unet_targets))(
    "$id: delta is alpha / rank * up x down",
    ({ config, inputs }) => {
      const file = golden(inputs.lora);
      const { targets } = matchLora(file, goldenModel(config.model));
      const keys = [...file.tensors.keys()];
      for (const name of [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
        "mid_block.resnets.0.conv1",
      ]) {
        const target = targets.find((candidate) => candidate.name === `${name}.weight`);
        if (!target) continue; // the old layout has attention only
        const path = name.replaceAll(".", "_");
        const find = (pattern: RegExp) =>
          keys.find(
            (key) => pattern.test(key) && key.replaceAll(".", "_").replace("_processor_", "_").includes(path),
          )!;
        const down = file.readFloat32(find(/down\.weight$|lora_A/));
        const up = file.readFloat32(find(/up\.weight$|lora_B/));
        const [out, rank] = [target.shape[0]!, config.rank as number];
        const columns = down.length / rank;
        const want = Float32Array.from({ length: out * columns }, (_, at) => {
          let sum = 0;
          for (let r = 0; r < rank; r++)
            sum += up[Math.floor(at / columns) * rank + r]! * down[r * columns + (at % columns)]!;
          return (sum * (config.alpha ?? rank)) / rank;
        });
        expect(deltaOf(target)).toBeCloseTo32(want, { abs: 1e-6, rel: 1e-5 });
      }
    },
  );

  it("is refused for another model, by shape, with the keys", () => {
    const { inputs } = cases.find((c) => c.id === "lora/peft")!;
    const error = thrown(() => matchLora(golden(inputs.lora), goldenModel("models/tiny-sdxl")));
    expect(error).toMatchObject({
      code: "WEIGHT_SHAPE",
      message: expect.stringMatching(
        /does not fit this model: \d+ of its modules[\s\S]*lora_[AB]\.weight \[.*\] for unet\.[\s\S]* keys name no module/,
      ),
    });
    const [, misfits] = /: (\d+) of its modules/.exec(error.message)!;
    expect((error.cause as Error).message.split("\n")).toHaveLength(1 + Number(misfits));
  });
});

/** A UNet with one attention, a text encoder with one projection. */
const model: AdaptedModel = {
  unet: new Map(
    Object.entries({
      "conv_in.weight": [2, 4, 3, 3],
      "down_blocks.0.resnets.0.conv1.weight": [2, 2, 3, 3],
      "down_blocks.0.resnets.0.norm1.weight": [2],
      "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": [2, 3],
      "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0.weight": [2, 2],
      "down_blocks.0.downsamplers.0.conv.weight": [2, 2, 3, 3],
      "mid_block.attentions.0.proj_in.weight": [2, 2, 1, 1],
      "mid_block.resnets.1.time_emb_proj.weight": [2, 2],
      "up_blocks.0.resnets.1.conv_shortcut.weight": [2, 2, 1, 1],
      "up_blocks.0.upsamplers.0.conv.weight": [2, 2, 3, 3],
      "time_embedding.linear_2.weight": [2, 2],
    }).map(([name, shape]) => [name, { shape }]),
  ),
  text_encoder: new Map([["text_model.encoder.layers.0.self_attn.q_proj.weight", { shape: [2, 3] }]]),
  text_encoder_2: new Map([["text_model.encoder.layers.0.self_attn.out_proj.weight", { shape: [2, 3] }]]),
};

const toK = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight";
const down: Numbers = { shape: [1, 3], data: [1, 2, 3] };
const up: Numbers = { shape: [2, 1], data: [10, 20] };
const product = [10, 20, 30, 20, 40, 60];
const one = (
  tensors: Record<string, Numbers>,
  metadata?: Record<string, string>,
  config?: Parameters<typeof matchLora>[2],
) => {
  const { targets, unmatched } = matchLora(memory(tensors, metadata), model, config);
  expect(targets).toHaveLength(1);
  return { target: targets[0]!, unmatched };
};

describe("the first convolution of a UNet that is shown a mask, too", () => {
  const unet = new Map([
    ["conv_in.weight", { shape: [2, 9, 1, 2] }],
    ["conv_out.weight", { shape: [2, 9, 1, 2] }],
  ]);
  const plain: Numbers = { shape: [1, 4, 1, 2], data: [1, 2, 3, 4, 5, 6, 7, 8] };
  const rows: Numbers = { shape: [2, 1, 1, 1], data: [1, -2] };
  const wide = [...plain.data, ...Array(10).fill(0)];
  const want = [...wide, ...wide.map((value) => -2 * value)];
  const whole: Numbers = {
    shape: [2, 4, 1, 2],
    data: [...plain.data, ...plain.data.map((value) => -2 * value)],
  };

  it.each<[string, Record<string, Numbers>]>([
    ["LoRA", { "lora_unet_conv_in.lora_down.weight": plain, "lora_unet_conv_in.lora_up.weight": rows }],
    ["whole difference", { "lora_unet_conv_in.diff": whole }],
  ])("a %s of a plain one changes what is done to the latents", (_, tensors) => {
    const { targets } = matchLora(memory(tensors), { unet });
    expect(targets).toHaveLength(1);
    expect(targets[0]!.lowRank).toBeUndefined();
    expect([...deltaOf(targets[0]!)].map((value) => value + 0)).toEqual(want.map((value) => value + 0));
  });

  it("other layers must fit", () => {
    const error = thrown(() => matchLora(memory({ "lora_unet_conv_out.diff": whole }), { unet }));
    expect(error.code).toBe("WEIGHT_SHAPE");
  });
});

describe("layouts", () => {
  const attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn2";
  it.each([
    [
      "kohya",
      "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
      ".lora_up.weight",
    ],
    [
      "kohya, original names",
      "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k.lora_down.weight",
      ".lora_up.weight",
    ],
    [
      "original names with dots",
      "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.lora_down.weight",
      ".lora_up.weight",
    ],
    [
      "LyCORIS",
      "lycoris_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
      ".lora_up.weight",
    ],
    ["diffusers old", `unet.${attention}.processor.to_k_lora.down.weight`, "_lora.up.weight"],
    ["diffusers old, no prefix", `${attention}.processor.to_k_lora.down.weight`, "_lora.up.weight"],
    [
      "diffusers, lora_linear_layer",
      `unet.${attention}.to_k.lora_linear_layer.down.weight`,
      ".lora_linear_layer.up.weight",
    ],
    ["diffusers, .lora", `unet.${attention}.to_k.lora.down.weight`, ".lora.up.weight"],
    ["PEFT", `unet.${attention}.to_k.lora_A.weight`, ".lora_B.weight"],
    ["PEFT, own file", `base_model.model.${attention}.to_k.lora_A.weight`, ".lora_B.weight"],
    [
      "PEFT, with the adapter's name",
      `base_model.model.unet.${attention}.to_k.lora_A.default.weight`,
      ".lora_B.default.weight",
    ],
    [
      "PEFT's model saved by diffusers (training of LCM's LoRAs)",
      `unet.base_model.model.${attention}.to_k.lora_A.weight`,
      ".lora_B.weight",
    ],
    ["compiled", `unet._orig_mod.${attention}.to_k.lora_A.weight`, ".lora_B.weight"],
    [
      "compiled and trained in parallel",
      `_orig_mod.module.${attention}.to_k.lora_A.weight`,
      ".lora_B.weight",
    ],
  ])("%s", (_, downKey, ending) => {
    const module = downKey.replace(
      /(\.lora_down\.weight|_lora\.down\.weight|\.lora(_linear_layer)?\.down\.weight|\.lora_A.*)$/,
      "",
    );
    const { target, unmatched } = one({ [downKey]: down, [module + ending]: up });
    expect(unmatched).toEqual([]);
    expect([target.network, target.name, target.method, target.rank]).toEqual(["unet", toK, "lora", 1]);
    expect([...deltaOf(target)]).toEqual(product);
  });

  it.each([
    ["text_encoder", "lora_te_text_model_encoder_layers_0_self_attn_q_proj"],
    ["text_encoder", "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"],
    ["text_encoder", "text_encoder.encoder.layers.0.self_attn.q_proj"],
    ["text_encoder_2", "lora_te2_text_model_encoder_layers_0_self_attn_out_proj"],
    ["text_encoder", "text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj"],
    ["text_encoder_2", "text_encoders.clip_g.transformer.text_model.encoder.layers.0.self_attn.out_proj"],
    ["text_encoder_2", "text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj"],
  ])("%s: %s", (network, module) => {
    const { target } = one({ [`${module}.lora_down.weight`]: down, [`${module}.lora_up.weight`]: up });
    expect(target.network).toBe(network);
  });

  it.each([
    ["text_encoder", "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora"],
    ["text_encoder_2", "text_encoder_2.text_model.encoder.layers.0.self_attn.to_out_lora"],
  ])("%s: %s (processors of the text encoder)", (network, module) => {
    const { target } = one({ [`${module}.down.weight`]: down, [`${module}.up.weight`]: up });
    expect(target.network).toBe(network);
  });

  it.each([
    ["input_blocks_0_0", "conv_in"],
    ["input_blocks_1_0_in_layers_2", "down_blocks.0.resnets.0.conv1"],
    ["input_blocks_2_0_op", "down_blocks.0.downsamplers.0.conv"],
    ["middle_block_1_proj_in", "mid_block.attentions.0.proj_in"],
    ["middle_block_2_emb_layers_1", "mid_block.resnets.1.time_emb_proj"],
    ["output_blocks_1_0_skip_connection", "up_blocks.0.resnets.1.conv_shortcut"],
    ["output_blocks_1_1_conv", "up_blocks.0.upsamplers.0.conv"],
    ["output_blocks_1_2_conv", "up_blocks.0.upsamplers.0.conv"],
    ["time_embed_2", "time_embedding.linear_2"],
    [
      "input_blocks_1_1_transformer_blocks_0_attn2_to_out_0",
      "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    ],
  ])("the original code's %s is %s", (original, name) => {
    const shape = model.unet!.get(`${name}.weight`)!.shape;
    const [out = 0, ...rest] = shape;
    const size = rest.reduce((a, b) => a * b, 1);
    const { target } = one({
      [`lora_unet_${original}.lora_down.weight`]: { shape: [1, ...rest], data: Array<number>(size).fill(1) },
      [`lora_unet_${original}.lora_up.weight`]: {
        shape: [out, 1, ...rest.slice(1).map(() => 1)],
        data: Array<number>(out).fill(1),
      },
    });
    expect(target.name).toBe(`${name}.weight`);
  });
});

describe("alpha", () => {
  const module = `unet.${toK.replace(".weight", "")}`;
  const peft = {
    [`${module}.lora_A.weight`]: { shape: [2, 3], data: [1, 2, 3, 0, 0, 0] },
    [`${module}.lora_B.weight`]: { shape: [2, 2], data: [10, 0, 20, 0] },
  };
  const scaled = (factor: number) => product.map((value) => Math.fround(value * factor));

  it.each([
    ["absent: the rank", {}, {}, 1],
    ["in the file", { [`${module}.alpha`]: { shape: [], data: [1] } }, {}, 0.5],
    ["in adapter_config.json", {}, { lora_alpha: 8 }, 4],
    ["with exceptions by module", {}, { lora_alpha: 8, alpha_pattern: { "attn2.to_k": 1 } }, 0.5],
    ["rank-stabilised", {}, { lora_alpha: 8, use_rslora: true }, 8 / Math.sqrt(2)],
    [
      "the file's before the config's",
      { [`${module}.alpha`]: { shape: [], data: [1] } },
      { lora_alpha: 8 },
      0.5,
    ],
  ])("%s", (_, more: Record<string, Numbers>, config, factor) => {
    const { target } = one({ ...peft, ...more }, {}, { config });
    expect(deltaOf(target)).toBeCloseTo32(scaled(factor), { rel: 1e-6 });
  });

  it("in diffusers' metadata, for each network", () => {
    const metadata = {
      lora_adapter_metadata: JSON.stringify({ "unet.lora_alpha": 6, "text_encoder.lora_alpha": 1 }),
    };
    expect(deltaOf(one(peft, metadata).target)).toBeCloseTo32(scaled(3), { rel: 1e-6 });
    expect(deltaOf(one(peft, { lora_adapter_metadata: "{" }).target)).toBeCloseTo32(scaled(1), { rel: 1e-6 });
  });

  it("does not scale a LoKr of whole factors", () => {
    const { target } = one({
      [`${module}.lokr_w1`]: { shape: [2, 1], data: [1, 2] },
      [`${module}.lokr_w2`]: { shape: [1, 3], data: [1, 2, 3] },
      [`${module}.alpha`]: { shape: [], data: [1e10] },
    });
    expect([...deltaOf(target)]).toEqual([1, 2, 3, 2, 4, 6]);
  });
});

describe("DoRA", () => {
  const module = `lora_unet_${toK.replace(".weight", "").replaceAll(".", "_")}`;
  const factors = { [`${module}.lora_down.weight`]: down, [`${module}.lora_up.weight`]: up };
  const original = Float32Array.of(1, -2, 3, 4, 5, -6);
  const lengths = (values: ArrayLike<number>, byRow: boolean) =>
    Array.from({ length: byRow ? 2 : 3 }, (_, g) =>
      Math.hypot(...Array.from(values).filter((_, i) => (byRow ? Math.floor(i / 3) : i % 3) === g)),
    );

  it.each([
    ["per output, LyCORIS", ".dora_scale", [2, 1], true],
    ["per output, PEFT", ".lora_magnitude_vector", [2], true],
    ["per output, PEFT's kernels", ".lora_magnitude_vector", [1, 2, 1, 1], true],
    ["per output, PEFT with names", ".lora_magnitude_vector.default.weight", [2], true],
    ["per input, older LyCORIS", ".dora_scale", [1, 3], false],
  ])("%s: directions of W + scale * delta, lengths as learned", (_, ending, shape, byRow) => {
    const magnitude = byRow ? [7, 9] : [7, 9, 11];
    const { target } = one({ ...factors, [module + ending]: { shape, data: magnitude } });
    expect(target.decomposed).toBe(true);
    const scale = 0.5;
    const result = adaptWeight(original, [{ target, scale }]);
    // PEFT scales what is added; in the other layout the whole result has the strength.
    const inside = ending !== ".dora_scale";
    const moved = product.map((value, i) => original[i]! + (inside ? scale : 1) * value);
    const norms = lengths(moved, byRow);
    const learned = moved.map((value, i) => {
      const group = byRow ? Math.floor(i / 3) : i % 3;
      return (value * magnitude[group]!) / norms[group]!;
    });
    const want = learned.map((value, i) => (inside ? value : original[i]! + scale * (value - original[i]!)));
    expect(result).toBeCloseTo32(want, { rel: 1e-5 });
    const whole = inside ? result : adaptWeight(original, [{ target, scale: 1 }]);
    expect(lengths(whole, byRow)).toBeCloseTo32(magnitude, { rel: 1e-6 });
    expect([...adaptWeight(original, [{ target, scale: 0 }])]).toEqual([...original]);
  });

  it("keeps rows of zeros zero", () => {
    const zero = { ...up, data: [0, 0] };
    const tensors = {
      ...factors,
      [`${module}.lora_up.weight`]: zero,
      [`${module}.dora_scale`]: { shape: [2, 1], data: [1, 1] },
    };
    expect([...adaptWeight(new Float32Array(6), [{ target: one(tensors).target, scale: 1 }])]).toEqual([
      0, 0, 0, 0, 0, 0,
    ]);
  });

  it("refuses lengths of another size", () => {
    const tensors = { ...factors, [`${module}.dora_scale`]: { shape: [3, 1], data: [1, 1, 1] } };
    expect(() => one(tensors)).toThrow(expect.objectContaining({ code: "WEIGHT_SHAPE" }));
  });
});

describe("adapters of LyCORIS and PEFT make the weights that those make", () => {
  const { adapters } = JSON.parse(readFileSync(goldenExtra("lycoris/cases.json"), "utf8")) as {
    adapters: { name: string; file: string; scale: number; changed: string[] }[];
  };
  const want = readTensors(goldenExtra("lycoris/lycoris.safetensors"));
  const unet = openCheckpoint(goldenPath("models/tiny-sd1/unet/diffusion_pytorch_model.safetensors"));
  open.push(unet);

  it.each(adapters.map((c) => [c.name, c] as const))("%s", (name, { file, scale, changed }) => {
    const lora = openLora(goldenExtra(`lycoris/${file}`), { unet: unet.tensors });
    open.push(lora);
    expect(lora.unmatched).toEqual([]);
    const plan = planMerge([{ lora, scale }]).get("unet")!;
    expect([...plan.keys()].sort()).toEqual(changed);
    for (const [tensor, changes] of plan)
      expect(adaptWeight(unet.readFloat32(tensor), changes)).toBeCloseTo32(
        want.get(`${name}|${tensor}`)!.data,
        { rel: 1e-5, abs: 1e-6 },
      );
  });
});

describe("openLora", () => {
  const source = goldenCases("lora").find((c) => c.id === "lora/peft")!;
  const ofModel = goldenModel(source.config.model);
  const folder = mkdtempSync(join(tmpdir(), "lora-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const first = (lora: Lora) => deltaOf(lora.targets[0]!);

  it("opens a file, or a folder with its adapter_config.json", () => {
    const file = openLora(goldenPath(source.inputs.lora), ofModel);
    copyFileSync(goldenPath(source.inputs.lora), join(folder, "adapter_model.safetensors"));
    writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ r: 4, lora_alpha: 8 }));
    const inFolder = openLora(folder, ofModel);
    expect(first(inFolder)).toBeCloseTo32(
      first(file).map((value) => 2 * value),
      { rel: 1e-6 },
    );
    file.close();
    inFolder.close();
  });

  it("refuses what is none", () => {
    expect(() => openLora(join(folder, "none"), ofModel)).toThrow(
      expect.objectContaining({ code: "FILE_MISSING" }),
    );
    const model = goldenPath(`${source.config.model}/unet/diffusion_pytorch_model.safetensors`);
    expect(() => openLora(model, ofModel)).toThrow("is no LoRA");
  });
});

describe("several adapters", () => {
  const module = `unet.${toK.replace(".weight", "")}`;
  const adapter = (factor: number) =>
    matchLora(
      memory({
        [`${module}.lora_A.weight`]: down,
        [`${module}.lora_B.weight`]: { ...up, data: up.data.map((value) => value * factor) },
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight": down,
        "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight": up,
      }),
      model,
    );

  it("adds them up, whatever the strengths", () => {
    const strength = fc.double({ min: -2, max: 2, noNaN: true });
    const original = Float32Array.of(1, 2, 3, 4, 5, 6);
    fc.assert(
      fc.property(strength, strength, (a, b) => {
        const plan = planMerge([
          { lora: adapter(1), scale: a },
          { lora: adapter(3), scale: b },
        ]);
        const got = adaptWeight(original, plan.get("unet")?.get(toK) ?? []);
        expect(got).toBeCloseTo32(
          original.map((value, i) => value + (a + 3 * b) * product[i]!),
          { abs: 1e-3 },
        );
        expect([...original]).toEqual([1, 2, 3, 4, 5, 6]);
      }),
      { numRuns: 50 },
    );
  });

  it("touches only what has a strength: networks apart, zero not at all", () => {
    const uses = [{ lora: adapter(1), scale: { unet: 0.5, text_encoder: 0 } }];
    expect([...planMerge(uses)].map(([network, tensors]) => [network, [...tensors.keys()]])).toEqual([
      ["unet", [toK]],
    ]);
    expect(planMerge([{ lora: adapter(1), scale: 0 }]).size).toBe(0);
  });

  it("uses the matrix product that it is given", () => {
    let calls = 0;
    const target = adapter(1).targets[0]!;
    deltaOf(target, (_a, _b, rows, _inner, columns) => {
      calls++;
      return new Float32Array(rows * columns);
    });
    expect(calls).toBe(1);
  });
});

describe("files that do not fit", () => {
  it("tells the family that it was made for", () => {
    const key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";
    const xl = { shape: [1, 2048], data: Array<number>(2048).fill(0) };
    const sd1: AdaptedModel = { unet: new Map([[toK, { shape: [320, 768] }]]) };
    expect(() =>
      matchLora(memory({ [`${key}.lora_down.weight`]: xl, [`${key}.lora_up.weight`]: up }), sd1),
    ).toThrow(
      expect.objectContaining({
        hint: "It was made for Stable Diffusion XL; this model is Stable Diffusion 1.",
      }),
    );
  });

  it.each([
    ["BOFT", "base_model.model.conv_in.boft_R"],
    ["VeRA", "base_model.model.conv_in.vera_lambda_b"],
    ["IA3 in PEFT's layout", "base_model.model.conv_in.ia3_l"],
    ["HRA", "base_model.model.conv_in.hra_u"],
    ["FourierFT", "base_model.model.conv_in.fourierft_spectrum.default"],
    ["SVDiff", "conv_in.spectral_shifts"],
    ["Custom Diffusion", "mid_block.attentions.0.attn2.processor.to_k_custom_diffusion.weight"],
    ["lora_diffusion", "unet:0:up"],
  ])("refuses %s by name", (name, key) => {
    const { code, message } = thrown(() => one({ [key]: { shape: [1], data: [0] } }));
    expect([code, message]).toEqual(["UNSUPPORTED", expect.stringContaining(name)]);
    expect(message).toContain(`which is not supported; it holds ${key}`);
  });

  it("refuses orthogonal matrices by name", () => {
    const key = "lora_unet_conv_in.oft_blocks";
    const blocks = { shape: [8, 2, 2], data: Array<number>(32).fill(0) };
    expect(() => one({ [key]: blocks, "lora_unet_conv_in.alpha": { shape: [], data: [1] } })).toThrow(
      /turns weights by orthogonal matrices \(OFT, BOFT\), which is not supported; it holds lora_unet_conv_in/,
    );
  });

  it("says of a change for a bias that the model does not have that nothing was done", () => {
    const { target, unmatched } = one({
      [`${toK.replace(".weight", "")}.lora_A.weight`]: down,
      [`${toK.replace(".weight", "")}.lora_B.weight`]: up,
      [`${toK.replace(".weight", "")}.lora_B.bias`]: { shape: [up.shape[0]!], data: up.data },
    });
    expect(target.name).toBe(toK);
    expect(unmatched).toEqual([
      { key: `${toK.replace(".weight", "")}.lora_B.bias`, reason: "the model's module has no bias" },
    ]);
  });

  it("refuses patterns that could search for ever, and does not search", () => {
    const module = toK.replace(".weight", "");
    const peft = { [`${module}.lora_A.weight`]: down, [`${module}.lora_B.weight`]: up };
    for (const pattern of ["(a+)+", "(?:.*.*)", ".*.*.*.*", "(", "(?=x)", "x{9}", "[ab]"]) {
      const metadata = JSON.stringify({ "unet.lora_alpha": 1, "unet.alpha_pattern": { [pattern]: 2 } });
      const open = () => one(peft, { lora_adapter_metadata: metadata });
      if (pattern === "(?:.*.*)") expect(open).not.toThrow();
      else expect(open).toThrow("is not understood");
    }
  });

  it("reports keys that nobody knows, and goes on with the rest", () => {
    const { unmatched } = one({
      [`${toK.replace(".weight", "")}.lora_A.weight`]: down,
      [`${toK.replace(".weight", "")}.lora_B.weight`]: up,
      "lora_unet_elsewhere.lora_down.weight": down,
      "lora_te_text_model_encoder_layers_9_mlp_fc1.alpha": { shape: [], data: [1] },
      "some.bias": { shape: [2], data: [0, 0] },
    });
    expect(unmatched.map(({ key }) => key).sort()).toEqual([
      "lora_te_text_model_encoder_layers_9_mlp_fc1.alpha",
      "lora_unet_elsewhere.lora_down.weight",
      "some.bias",
    ]);
  });

  it.each([
    ["nothing", {}, "is no LoRA"],
    [
      "a whole network",
      { "conv_in.weight": { shape: [1], data: [0] } },
      "is no LoRA; it holds conv_in.weight",
    ],
    ["another architecture", { "transformer.blocks.0.attn.to_q.lora_A.weight": down }, "names no module"],
  ])("refuses %s", (_, tensors, message) => {
    expect(() => matchLora(memory(tensors), model)).toThrow(message);
  });

  it("refuses a module of which a factor is missing", () => {
    expect(() => one({ [`unet.${toK.replace(".weight", "")}.lora_A.weight`]: down })).toThrow(
      /incomplete\n.*to_k\.lora_A\.weight \[1,3\]/,
    );
  });
});
