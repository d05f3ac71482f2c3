import { afterAll, describe, expect, it } from "vitest";
import { valuesToImages } from "../image/convert.js";
import type { Values } from "../latents/latents.js";
import { planTiles } from "../latents/tiles.js";
import type { GenerateOptions } from "../options/options.js";
import { readModel } from "../runtime/model.js";
import { createNetworks } from "../runtime/networks/networks.js";
import { createScheduler, schedulerConfig } from "../schedulers/scheduler.js";
import { type GoldenCase, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import {
  disposeTinyModels,
  drawOf,
  expectLatents,
  expectPictures,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
  withStepNoise,
} from "../testing/pipeline-case.js";
import { pseudoRandom } from "../testing/tiny.js";
import { openFolder } from "../weights/folder.js";
import { denoise, type Predict } from "./denoise.js";
import { oneCondition } from "./guidance.js";
import { decodeLatents } from "./latent-space.js";
import { inTiles } from "./upscale.js";

afterAll(disposeTinyModels);

function upscaling(c: GoldenCase): GenerateOptions {
  const { noise_level, ...call } = c.inputs.call;
  const options = optionsOf({ ...c, inputs: { ...c.inputs, call } });
  return noise_level === undefined ? options : { ...options, noiseLevel: noise_level };
}

describe("upscaling, against diffusers", () => {
  it.each(["upscale-default", "upscale-wide", "upscale-odd"])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate(upscaling(c)), c);
  });

  it("ldm-sr-pil", async () => {
    const c = pipelineCase("ldm-sr-pil");
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate({ ...upscaling(c), scheduler: withStepNoise(c) }), c);
  });

  // Its input is no picture and of a size that pictures are brought down from.
  it("ldm-sr-tensor", async () => {
    const c = pipelineCase("ldm-sr-tensor");
    const { engine, options } = inProcess("eager");
    const model = readModel(openFolder(goldenPath(c.config.model)));
    const networks = createNetworks(model, engine, options);
    const { num_inference_steps: steps, eta } = c.inputs.call;
    const scheduler = createScheduler(schedulerConfig({}, model.source.scheduler), { steps, eta });
    const run = denoise({
      ...{ scheduler, start: drawOf(c, 0), guidance: oneCondition },
      predict: (sample, timestep) => networks.unet.run({ sample, timestep }),
      beside: toNhwc(goldenTensor(c.inputs.image.array)),
      noise: () => expect.unreachable("eta is 0"),
    });
    let next = await run.next();
    while (!next.done) next = await run.next();
    const latents = next.value.latents!;
    expectLatents(latents, c);
    expectPictures([await decodeLatents({ networks }, latents)], c);
  });
});

describe("large pictures", () => {
  const values = (...shape: number[]): Values => ({
    shape,
    data: pseudoRandom(shape.reduce((a, b) => a * b)),
  });

  it("a network that looks at one cell at a time does not notice the tiles", async () => {
    const seen: string[] = [];
    const predict: Predict = async ({ shape, data }, timestep) => {
      seen.push(shape.join());
      return { shape, data: data.map((value) => value * timestep) };
    };
    const sample = values(2, 23, 40, 3);
    const plan = planTiles({ width: 40, height: 23 }, { tile: 16, overlap: 4, multiple: 2 });
    const got = await inTiles(predict, plan)(sample, 7, 0);
    expect(got.shape).toEqual(sample.shape);
    expect(got.data).toBeCloseTo32((await predict(sample, 7, 0)).data, { abs: 2e-6 });
    expect(seen.length).toBeGreaterThan(4);
  });

  it("stops between tiles", async () => {
    const stop = new AbortController();
    const predict: Predict = async (sample) => {
      stop.abort();
      return sample;
    };
    const plan = planTiles({ width: 8, height: 4 }, { tile: 4, overlap: 0 });
    await expect(inTiles(predict, plan, stop.signal)(values(1, 4, 8, 1), 1, 0)).rejects.toThrow(/abort/i);
  });

  it("an upscaler works in tiles when told to, and a tile as large as the picture is the whole", async () => {
    const c = pipelineCase("upscale-wide");
    const model = await tinyModel(c.config.model);
    const [image] = valuesToImages(values(1, 24, 40, 3));
    const options = { ...upscaling(c), image: image!, steps: 2, output: "latents" as const };
    const whole = await model.generate(options);
    const tiled = await model.generate({ ...options, tiles: { size: 24, overlap: 8 } });
    expect(tiled.latents.shape).toEqual(whole.latents.shape);
    expect(tiled.latents.data).not.toEqual(whole.latents.data);
    expect(tiled.options.upscaling).toEqual({
      ...{ filter: "bicubic", noiseLevel: 100, tiles: { size: 24, overlap: 8 } },
    });
    // Tiles as large as the picture are the whole.
    const one = await model.generate({ ...options, tiles: { size: 40 } });
    expect(one.latents.data).toEqual(whole.latents.data);
  });
});

describe("what an upscaler refuses", () => {
  const image = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3) };
  it.each([
    [{ prompt: "x" }, /tiny-x4-upscaler enlarges pictures and needs an image/],
    [{ image }, /needs a prompt/],
    [{ prompt: "x", image, noiseLevel: 351 }, /noiseLevel must be 0 to 350, got 351/],
    [{ prompt: "x", image, strength: 0.5 }, /takes no strength/],
    [{ prompt: "x", image, width: 70 }, /width must be a multiple of 16, got 70/],
  ] as [GenerateOptions, RegExp][])("%o", async (options, message) => {
    const model = await tinyModel("models/tiny-x4-upscaler");
    await expect(model.generate(options)).rejects.toThrow(message);
  });

  it("options of upscalers elsewhere, and of others in LDM's", async () => {
    const plain = await tinyModel("models/tiny-sd1");
    await expect(plain.generate({ prompt: "x", image, noiseLevel: 20 })).rejects.toThrow(/is for upscalers/);
    const ldm = await tinyModel("models/tiny-ldm-sr");
    await expect(ldm.generate({ image, noiseLevel: 20 })).rejects.toThrow(/takes no noiseLevel/);
    await expect(ldm.generate({ image, prompt: "x" })).rejects.toThrow(/has no text encoder/);
  });
});
