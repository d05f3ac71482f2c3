import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { ProgressEvent } from "../events.js";
import { valuesToImages } from "../image/convert.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { createScheduler, schedulerConfig } from "../schedulers/scheduler.js";
import { goldenPath } from "../testing/golden.js";
import { tensorsOf } from "../testing/original-layout.js";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";
import { openComponentFolder } from "../weights/folder.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";

afterAll(disposeTinyModels);

const taesd = goldenPath("models/tiny-taesd");
const folder = mkdtempSync(join(tmpdir(), "autoencoders-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The decoder in a file of its own, with a layer more in front, which limits the latents and has no weights. */
function originalDecoder(prefix: string): string {
  const path = join(folder, `decoder-${prefix}.safetensors`);
  const tensors = [...tensorsOf(openComponentFolder(taesd).open())].flatMap(([name, { shape, data }]) => {
    const [, layer, rest] = /^decoder\.layers\.(\d+)\.(.+)$/.exec(name) ?? [];
    const own = `${prefix}${Number(layer) + 1}.${rest}`;
    return layer === undefined ? [] : [[own, { dtype: "F32", shape, data }] as const];
  });
  writeSafetensors(path, new Map(tensors));
  return path;
}

describe("autoencoders from elsewhere", () => {
  const c = pipelineCase("sd1-taesd");

  it("sd1-taesd: a small decoder in place of the VAE's", async () => {
    const model = await tinyModel(c.config.model, { taesd });
    expectResult(await model.generate(optionsOf(c)), c);
  });

  it("sd1-taesd: a small autoencoder in place of the VAE", async () => {
    const model = await tinyModel(c.config.model, { vae: taesd });
    expectResult(await model.generate(optionsOf(c)), c);
    expect(model.vae.config.kind).toBe("tiny");
  });

  it.each(["", "taesd_decoder."])(
    "the decoder's file of its author, with names below '%s'",
    async (prefix) => {
      const model = await tinyModel(c.config.model, { taesd: originalDecoder(prefix) });
      expectResult(await model.generate(optionsOf(c)), c);
    },
  );

  it("a decoder is no whole VAE", async () => {
    const load = StableDiffusion.load(goldenPath(c.config.model), { vae: originalDecoder("") });
    await expect(load).rejects.toThrow(/only decodes, and is no whole VAE/);
  });

  it("previews are what the small decoder makes of the latents without their noise", async () => {
    const model = await tinyModel(c.config.model, { taesd });
    const decoder = await tinyModel(c.config.model, { vae: taesd });
    const events: ProgressEvent[] = [];
    const onProgress = (event: ProgressEvent) => void events.push(event);
    const asked = { ...optionsOf(c), steps: 4, scheduler: "euler", preview: true } as const;
    const { images } = await model.generate({ ...asked, onProgress });
    const steps = events.filter((event) => event.type === "step");
    expect(steps.at(-1)!.previews).toEqual(images);
    const { sigmas } = createScheduler(schedulerConfig("euler", model.schedulerConfig), { steps: 4 });
    for (let i = 1; i < 3; i++) {
      // Euler's step goes straight towards the clean sample: how far, the levels say.
      const left = sigmas![i + 1]! / sigmas![i]!;
      const [before, after] = [steps[i - 1]!.latents.data, steps[i]!.latents.data];
      const data = after.map((x, k) => (x - left * before[k]!) / (1 - left));
      const [clean] = valuesToImages(await decoder.vae.decode({ shape: steps[i]!.latents.shape, data }));
      const shown = steps[i]!.previews![0]!;
      expect([shown.width, shown.height]).toEqual([clean!.width, clean!.height]);
      expect(Math.max(...shown.data.map((value, k) => Math.abs(value - clean!.data[k]!)))).toBeLessThan(2);
    }
  });

  it("previews alone are its work where that is asked for: results stay the VAE's", {
    timeout: 300_000,
  }, async () => {
    const plain = await tinyModel(c.config.model, {});
    const model = await tinyModel(c.config.model, { taesd, taesdFor: "previews" });
    const last = async (model: StableDiffusion) => {
      const events: ProgressEvent[] = [];
      const onProgress = (event: ProgressEvent) => void events.push(event);
      const { images } = await model.generate({ ...optionsOf(c), preview: true, onProgress });
      const steps = events.filter((event) => event.type === "step");
      return { images, preview: steps.at(-1)!.previews![0]! };
    };
    const [own, both] = [await last(plain), await last(model)];
    expect(both.images).toEqual(own.images);
    expect(both.preview).not.toEqual(own.images[0]);
    const { width, height } = own.images[0]!;
    expect([both.preview.width, both.preview.height]).toEqual([width, height]);
    expect(own.preview.width).toBeLessThan(both.preview.width);
  });

  it("one that does not fit is refused", async () => {
    const load = (model: string, options: object) => StableDiffusion.load(goldenPath(model), options);
    await expect(load("models/tiny-x4-upscaler", { taesd })).rejects.toThrow(
      /tiny-taesd has latents of 4 channels and 8 pixels a cell, .*tiny-x4-upscaler of 4 and 4/,
    );
    await expect(load("models/tiny-ddpm", { taesd })).rejects.toThrow(/works on pixels and takes no VAE/);
    await expect(load("models/tiny-sd1", { vae: goldenPath("models/tiny-controlnet") })).rejects.toThrow(
      /ControlNetModel/,
    );
  });
});

it("a picture in tiles: progress for each, and close to the whole", async () => {
  const c = pipelineCase("sd1-wide");
  const events: ProgressEvent[] = [];
  const options = { ...optionsOf(c), width: 96, height: 72, steps: 1 };
  const whole = await (await tinyModel(c.config.model)).generate(options);
  const tiled = await (await tinyModel(c.config.model, { vaeTiling: true })).generate({
    ...options,
    onProgress: (event) => events.push(event),
  });
  expect(tiled.latents).toEqual(whole.latents);
  const [a, b] = [tiled.images[0]!, whole.images[0]!];
  expect([a.width, a.height]).toEqual([96, 72]);
  expect(a.data).not.toEqual(b.data);
  const tiles = events.filter((event) => event.type === "decode" && event.tiles);
  expect(tiles.at(-1)).toMatchObject({
    done: 0,
    total: 1,
    tiles: { done: tiles.length, total: tiles.length },
  });
  expect(tiles.length).toBeGreaterThan(1);
});
