import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseJson, readJsonObject } from "../disk/json.js";
import { goldenCases, goldenPath, readTensors } from "../testing/golden.js";
import { thrown } from "../testing/thrown.js";
import { stateArchive } from "../testing/torch-writer.js";
import { openComponentFolder, openFolder } from "./folder.js";
import { writeSafetensors } from "./formats/safetensors.js";

const folder = mkdtempSync(join(tmpdir(), "source-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("golden models open", () => {
  const whole = goldenCases("model").filter(({ files }) =>
    files.some((file) => file.endsWith("model_index.json")),
  );
  test.each(whole.map((c) => [c.id, c] as const))("%s", (_, { files, config }) => {
    const source = openFolder(goldenPath(dirname(files.find((file) => file.endsWith("model_index.json"))!)));
    const networks = [source.unet, ...(source.vae ? [source.vae] : []), ...source.textEncoders];
    const parameters = Object.fromEntries(
      networks.map((network) => {
        const checkpoint = network.open();
        const sizes = [...checkpoint.tensors.values()].map(({ shape }) => shape.reduce((a, b) => a * b, 1));
        checkpoint.close();
        return [basename(dirname(network.weights.path)), sizes.reduce((a, b) => a + b, 0)];
      }),
    );
    expect(parameters).toEqual(config.parameters);
    expect(source.tokenizers.length).toBe(source.textEncoders.length);
    for (const tokenizer of source.tokenizers) expect(existsSync(tokenizer.folder)).toBe(true);
    expect(source.scheduler._class_name).toMatch(/Scheduler$/);
    expect(source.lowResScheduler !== undefined).toBe(source.pipeline === "StableDiffusionUpscalePipeline");
  });

  test.each(["tiny-controlnet", "tiny-taesd"])("%s, a single network", (name) => {
    const [model] = goldenCases("model").filter(({ id }) => id === `model/${name}`);
    const network = openComponentFolder(goldenPath(`models/${name}`));
    const checkpoint = network.open();
    const count = [...checkpoint.tensors.values()].reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    checkpoint.close();
    expect(count).toBe(model!.config.parameters);
    expect(network.className).toMatch(/^(ControlNetModel|AutoencoderTiny)$/);
    expect(thrown(() => openFolder(goldenPath(`models/${name}`))).message).toMatch(
      /holds one network \((Con|Auto)/,
    );
  });
});

/** How far each way of storing the weights of tiny-sd1's UNet may be from float32, relative. */
const rounding: Record<string, number> = { fp32: 0, sharded: 0, fp16: 2 ** -11, bf16: 2 ** -8 };

test.each(goldenCases("storage").map((c) => [c.id, c] as const))(
  "%s is found and read",
  (id, { config, files }) => {
    const network = openComponentFolder(
      goldenPath(config.unet),
      config.variant ? { variant: config.variant } : {},
    );
    expect(files.map(goldenPath)).toContain(network.weights.path);
    const checkpoint = network.open();
    const want = readTensors(goldenPath("models/tiny-sd1/unet/diffusion_pytorch_model.safetensors"));
    expect([...checkpoint.tensors.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [name, { shape, data }] of want) {
      expect(checkpoint.tensors.get(name)?.shape).toEqual(shape);
      // 1e-7: below the smallest normal half precision is absolute.
      expect(checkpoint.readFloat32(name)).toBeCloseTo32(data, {
        rel: rounding[basename(id)]!,
        abs: rounding[basename(id)]! && 1e-7,
      });
    }
    checkpoint.close();
  },
);

test("of several weights the variant asked for is taken, else the plain ones, else half precision", () => {
  const files = (...names: string[]) => {
    const path = mkdtempSync(join(folder, "unet-"));
    writeFileSync(join(path, "config.json"), '{"_class_name": "UNet2DConditionModel"}');
    for (const name of names) writeFileSync(join(path, name), '{"weight_map": {}}');
    return (variant?: string) =>
      basename(openComponentFolder(path, variant === undefined ? {} : { variant }).weights.path);
  };
  const [plain, half] = ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"];
  const both = files(plain, half, "diffusion_pytorch_model.bin");
  expect([both(), both("fp16"), both("bf16")]).toEqual([plain, half, plain]);
  expect(files(half)()).toBe(half);
  const shards = files(
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
  );
  expect([shards(), shards("fp16")]).toEqual([
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors.index.fp16.json",
  ]);
  expect(thrown(files("other.safetensors")).message).toMatch(
    /has no diffusion_pytorch_model\.safetensors; it holds/,
  );
});

describe("weights in shards", () => {
  const parts = [
    ["unet", "diffusion_pytorch_model", "diffusion_pytorch_model"],
    ["vae", "diffusion_pytorch_model", "diffusion_pytorch_model"],
    ["text_encoder", "model", "pytorch_model"],
  ] as const;
  const cases = parts.flatMap(([role, safe, pickle]) =>
    ([null, "fp16"] as const).flatMap((variant) => [
      [role, safe, "safetensors", variant] as const,
      [role, pickle, "bin", variant] as const,
    ]),
  );

  /** tiny-sd1's part in two shards under an index. */
  function sharded(role: string, stem: string, ending: string, variant: string | null) {
    const path = mkdtempSync(join(folder, `${role}-`));
    const from = goldenPath(`models/tiny-sd1/${role}`);
    cpSync(join(from, "config.json"), join(path, "config.json"));
    const original = openComponentFolder(from).open();
    const tensors = [...original.tensors].map(([name, { shape }]) => {
      return [name, { shape, data: original.readFloat32(name) }] as const;
    });
    original.close();
    const shard = (i: number) => `${stem}-0000${(i % 2) + 1}-of-00002.${ending}`;
    for (const i of [0, 1]) {
      const own = tensors.filter((_, at) => at % 2 === i);
      if (ending === "bin") writeFileSync(join(path, shard(i)), stateArchive(own));
      else
        writeSafetensors(
          join(path, shard(i)),
          new Map(
            own.map(([name, { shape, data }]) => {
              const bytes = new Uint8Array(data.slice().buffer);
              return [name, { dtype: "F32", shape, data: () => bytes }] as const;
            }),
          ),
        );
    }
    const index = `${stem}.${ending}.index.${variant === null ? "" : `${variant}.`}json`;
    const map = Object.fromEntries(tensors.map(([name], i) => [name, shard(i)]));
    const write = (weight_map: object) => writeFileSync(join(path, index), JSON.stringify({ weight_map }));
    write(map);
    return { path, index, map, write, shard, tensors };
  }

  test.each(cases)("%s: %s, .%s, variant %s", (role, stem, ending, variant) => {
    const { path, index, map, write, shard, tensors } = sharded(role, stem, ending, variant);
    const open = () => openComponentFolder(path, variant === null ? {} : { variant });
    expect(basename(open().weights.path)).toBe(index);
    const checkpoint = open().open();
    expect([...checkpoint.tensors.keys()].sort()).toEqual(tensors.map(([name]) => name).sort());
    for (const [name, { data }] of tensors) expect(checkpoint.readFloat32(name)).toEqual(data);
    checkpoint.close();

    write({ ...map, "more.weight": shard(1) });
    expect(thrown(() => open().open()).message).toMatch(
      new RegExp(`${shard(1).replaceAll(".", "\\.")} lacks more\\.weight, which .* promises`),
    );
    write({ ...map, [tensors[0]![0]]: `../${shard(0)}` });
    expect(thrown(open).message).toMatch(/must be in a .* file in the same folder, got "\.\.\//);
    write(map);
    rmSync(join(path, shard(1)));
    expect(thrown(open).message).toMatch(`${shard(1)} is missing; ${join(path, index)} names it`);
  });
});

/**
 * Opens whatever part of a model a folder of `bad/folders` holds. What is wrong only for the network, the scheduler
 * or the tokenizer has to pass here, with its configuration intact.
 */
function openComponent(path: string): void {
  const isWhole = existsSync(join(path, "model_index.json")) || basename(path) === "index-missing";
  if (isWhole) openFolder(path);
  else if (existsSync(join(path, "unet"))) openComponentFolder(join(path, "unet")).open().close();
  else readJsonObject(join(path, "scheduler/scheduler_config.json"));
}

const elsewhere = /config-(unknown-block|groups|huge)|weights-|scheduler-|tokenizer-/;

describe("golden bad folders", () => {
  const own = goldenCases("bad-folder").filter(({ id }) => !elsewhere.test(id));
  const messages: Record<string, RegExp> = {
    "shard-traversal": /"a" must be in a \.safetensors or \.bin file in the same folder, got "\.\.\//,
    "shard-absolute": /"a" must be in a \.safetensors or \.bin file in the same folder, got "\//,
    "shard-missing": /diffusion_pytorch_model-00002-of-00002\.safetensors is missing/,
    "shard-key-missing": /lacks b, which .* promises/,
    "shard-proto": /"__proto__" must be in a \.safetensors or \.bin file/,
    "index-unknown-pipeline": /models of the kind FluxPipeline are not supported/,
    "index-unknown-class": /has no folder unet/, // the scheduler's name is judged by the schedulers
    "index-custom-code": /unet needs the code "\.\/evil\.py"/,
    "index-not-json": /is not JSON: expected a string at character/,
    "index-missing": /has no model_index\.json/,
    "component-missing": /has no folder vae/,
    "pickle-only": /pickle .* a \.safetensors file is needed: .*diffusion_pytorch_model\.bin/,
  };
  test.each(own.map((c) => [basename(c.id), c] as const))("%s", (name, { files, expected }) => {
    const path = goldenPath(files[0]!.split("/").slice(0, 3).join("/"));
    expect(expected.verdict).toBe("reject");
    const { message, code } = thrown(() => openComponent(path));
    expect(message).toMatch(messages[name] ?? /./);
    expect(code).not.toBe("INTERNAL");
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  const others = goldenCases("bad-folder").filter(
    ({ id }) => /(config|weights|scheduler)-/.test(id) && elsewhere.test(id),
  );
  test.each(others.map((c) => [basename(c.id), c] as const))(
    "%s is handed on as it stands",
    (_, { files }) => {
      openComponent(goldenPath(files[0]!.split("/").slice(0, 3).join("/")));
      const config = files.find((file) => file.endsWith("config.json"))!;
      expect(Object.keys(readJsonObject(goldenPath(config)))).toContain("_class_name");
    },
  );

  test("a scheduler's bare -Infinity is read", () => {
    const path = "bad/folders/scheduler-json-infinity/scheduler/scheduler_config.json";
    expect(readJsonObject(goldenPath(path)).lambda_min_clipped).toBe(-Infinity);
  });
});

describe("folders of another kind", () => {
  const made = (files: Record<string, string>) => {
    const path = mkdtempSync(join(folder, "kind-"));
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), content);
    }
    return path;
  };
  const index = (fields: object) => made({ "model_index.json": JSON.stringify(fields) });
  const sd = { _class_name: "StableDiffusionPipeline", unet: ["diffusers", "UNet2DConditionModel"] };

  test.each<[string, () => string, string, RegExp]>([
    ["none", () => join(folder, "none"), "FILE_MISSING", /does not exist/],
    ["empty", () => made({}), "FILE_MISSING", /is empty/],
    ["a LoRA", () => made({ "pytorch_lora_weights.safetensors": "" }), "MODEL_KIND", /holds a LoRA/],
    [
      "one network",
      () => made({ "config.json": '{"architectures": ["LlamaForCausalLM"]}' }),
      "MODEL_KIND",
      /LlamaForCausalLM/,
    ],
    [
      "Core ML",
      () => made({ "Unet.mlmodelc/model.mil": "", "merges.txt": "" }),
      "MODEL_KIND",
      /holds a model for Core ML: Unet\.mlmodelc, merges\.txt/,
    ],
    [
      "Core ML, from its top",
      () => made({ "split_einsum/compiled/Unet.mlmodelc/model.mil": "", "README.md": "" }),
      "MODEL_KIND",
      /holds a model for Core ML: README\.md, split_einsum/,
    ],
    [
      "ONNX",
      () => index({ _class_name: "OnnxStableDiffusionPipeline" }),
      "MODEL_KIND",
      /OnnxStableDiffusionPipeline are for ONNX Runtime/,
    ],
    ["OpenVINO", () => index({ _class_name: "OVStableDiffusionXLPipeline" }), "MODEL_KIND", /for OpenVINO/],
    [
      "the hub's cache",
      () => made({ "blobs/a": "", "refs/main": "", "snapshots/abc/model_index.json": "{}" }),
      "MODEL_KIND",
      /is a folder of the hub's cache/,
    ],
    ["single files", () => made({ "v1.safetensors": "" }), "FILE_MISSING", /no model_index\.json/],
    [
      "custom pipeline",
      () => index({ _class_name: ["my_pipeline", "Mine"] }),
      "UNSUPPORTED",
      /code of its own/,
    ],
    ["no pipeline", () => index({}), "FILE_FORMAT", /expected a _class_name/],
    ["constructor", () => index({ _class_name: "constructor" }), "MODEL_KIND", /kind constructor/],
    [
      "unknown class",
      () => index({ ...sd, vae: ["diffusers", "AutoencoderDC"] }),
      "UNSUPPORTED",
      /class AutoencoderDC of vae/,
    ],
    [
      "a string for a component",
      () => index({ ...sd, vae: ["diffusers"] }),
      "FILE_FORMAT",
      /vae: expected \[library, class\]/,
    ],
    ["a needed component is null", () => index({ ...sd, vae: [null, null] }), "FILE_FORMAT", /needs a vae/],
  ])("%s", (_, path, code, message) => {
    const caught = thrown(() => openFolder(path()));
    expect([caught.code, caught.message]).toEqual([code, expect.stringMatching(message)]);
  });

  test.each<[string, Record<string, string>, string, RegExp, RegExp]>([
    ["Flax", { "diffusion_flax_model.msgpack": "" }, "UNSUPPORTED", /weights for Flax/, /for PyTorch/],
    [
      "ONNX",
      { "model.onnx": "", "weights.pb": "" },
      "UNSUPPORTED",
      /weights for ONNX Runtime/,
      /for PyTorch/,
    ],
    [
      "another variant",
      { "diffusion_pytorch_model.non_ema.safetensors": "" },
      "FILE_MISSING",
      /it holds config\.json, diffusion_pytorch_model\.non_ema\.safetensors$/,
      /--variant\): non_ema/,
    ],
    ["nothing", {}, "FILE_MISSING", /it holds config\.json$/, /download is incomplete/],
  ])("a network of which there is %s", (_, files, code, message, hint) => {
    const path = made({ "config.json": '{"_class_name": "UNet2DConditionModel"}', ...files });
    const caught = thrown(() => openComponentFolder(path));
    expect([caught.code, caught.message, caught.hint]).toEqual([
      code,
      expect.stringMatching(message),
      expect.stringMatching(hint),
    ]);
  });

  test("quantised weights are refused by the name of their method", () => {
    const quantization_config = { quant_method: "bitsandbytes", load_in_4bit: true };
    const path = made({
      "config.json": JSON.stringify({ _class_name: "UNet2DConditionModel", quantization_config }),
      "diffusion_pytorch_model.safetensors": "",
    });
    const { code, message } = thrown(() => openComponentFolder(path));
    expect([code, message]).toEqual(["UNSUPPORTED", expect.stringMatching(/quantised.*bitsandbytes/)]);
  });

  test("components that are not loaded may be anything of known libraries, or absent", () => {
    const path = mkdtempSync(join(folder, "copy-"));
    cpSync(goldenPath("models/tiny-sd1"), path, { recursive: true });
    const settings = readJsonObject(join(path, "model_index.json"));
    settings.safety_checker = ["stable_diffusion", "StableDiffusionSafetyChecker"];
    settings.feature_extractor = ["transformers", "CLIPFeatureExtractor"];
    writeFileSync(join(path, "model_index.json"), JSON.stringify(settings));
    expect(openFolder(path).unet.className).toBe("UNet2DConditionModel");
  });
});

test("configurations are JSON as Python writes it, and stricter", () => {
  expect(
    parseJson(
      '{"a": [NaN, Infinity, -Infinity, -1.5e-3, true, null, "\\u00e9\\n"], "__proto__": {"x": 1}}',
      "python",
    ),
  ).toEqual(
    Object.assign(Object.create(null), {
      a: [NaN, Infinity, -Infinity, -0.0015, true, null, "é\n"],
      ["__proto__"]: { x: 1 },
    }),
  );
  for (const text of [
    "",
    "{",
    "[1,]",
    '{"a":1,"a":2}',
    "01",
    "+1",
    "1.",
    "nul",
    '"\n"',
    '"\\x"',
    "{} {}",
    "[".repeat(1e5),
  ])
    expect(() => parseJson(text, "python")).toThrow(SyntaxError);
});
