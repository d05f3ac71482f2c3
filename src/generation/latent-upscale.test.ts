import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Latents } from "../latents/latents.js";
import type { GenerateOptions } from "../options/options.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { readModel } from "../runtime/model.js";
import { createNetworks } from "../runtime/networks/networks.js";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { latentUpscalerFacts, torchNumbers, writeLatentUpscaler } from "../testing/latent-upscaler.js";
import { disposeTinyModels, pipelineCase, tinyModel } from "../testing/pipeline-case.js";
import { openFolder } from "../weights/folder.js";

const folder = writeLatentUpscaler(join(mkdtempSync(join(tmpdir(), "latent-upscaler-")), "tiny-x2"));
const loaded = StableDiffusion.load(folder, { runtime: "eager", threads: 1 });
afterAll(async () => {
  await (await loaded).dispose();
  await disposeTinyModels();
  rmSync(join(folder, ".."), { recursive: true });
});

const want = readTensors(goldenExtra("latent-upscaler/cases.safetensors"));
const expected = (name: string) => toNhwc(want.get(name)!);
const given = (seed: number, shape: number[]): Latents => toNhwc({ shape, data: torchNumbers(seed, shape) });

describe("the UNet of K blocks, against diffusers", () => {
  it.each(["eager", "graph"] as const)("%s", async (runtime) => {
    const { engine, options } = inProcess(runtime);
    const { unet } = createNetworks(readModel(openFolder(folder)), engine, options);
    const got = await unet.run({
      sample: given(1, [2, 8, 8, 12]),
      timestep: 0.25 * Math.log(1.7),
      context: { shape: [2, 77, 32], data: torchNumbers(2, [2, 77, 32]) },
      timeCond: { shape: [2, 160], data: torchNumbers(3, [2, 160]) },
    });
    const { shape, data } = expected("unet.sample");
    expect(got.shape).toEqual(shape);
    expect(got.data).toBeCloseTo32(data, { abs: 2e-5, rel: 1e-4 });
  });
});

/** The picture of make.py, 96x64. */
const image = {
  width: 96,
  height: 64,
  data: Uint8Array.from(torchNumbers(5, [64, 96, 3]), (v) =>
    Math.round(Math.min(255, Math.max(0, Math.fround(v * 40 + 128)))),
  ),
};
const latents = given(6, [1, 4, 16, 8]);
const prompt = "a marble fox";

describe("upscaling latents by two", () => {
  it.each(latentUpscalerFacts.cases)("as diffusers does: $id", async (c) => {
    const result = await (await loaded).generate({
      prompt,
      image: c.id === "latents" ? latents : image,
      steps: c.num_inference_steps,
      guidance: c.guidance_scale,
      seed: 7,
      ...(c.negative_prompt !== undefined && { negativePrompt: c.negative_prompt }),
    });
    const { shape, data } = expected(`${c.id}.latents`);
    expect(result.latents.shape).toEqual(shape);
    expect(result.latents.data).toBeCloseTo32(data, { abs: 2e-4, rel: 2e-4 });
    const [, rows, columns] = shape as [number, number, number];
    expect(result.images[0]).toMatchObject({ width: 8 * columns, height: 8 * rows });
    expect(result.options).toMatchObject({ mode: "upscale" });
  });

  it("brings pictures of other sizes to one that it takes, and works in tiles", async () => {
    const { images, options } = await (await loaded).generate({
      ...{ prompt, seed: 1, steps: 1, guidance: 1 },
      image: { width: 71, height: 100, data: new Uint8Array(71 * 100 * 3).fill(90) },
      tiles: { size: 32, overlap: 8 },
    });
    expect(images[0]).toMatchObject({ width: 128, height: 192 });
    expect(options.upscaling).toMatchObject({ filter: "bicubic" });
  });

  it.each<[string, GenerateOptions, RegExp]>([
    ["no image", { prompt }, /needs an image/],
    ["another rule", { prompt, image, scheduler: "ddim" }, /works only with euler and euler_a/],
    ["a noise level", { prompt, image, noiseLevel: 3 }, /takes no noiseLevel/],
    ["too small a size", { prompt, image, width: 32 }, /width must be at least 64/],
    ["a batch of latents", { prompt, image: given(6, [2, 4, 8, 8]) }, /expected latents \[1, h, w, 4\]/],
    ["odd latents", { prompt, image: given(6, [1, 4, 9, 8]) }, /multiples of 2, from 4 on/],
    ["latents and a size", { prompt, image: latents, width: 64 }, /excludes width and height/],
  ])("refuses %s", async (_, options, message) => {
    await expect((await loaded).generate(options)).rejects.toThrow(message);
  });

  it("models that follow instructions take pictures, not latents", async () => {
    const model = await tinyModel(pipelineCase("ip2p-default").config.model);
    await expect(model.generate({ prompt, image: latents })).rejects.toThrow(/takes pictures, not latents/);
  });
});
