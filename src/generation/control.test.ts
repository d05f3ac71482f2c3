import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { crop, type Image } from "../image/image.js";
import { resize } from "../image/resize.js";
import { fitImage, preprocess, readImage } from "../index.js";
import { goldenCases, goldenExtra, goldenPath, readTensors, toNhwc } from "../testing/golden.js";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const drawn = (width: number, height: number, colour: (x: number, y: number) => number[]) => ({
  ...{ width, height },
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    return colour(pixel % width, Math.floor(pixel / width))[i % 3]!;
  }),
});
type Drawn = ReturnType<typeof drawn>;
const grey = (level: number) => [level, level, level];
const waves = (width: number, height: number) =>
  drawn(width, height, (x, y) => [(x * 7) % 256, (y * 5) % 256, ((x + y) * 3) % 256]);
/** A board of black and white where x < right and y < bottom, grey beyond. */
const board = (size: [width: number, height: number], [right, bottom]: [number, number], beyond: number) =>
  drawn(...size, (x, y) => grey(x < right && y < bottom ? (((x >> 3) + (y >> 3)) % 2) * 255 : beyond));
const farthest = (a: Float32Array, b: Float32Array) =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!)));

describe("ControlNet, against diffusers", () => {
  const cases = goldenCases("pipeline").filter(
    (c) => c.config.pipeline === "StableDiffusionControlNetPipeline",
  );

  it.each(cases.map((c) => c.id.slice("pipeline/".length)))("%s", async (id) => {
    const c = pipelineCase(id);
    const {
      controlnet_conditioning_scale: scale,
      control_guidance_start: start,
      control_guidance_end: end,
      guess_mode: guess,
      ...call
    } = c.inputs.call;
    const { image, ...options } = optionsOf({ ...c, inputs: { ...c.inputs, call } });
    const control = { model: goldenPath(c.config.modules.controlnet), image: image! };
    const model = await tinyModel(c.config.model);
    const given = Object.fromEntries(
      Object.entries({ scale, start, end, guess }).filter(([, value]) => value !== undefined),
    );
    expectResult(await model.generate({ ...options, controlnet: [{ ...control, ...given }] }), c);
  });

  it("two add up: one of scale 1 is two of scale 0.5", async () => {
    const c = pipelineCase("controlnet-default");
    const { image, ...options } = optionsOf(c);
    const half = { model: goldenPath(c.config.modules.controlnet), image: image!, scale: 0.5 };
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate({ ...options, controlnet: [half, half] }), c);
  });

  it("for Stable Diffusion XL, with guess mode, and from one file without its config", async () => {
    const model = await tinyModel("models/tiny-sdxl");
    const want = readTensors(goldenExtra("controlnet-xl/latents.safetensors"));
    const net = goldenExtra("controlnet-xl/net");
    const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    const file = join(folder, "canny-xl.safetensors");
    copyFileSync(join(net, "diffusion_pytorch_model.safetensors"), file);
    const latents = async (control: object) => {
      const { latents } = await model.generate({
        ...{ prompt: "a cat", seed: 13, steps: 3, guidance: 5, width: 96, height: 64, scheduler: "ddim" },
        controlnet: [{ model: net, image: goldenExtra("controlnet-xl/picture.png"), scale: 0.8, ...control }],
        output: "latents",
      });
      return latents.data;
    };
    try {
      for (const [name, guess] of [["latents", false], ["guess", true]] as const) // biome-ignore format: pairs
        expect(await latents({ guess })).toBeCloseTo32(toNhwc(want.get(name)!).data, { abs: 2e-3 });
      expect(await latents({ model: file })).toEqual(await latents({}));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("for inpainting: where its mask is white, it is shown holes of -1", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const folder = goldenExtra("controlnet-inpaint");
    const latents = async (control: object) => {
      const net = goldenPath("models/tiny-controlnet");
      const { latents } = await model.generate({
        ...{ prompt: "a cat", seed: 13, steps: 3, guidance: 5, width: 96, height: 64, scheduler: "ddim" },
        controlnet: [{ model: net, image: goldenExtra("controlnet-xl/picture.png"), ...control }],
        output: "latents",
      });
      return latents.data;
    };
    const want = toNhwc(readTensors(join(folder, "latents.safetensors")).get("latents")!).data;
    const tolerance = { abs: 2e-4, rel: 1e-4 };
    expect(await latents({ mask: join(folder, "mask.png") })).toBeCloseTo32(want, tolerance);
    const whole = await latents({});
    expect(Math.max(...whole.map((value, i) => Math.abs(value - want[i]!)))).toBeGreaterThan(0.01);
  });

  describe("onlyMasked crops the picture to follow as the picture itself", () => {
    const base = { prompt: "a cat", seed: 5, steps: 5, guidance: 5, strength: 0.8, maskBlur: 0 };
    const options = { ...base, width: 64, height: 64, scheduler: "ddim" as const };
    const masked = (size: [number, number], [left, top, right, bottom]: number[]) => ({
      ...{ ...options, image: waves(...size), onlyMasked: { padding: 16 } },
      mask: drawn(...size, (x, y) => grey(x >= left! && x < right! && y >= top! && y < bottom! ? 255 : 0)),
    });

    it.each([
      ["corner", [128, 128], [0, 0, 40, 40]],
      ["edge", [48, 128], [0, 4, 40, 48]],
    ] as const)("%s", async (name, size, box) => {
      const model = await tinyModel("models/tiny-sd1");
      const net = goldenPath("models/tiny-controlnet");
      const want = toNhwc(readTensors(goldenExtra("controlnet-only-masked/latents.safetensors")).get(name)!);
      for (const beyond of [0, 255]) {
        const control = { model: net, image: board([...size], [64, 64], beyond), scale: 4 };
        const { latents } = await model.generate({ ...masked([...size], [...box]), controlnet: [control] });
        expect(latents.data).toBeCloseTo32(want.data, { abs: 1e-3, rel: 1e-3 });
      }
    });

    const plain = drawn(8, 8, () => grey(90));
    it.each([
      [
        "the holes of a ControlNet",
        goldenPath("models/tiny-controlnet"),
        (mask: Drawn) => ({ image: plain, mask }),
      ],
      ["what a T2I-Adapter sees", goldenExtra("t2i-adapter/full"), (image: Drawn) => ({ image })],
    ])("%s", async (_, net, shown) => {
      const model = await tinyModel("models/tiny-sd1");
      const run = async (picture: Drawn) => {
        const controlnet = [{ model: net, ...shown(picture), scale: 4 }];
        return (await model.generate({ ...masked([128, 128], [0, 0, 40, 40]), controlnet })).latents.data;
      };
      const got = await run(board([128, 128], [64, 64], 0));
      expect(await run(board([128, 128], [64, 64], 255))).toEqual(got);
      expect(farthest(await run(board([128, 128], [32, 64], 0)), got)).toBeGreaterThan(0.01);
    });
  });

  it("expand shows each pass its part of the picture to follow, which is of the grown one", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const base = {
      prompt: "a cat",
      seed: 5,
      steps: 2,
      scheduler: "euler" as const,
      output: "latents" as const,
    };
    const run = async (image: Drawn, expand: object, picture = waves(96, 32)) => {
      const controlnet = [{ model: goldenPath("models/tiny-controlnet"), image, scale: 4 }];
      return (await model.generate({ ...base, image: picture, expand, controlnet })).latents.data;
    };
    const far = await run(board([128, 32], [64, 32], 0), { left: 32 });
    expect(await run(board([128, 32], [64, 32], 255), { left: 32 })).toEqual(far);
    // A picture that is no larger than what the pass sees of the other one.
    expect(await run(board([64, 32], [64, 32], 0), { left: 32 }, waves(32, 32))).toEqual(far);
    expect(await run(board([128, 32], [56, 32], 255), { left: 32 })).not.toEqual(far);
    // In two portions, of which the first sees columns 32 to 96 of the result, and the second the first 64.
    const twice = (right: number, beyond: number) =>
      run(board([128, 32], [right, 32], beyond), { left: 64 }, waves(64, 32));
    expect(await twice(96, 255)).toEqual(await twice(96, 0));
    expect(await twice(88, 255)).not.toEqual(await twice(88, 0));
  });

  it("a second pass on the middle of the enlarged picture is shown the middle of the picture to follow", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const base = { prompt: "a cat", seed: 5, steps: 4, scheduler: "ddim" as const };
    const controlled = (image: Image) => ({
      controlnet: [{ model: goldenPath("models/tiny-controlnet"), image, scale: 4 }],
    });
    const shown = waves(64, 64);
    const first = { ...base, ...controlled(shown), width: 32, height: 32 };
    const hires = { width: 64, height: 32, strength: 0.5, upscaler: "lanczos" as const };
    const middle = { left: 0, top: 16, right: 64, bottom: 48 };
    const { images } = await model.generate(first);
    const image = crop(resize(images[0]!, { width: 64, height: 64 }, "lanczos"), middle);
    const byHand = { ...base, image, strength: 0.5, ...controlled(crop(shown, middle)) };
    const want = await model.generate(byHand);
    expect((await model.generate({ ...first, hires })).latents.data).toEqual(want.latents.data);
  });

  it("start and end: none before the other is refused, and none of the steps between them is noted", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const control = { model: goldenPath("models/tiny-controlnet"), image: waves(8, 8) };
    const run = (window: object, more: object = {}) =>
      model.generate({
        ...{ prompt: "a", steps: 4, scheduler: "ddim", output: "latents" },
        controlnet: [control, { ...control, ...window }],
        ...more,
      });
    for (const [start, end] of [[0.8, 0.2], [0.5, 0.5], [1, 1]] as const) // biome-ignore format: pairs
      await expect(run({ start, end })).rejects.toThrow(
        `controlnet.1: expected a start before its end, got start ${start} and end ${end}`,
      );
    await expect(run({ end: 0 })).rejects.toThrow(/got start 0 and end 0/);
    const ipAdapter = { image: waves(8, 8), start: 0.8, end: 0.2 };
    await expect(run({}, { ipAdapter })).rejects.toThrow(/ipAdapter\.0: expected a start before its end/);
    expect((await run({ start: 0.4, end: 0.6 })).notes).toEqual([
      "controlnet.1 acts at none of the 4 steps: its start is 0.4, its end 0.6",
    ]);
    expect((await run({ start: 0.25, end: 0.5 })).notes).toEqual([]);
    const late = { image: waves(64, 64), denoisingStart: 0.5 };
    expect((await run({ end: 0.5 }, late)).notes).toEqual([
      "controlnet.1 acts at none of the 2 steps: its start is 0, its end 0.5",
    ]);
  });

  it("refuses what is no ControlNet", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const image = { width: 8, height: 8, data: new Uint8Array(192) };
    const controlnet = [{ model: goldenPath("models/tiny-sd1/vae"), image }];
    await expect(model.generate({ prompt: "a", controlnet })).rejects.toThrow(/not a ControlNetModel/);
  });

  it("refuses one that was made for another kind of UNet", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    try {
      const own = goldenPath("models/tiny-controlnet");
      const config = JSON.parse(readFileSync(join(own, "config.json"), "utf8"));
      writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, cross_attention_dim: 40 }));
      const weights = "diffusion_pytorch_model.safetensors";
      copyFileSync(join(own, weights), join(folder, weights));
      const controlnet = [{ model: folder, image: { width: 8, height: 8, data: new Uint8Array(192) } }];
      await expect(model.generate({ prompt: "a", controlnet })).rejects.toThrow(
        /a ControlNetModel with cross_attention_dim 40; the model has 32/,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it.each([
    ["a ControlNet", goldenPath("models/tiny-controlnet")],
    ["a T2I-Adapter", goldenExtra("t2i-adapter/full")],
  ])("what the config of %s holds and is not used is named, and a wrong value refused", async (_, net) => {
    const model = await tinyModel("models/tiny-sd1");
    const parent = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
    const image = { width: 16, height: 16, data: new Uint8Array(768).fill(90) };
    const run = async (name: string, more: object) => {
      const folder = join(parent, name);
      cpSync(net, folder, { recursive: true });
      const config = JSON.parse(readFileSync(join(net, "config.json"), "utf8"));
      writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, ...more }));
      const controlnet = [{ model: folder, image }];
      return (await model.generate({ prompt: "a", steps: 1, output: "latents", controlnet })).notes;
    };
    try {
      expect(await run("plain", {})).toEqual([]);
      expect(await run("more", { attention_sinks: 4 })).toEqual([
        "more/config.json holds what is not known and not used: attention_sinks",
      ]);
      await expect(run("wrong", { channels: 0, act_fn: "gelu" })).rejects.toThrow(
        /wrong.config\.json cannot be used: (channels|act_fn)/,
      );
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
  });

  it("prepares the picture at the size generated at", async () => {
    const c = pipelineCase("controlnet-default");
    const { image, ...options } = optionsOf(c);
    const model = await tinyModel(c.config.model);
    const net = goldenPath(c.config.modules.controlnet);
    const run = async (control: object) => {
      const controlnet = [{ model: net, image: image!, ...control }];
      return (await model.generate({ ...options, steps: 2, output: "latents", controlnet })).latents.data;
    };
    const { width, height } = (await model.generate({ ...options, steps: 1 })).images[0]!;
    const fitted = fitImage(await readImage(image!), { width, height });
    const edges = preprocess(fitted, [{ name: "canny", low: 50, high: 90 }]);
    expect(edges.data.includes(255)).toBe(true);
    const got = await run({ preprocess: { name: "canny", low: 50, high: 90 } });
    expect(got).toEqual(await run({ image: edges }));
    expect(got).not.toEqual(await run({ preprocess: ["canny", "invert"] }));
  });

  it("refuses an unknown preprocessor", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const image = { width: 8, height: 8, data: new Uint8Array(192) };
    const controlnet = [{ model: "a", image, preprocess: "pose" as "canny" }];
    await expect(model.generate({ prompt: "a", controlnet })).rejects.toThrow(/controlnet\.0\.preprocess/);
  });
});

describe("T2I-Adapter, against diffusers", () => {
  const tensors = readTensors(goldenExtra("t2i-adapter/t2i-adapter.safetensors"));
  const { pipeline, pipelines } = JSON.parse(readFileSync(goldenExtra("t2i-adapter/cases.json"), "utf8"));
  const [one, several] = pipelines;
  const latents = (key: string) => toNhwc(tensors.get(key)!).data;
  const picture = (i: number) => goldenExtra(`t2i-adapter/picture-${i}.png`);
  const [first, second] = ["full", "full-2"].map((name) => goldenExtra(`t2i-adapter/${name}`));
  const options = { ...pipeline, output: "latents" };
  const tolerance = { abs: 2e-4, rel: 1e-4 };

  it("one", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const controlnet = [{ model: first!, image: picture(0), scale: one.scale }];
    const got = (await model.generate({ ...options, controlnet })).latents.data;
    expect(got).toBeCloseTo32(latents(one.latents), tolerance);
    const without = (await model.generate(options)).latents.data;
    expect(Math.max(...without.map((value, i) => Math.abs(value - got[i]!)))).toBeGreaterThan(0.05);
  });

  it("several, each with its scale", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const controlnet = [first!, second!].map((name, i) => ({
      model: name,
      image: picture(i),
      scale: several.scale[i],
    }));
    const { latents: got } = await model.generate({ ...options, controlnet });
    expect(got.data).toBeCloseTo32(latents(several.latents), tolerance);
  });

  it("acts between start and end alone", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const run = async (control: object) => {
      const controlnet = [{ model: first!, image: picture(0), ...control }];
      return (await model.generate({ ...options, controlnet })).latents.data;
    };
    const without = (await model.generate(options)).latents.data;
    expect(await run({ end: 0.2 })).toEqual(without);
    expect(await run({ start: 0.9 })).toEqual(without);
    const half = await run({ end: 0.5 });
    expect(half).not.toEqual(without);
    expect(half).not.toEqual(await run({}));
  });

  it("refuses guess, a mask, and adapters of another kind of UNet", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const run = (control: object) =>
      model.generate({ ...options, controlnet: [{ model: first!, image: picture(0), ...control }] });
    await expect(run({ guess: true })).rejects.toThrow(/guess is for ControlNets/);
    await expect(run({ mask: picture(0) })).rejects.toThrow(/mask is for ControlNets/);
    await expect(run({ model: goldenExtra("t2i-adapter/xl") })).rejects.toThrow(
      /a T2IAdapter with channels 8,16,16,16; the model has 16,24,24,24/,
    );
  });
});
