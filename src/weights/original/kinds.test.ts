import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readModel } from "../../runtime/model.js";
import { createScheduler } from "../../schedulers/scheduler.js";
import { ggufOf, quantisable } from "../../testing/gguf-writer.js";
import { goldenPath } from "../../testing/golden.js";
import {
  type OriginalOptions,
  scheduleTable,
  tensorsOf,
  writeOriginal,
} from "../../testing/original-layout.js";
import { thrown } from "../../testing/thrown.js";
import { stateArchive } from "../../testing/torch-writer.js";
import { type Mapping, openCheckpoint } from "../checkpoint.js";
import type { ModelSource } from "../component.js";
import { openFolder } from "../folder.js";
import { writeSafetensors } from "../formats/safetensors.js";
import { type ModelOpening, openModel } from "../model.js";

const folder = mkdtempSync(join(tmpdir(), "kinds-"));
afterAll(() => rmSync(folder, { recursive: true }));
const tokenizer = goldenPath("tokenizers/tokenizer-clip");
let files = 0;

type Tiny = "tiny-sd1" | "tiny-sd2" | "tiny-sdxl";
const folderOf = (tiny: Tiny): string => goldenPath(`models/${tiny}`);

/** A tiny model in one file, in the original layout. */
function file(tiny: Tiny, options: OriginalOptions = {}): string {
  const path = join(folder, `${++files}.safetensors`);
  writeOriginal(path, openFolder(folderOf(tiny)), options);
  return path;
}
const open = (path: string, options: Partial<ModelOpening> = {}): ModelSource =>
  openModel(path, { tokenizer, ...options });

/** Weights, by component, without what another layout may leave out. */
const values = (source: ModelSource) =>
  [source.unet, source.vae!, ...source.textEncoders].map((component) => tensorsOf(component.open()));

describe("Stable Diffusion 2 in the layout of XL's code (SD-Turbo)", () => {
  const path = file("tiny-sd2", { textRoot: "conditioner.embedders.0." });

  test("is no refiner: its text encoder, and what such models predict, with a note", () => {
    const source = open(path);
    expect(source.pipeline).toBe("StableDiffusionPipeline");
    expect(values(source)).toEqual(values(openFolder(folderOf("tiny-sd2"))));
    expect(source.textEncoders[0]!.className).toBe("CLIPTextModel");
    expect(source.scheduler).toMatchObject({
      _class_name: "EulerDiscreteScheduler",
      prediction_type: "epsilon",
      timestep_spacing: "trailing",
    });
    expect(source.notes).toEqual([
      expect.stringMatching(/epsilon is assumed, as of SD-Turbo.*"v_prediction"/),
    ]);
  });

  test("another prediction is taken when it is given, and nothing is assumed then", () => {
    const source = open(path, { prediction: "v_prediction" });
    expect(source.scheduler.prediction_type).toBe("v_prediction");
    expect(source.notes).toEqual([]);
  });
});

test("the refiner of XL: one text encoder, with its projection, and five sizes", () => {
  // Its UNet reads one text of the second encoder's width; its added embedding is that of five numbers.
  const base = openFolder(folderOf("tiny-sdxl"));
  const [, second] = base.textEncoders;
  const [projection, width] = [second!.config.projection_dim as number, second!.config.hidden_size as number];
  const source: ModelSource = {
    ...base,
    textEncoders: [second!],
    unet: reshaped(base, (name, shape) => {
      if (/attn2\.to_[kv]\.weight$/.test(name)) return [shape[0]!, width];
      if (name === "add_embedding.linear_1.weight")
        return [shape[0]!, projection + (5 * (shape[1]! - projection)) / 6];
      return shape;
    }),
  };
  const path = join(folder, "refiner.safetensors");
  writeOriginal(path, source, { textRoot: "conditioner.embedders.0." });
  const got = open(path);
  expect(got.pipeline).toBe("StableDiffusionXLImg2ImgPipeline");
  expect(got.settings).toMatchObject({
    requires_aesthetics_score: true,
    force_zeros_for_empty_prompt: false,
  });
  expect(got.textEncoders.map(({ className }) => className)).toEqual(["CLIPTextModelWithProjection"]);
  expect(tensorsOf(got.textEncoders[0]!.open())).toEqual(tensorsOf(second!.open()));
  expect(got.tokenizers).toEqual([{ folder: tokenizer, padToken: "!" }]);
  expect(got.unet.config).toMatchObject({
    addition_time_embed_dim: base.unet.config.addition_time_embed_dim,
    cross_attention_dim: width,
  });
});

/** A UNet whose tensors have other shapes; their values are of no account. */
function reshaped(
  { unet }: ModelSource,
  shapeOf: (name: string, shape: readonly number[]) => readonly number[],
): ModelSource["unet"] {
  return {
    ...unet,
    open() {
      const checkpoint = unet.open();
      const tensors = new Map(
        [...checkpoint.tensors].map(([name, info]) => [name, { ...info, shape: shapeOf(name, info.shape) }]),
      );
      const size = (name: string) => tensors.get(name)!.shape.reduce((product, n) => product * n, 1);
      return { ...checkpoint, tensors, readFloat32: (name: string) => new Float32Array(size(name)) };
    },
  };
}

describe("what the UNet predicts", () => {
  const v = { v_pred: [] };
  const says = (said: string) => ({ "modelspec.prediction_type": said });
  const is = (version: string) => ({ "modelspec.architecture": `stable-diffusion-${version}` });
  const scheduler = (tiny: Tiny, given: OriginalOptions, options: Partial<ModelOpening> = {}) => {
    const { scheduler, notes } = open(file(tiny, given), options);
    return { type: scheduler.prediction_type, notes: notes!.join("; ") };
  };

  test.each<[string, Tiny, OriginalOptions, Partial<ModelOpening>, string, RegExp]>([
    ["nothing says it", "tiny-sd1", {}, {}, "epsilon", /^$/],
    ["nothing says it of 2", "tiny-sd2", {}, {}, "v_prediction", /v_prediction is assumed.*768.*"epsilon"/],
    ["the option", "tiny-sd2", {}, { prediction: "epsilon" }, "epsilon", /^$/],
    ["a mark", "tiny-sd1", { beside: v }, {}, "v_prediction", /^$/],
    ["metadata", "tiny-sd2", { metadata: says("epsilon") }, {}, "epsilon", /^$/],
    ["metadata in other words", "tiny-sd1", { metadata: says("V") }, {}, "v_prediction", /^$/],
    ["an architecture's name", "tiny-sd2", { metadata: is("v2-512") }, {}, "epsilon", /^$/],
    ["another one's", "tiny-sd2", { metadata: is("v2-768-v") }, {}, "v_prediction", /^$/],
    ["steps of 512-base", "tiny-sd2", { beside: { global_step: [875_000] } }, {}, "epsilon", /^$/],
    ["steps of 768-v", "tiny-sd2", { beside: { global_step: [140_000] } }, {}, "v_prediction", /^$/],
    ["steps of somebody's own", "tiny-sd2", { beside: { global_step: [7] } }, {}, "v_prediction", /assumed/],
    ["steps of another family", "tiny-sd1", { beside: { global_step: [110_000] } }, {}, "epsilon", /^$/],
    [
      "the option before a mark",
      "tiny-sd1",
      { beside: v },
      { prediction: "epsilon" },
      "epsilon",
      /by the option prediction; the file's marker tensors says v_prediction/,
    ],
    [
      "a mark before metadata",
      "tiny-sd1",
      { beside: v, metadata: says("epsilon") },
      {},
      "v_prediction",
      /by the file's marker tensors; the file's modelspec.prediction_type says epsilon/,
    ],
    [
      "metadata before the scheduler of config",
      "tiny-sd2",
      { metadata: says("epsilon") },
      { config: folderOf("tiny-sd2") },
      "epsilon",
      /by the file's modelspec.prediction_type; the scheduler of config says v_prediction/,
    ],
    [
      "the scheduler of config before steps",
      "tiny-sd2",
      { beside: { global_step: [875_000] } },
      { config: folderOf("tiny-sd2") },
      "v_prediction",
      /by the scheduler of config; the file's global_step says epsilon/,
    ],
  ])("%s", (_, tiny, given, options, type, notes) => {
    expect(scheduler(tiny, given, options)).toEqual({ type, notes: expect.stringMatching(notes) });
  });

  test("steps that stand in a pickle as a number", () => {
    const path = join(folder, "base.ckpt");
    const tensors = tensorsOfFile(file("tiny-sd2"));
    writeFileSync(path, stateArchive(tensors, { global_step: 875_000, epoch: 3 }));
    const { scheduler, notes } = open(path);
    expect([scheduler.prediction_type, notes]).toEqual(["epsilon", []]);
  });

  test("a zero terminal signal reaches the scheduler of config, too", () => {
    const path = file("tiny-sd1", { beside: { ...v, ztsnr: [] } });
    for (const options of [{}, { config: folderOf("tiny-sd1") }])
      expect(open(path, options).scheduler).toMatchObject({
        prediction_type: "v_prediction",
        rescale_betas_zero_snr: true,
        timestep_spacing: "trailing",
      });
  });

  describe("the file's own table of its schedule", () => {
    const { scheduler } = openFolder(folderOf("tiny-sd1"));
    const table = scheduleTable(scheduler);
    const roots = table.map(Math.sqrt);
    const [first, last] = [roots[0]!, roots.at(-1)!];
    const ending = roots.map((root) => (((root - last) * first) / (first - last)) ** 2);

    test("rounded as half precision does, it is the scheduler's", () => {
      const rounded = table.map((value) => value * (1 + 2 ** -11));
      expect(open(file("tiny-sd1", { table: rounded })).notes).toEqual([]);
    });

    test("where it ends in noise, the scheduler does, with a class that can", () => {
      const { scheduler, notes } = open(file("tiny-sd1", { table: ending }));
      expect(scheduler).toMatchObject({
        _class_name: "DDIMScheduler",
        rescale_betas_zero_snr: true,
        timestep_spacing: "trailing",
      });
      expect(notes).toEqual([]);
      const alphas = createScheduler(scheduler, { steps: 1 });
      expect(alphas.timesteps).toEqual([999]);
    });

    test("where it ends in noise and the scheduler of config cannot, the notes say so", () => {
      const { scheduler, notes } = open(file("tiny-sd1", { table: ending }), {
        config: folderOf("tiny-sd1"),
      });
      expect(scheduler).toMatchObject({ _class_name: "PNDMScheduler", rescale_betas_zero_snr: true });
      expect(notes).toEqual([
        expect.stringMatching(/ends in noise.*PNDMScheduler, does not do: name another/),
      ]);
    });

    test.each<[string, Float32Array]>([
      ["of other betas", scheduleTable({ beta_start: 0.0001, beta_end: 0.02 })],
      ["of zeros", new Float32Array(1000)],
      ["that is not all there", table.subarray(0, 500)],
    ])("one %s is in the notes", (_, other) => {
      expect(open(file("tiny-sd1", { table: other })).notes).toEqual([
        expect.stringMatching(
          /alphas_cumprod are not those of its scheduler \(scaled_linear, 0\.00085 to 0\.012\)/,
        ),
      ]);
    });
  });

  test("a folder's, when it is given", () => {
    expect(open(folderOf("tiny-sd1"), { prediction: "v_prediction" }).scheduler.prediction_type).toBe(
      "v_prediction",
    );
  });

  test("a prediction that is not known is refused by its name", () => {
    const error = thrown(() => scheduler("tiny-sd1", { metadata: says("flow") }));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining('"flow"')]);
  });
});

describe("models that are trained on continuous noise levels", () => {
  test("CosXL: v-prediction in EDM's form, with its range", () => {
    const path = file("tiny-sdxl", {
      beside: { "edm_vpred.sigma_max": [120], "edm_vpred.sigma_min": [0.002] },
    });
    const { scheduler, notes } = open(path);
    expect(scheduler).toEqual({
      _class_name: "EDMEulerScheduler",
      num_train_timesteps: 1000,
      prediction_type: "v_prediction",
      sigma_min: Math.fround(0.002),
      sigma_max: 120,
      sigma_data: 1,
      sigma_schedule: "exponential",
    });
    expect(notes).toEqual([]);
    expect(createScheduler(scheduler, { steps: 3 }).sigmas).toHaveLength(4);
  });

  const mean = [-1.6574, 1.886, -1.383, 2.5155].map(Math.fround);
  const deviation = [8.4927, 5.9022, 6.5498, 5.2299].map(Math.fround);

  test("Playground v2.5: EDM's form, and the latents' mean and deviation", () => {
    const path = file("tiny-sdxl", { beside: { edm_mean: mean, edm_std: deviation } });
    for (const options of [{}, { config: folderOf("tiny-sdxl") }]) {
      const source = open(path, options);
      expect(source.scheduler).toMatchObject({
        _class_name: "EDMDPMSolverMultistepScheduler",
        prediction_type: "epsilon",
        sigma_data: 0.5,
        sigma_max: 80,
      });
      expect(source.vae!.config).toMatchObject({
        latents_mean: mean,
        latents_std: deviation,
        scaling_factor: 0.5,
      });
    }
    expect(createScheduler(open(path).scheduler, { steps: 3 }).sigmas).toHaveLength(4);
    const read = readModel(open(path, { config: folderOf("tiny-sdxl") }));
    expect(read.vae).toMatchObject({ scalingFactor: 0.5, latentsMean: mean, latentsStd: deviation });
  });

  test.each([{ edm_mean: mean }, { edm_std: deviation }, { edm_mean: [1], edm_std: [1] }])(
    "half of the marks, or marks of other latents: %j",
    (beside) => {
      const error = thrown(() => open(file("tiny-sdxl", { beside })));
      expect([error.code, error.message]).toEqual([
        "FILE_FORMAT",
        expect.stringMatching(/edm_mean and edm_std/),
      ]);
    },
  );
});

describe("nothing in a file is dropped in silence", () => {
  test.each<[Tiny, string, string[]]>([
    ["tiny-sd1", "stable-diffusion-v1", []],
    ["tiny-sd1", "stable-diffusion-v1-inpainting", []],
    ["tiny-sdxl", "stable-diffusion-xl-v1-base", []],
    ["tiny-sd1", "somebody's own words", []],
    ["tiny-sd1", "stable-diffusion-xl-v1-base", ["Stable Diffusion 1"]],
    ["tiny-sdxl", "stable-diffusion-xl-v1-refiner", ["Stable Diffusion XL"]],
    ["tiny-sdxl", "flux-1-dev", ["Stable Diffusion XL"]],
  ])("%s whose metadata says %s", (tiny, said, families) => {
    const { notes } = open(file(tiny, { metadata: { "modelspec.architecture": said } }));
    expect(notes).toEqual(
      families.map(
        (family) =>
          `the file's modelspec.architecture says "${said}"; its tensors are those of ${family}, and are used so`,
      ),
    );
  });

  test("weights that a library has packed are refused by what packed them", () => {
    const beside = { "model.diffusion_model.time_embed.0.weight.quant_state.bitsandbytes__nf4": [1] };
    const error = thrown(() => open(file("tiny-sd1", { beside })));
    expect([error.code, error.message]).toEqual([
      "UNSUPPORTED",
      expect.stringContaining("its weights are quantised by bitsandbytes (NF4), which cannot be read"),
    ]);
  });

  test("what is not known is in the notes, what is harmless is not", () => {
    const beside = {
      "model_ema.diffusion_modelx": [1],
      "model_ema.decay": [1],
      betas: [1],
      "first_stage_model.loss.logvar": [1],
      "denoiser.sigmas": [1],
      "mystery.a.weight": [1],
      "mystery.a.bias": [1],
      "first_stage_model.strange": [1],
    };
    expect(open(file("tiny-sd1", { beside })).notes).toEqual([
      expect.stringMatching(
        /^\d+\.safetensors holds what is not used: mystery\.a \(2 tensors\), first_stage_model\.strange \(1 tensor\)$/,
      ),
    ]);
  });

  test.each([
    ["control_model.zero_convs.0.0.weight", "a ControlNet"],
    ["lora_unet_mid_block.lora_up.weight", "a LoRA"],
    ["image_proj.proj.weight", "an IP-Adapter"],
    ["noise_augmentor.data_mean", "unCLIP"],
  ])("%s beside a whole model is refused: %s", (name, what) => {
    const error = thrown(() => open(file("tiny-sd1", { beside: { [name]: [1] } })));
    expect([error.code, error.message]).toEqual(["UNSUPPORTED", expect.stringContaining(what)]);
  });
});

describe("files that lack a network", () => {
  const noVae = (name: string) => !name.startsWith("first_stage_model.");
  const noText = (name: string) => !name.startsWith("cond_stage_model.");
  const onlyUNet = (name: string) => noVae(name) && noText(name);
  const whole = () => values(openFolder(folderOf("tiny-sd1")));

  test.each<[string, (name: string) => boolean, RegExp, RegExp]>([
    ["a VAE", noVae, /lacks a VAE;/, /Give vae: the autoencoder/],
    ["a text encoder", noText, /lacks a text encoder;/, /Give config: a whole model/],
    ["both", onlyUNet, /lacks a VAE and a text encoder;/, /Give config: a whole model/],
  ])("%s: the message says what to give", (_, keeps, message, hint) => {
    const error = thrown(() => open(file("tiny-sd1", { keeps })));
    expect(error).toMatchObject({
      code: "MODEL_KIND",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
  });

  test.each<[string, (name: string) => boolean, Partial<ModelOpening>]>([
    ["the VAE from a folder", noVae, { vae: join(folderOf("tiny-sd1"), "vae") }],
    [
      "the VAE from a single file",
      noVae,
      { vae: goldenPath("singlefile/tiny-sd1.safetensors"), config: folderOf("tiny-sd1") },
    ],
    ["the VAE from config", noVae, { config: folderOf("tiny-sd1") }],
    ["the text encoder from config", noText, { config: folderOf("tiny-sd1") }],
    ["both from config", onlyUNet, { config: folderOf("tiny-sd1") }],
  ])("%s", (_, keeps, options) => {
    const source = open(file("tiny-sd1", { keeps }), options);
    const want = whole();
    const got = values(source);
    expect(got[0]).toEqual(want[0]);
    expect(got[2]).toEqual(want[2]);
    expect([...got[1]!.keys()]).toEqual([...want[1]!.keys()]);
    expect(source.notes).toEqual([]);
  });

  test("a UNet as GGUF, some of its weights packed", () => {
    const original = new Map(
      [...tensorsOfFile(file("tiny-sd1", { keeps: onlyUNet }))]
        .filter(([name]) => name !== "alphas_cumprod")
        .map(([name, tensor]) => [name.replace("model.diffusion_model.", ""), quantisable(tensor)]),
    );
    const [plain, gguf] = [join(folder, "rounded.safetensors"), join(folder, "unet.gguf")];
    const stored = [...original].map(([name, tensor]) => [name, { dtype: "F32", ...tensor }] as const);
    writeSafetensors(plain, new Map(stored));
    writeFileSync(gguf, ggufOf(original, "sd1"));
    const config = folderOf("tiny-sd1");
    const unet = (path: string) => {
      const source = open(path, { config });
      expect(source.notes).toEqual([]);
      return tensorsOf(source.unet.open());
    };
    expect(unet(gguf)).toEqual(unet(plain));
  });

  test("a UNet without a prefix, as GGUF files have it, and one with diffusers' names", () => {
    const original = join(folder, "bare.safetensors");
    const tensors = new Map(
      [...tensorsOfFile(file("tiny-sd1", { keeps: onlyUNet }))].map(([name, tensor]) => [
        name.replace("model.diffusion_model.", ""),
        tensor,
      ]),
    );
    writeSafetensors(original, tensors);
    const { unet } = openFolder(folderOf("tiny-sd1"));
    for (const path of [original, unet.weights.path]) {
      const copied = join(folder, "renamed.safetensors");
      writeSafetensors(copied, tensorsOfFile(path));
      expect(values(open(copied, { config: folderOf("tiny-sd1") }))).toEqual(whole());
      expect(thrown(() => open(copied)).code).toBe("MODEL_KIND");
    }
  });
});

const asStored: Mapping = (stored) => new Map([...stored.keys()].map((from) => [from, { from }]));
const tensorsOfFile = (path: string) => {
  const checkpoint = openCheckpoint(path, asStored);
  return new Map(
    [...tensorsOf(checkpoint)].map(([name, { shape, data }]) => [name, { dtype: "F32", shape, data }]),
  );
};
