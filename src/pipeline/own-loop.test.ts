import { afterAll, describe, expect, it } from "vitest";
import type { Latents } from "../latents/latents.js";
import { createScheduler } from "../schedulers/scheduler.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import type { StableDiffusion } from "./stable-diffusion.js";

afterAll(disposeTinyModels);

const size = { width: 32, height: 24 };
const asked = { ...size, prompt: "a fox", steps: 3, guidance: 1, output: "latents" } as const;

/** What generate() does, by hand: a scheduler of the model's own, its noise, its networks. */
async function ownLoop(model: StableDiffusion, seed: number, from?: Latents, strength = 1): Promise<Latents> {
  const scheduler = createScheduler(model.schedulerConfig, { steps: asked.steps, ...(from && { strength }) });
  const { context } = await model.encodePrompt(asked.prompt);
  const { shape, data: noise } = model.noise(seed, size);
  let data = from
    ? scheduler.addNoise(from.data, noise, 0)
    : noise.map((value) => value * scheduler.initNoiseSigma);
  for (const [step, timestep] of scheduler.timesteps.entries()) {
    const sample = { shape, data: scheduler.scaleInput(data, step) };
    const prediction = await model.unet.run({ sample, timestep, context });
    data = scheduler.step(prediction.data, step, data);
  }
  return { shape, data };
}

describe("a loop of one's own", () => {
  it("has the noise and the scheduler of generate()", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const { latents } = await model.generate({ ...asked, seed: 5 });
    const own = await ownLoop(model, 5);
    expect(own.shape).toEqual(latents.shape);
    expect(own.data).toBeCloseTo32(latents.data, { abs: 1e-6, rel: 1e-6 });
    const given = await model.generate({ ...asked, latents: model.noise(5, size) });
    expect(given.latents).toEqual(latents);
  });

  it("image to image from the model's own latents starts at them, without a VAE between", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const { width: _, height: __, ...unsized } = asked;
    const image = (await model.generate({ ...asked, seed: 1 })).latents;
    const { latents, options } = await model.generate({ ...unsized, image, strength: 0.7, seed: 9 });
    expect(options).toMatchObject({ mode: "img2img", ...size, strength: 0.7 });
    const own = await ownLoop(model, 9, image, 0.7);
    expect(latents.data).toBeCloseTo32(own.data, { abs: 1e-6, rel: 1e-6 });
  });

  it("is told which sizes and seeds there are", async () => {
    const model = await tinyModel("models/tiny-sd1");
    expect(() => model.noise(1, { width: 30 })).toThrow("width must be a multiple of 8, got 30");
    expect(() => model.noise(1, { height: 0 })).toThrow("height must be a whole number above 0, got 0");
    expect(() => model.noise(-1)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
    const { schedulerConfig } = model;
    expect(schedulerConfig._class_name).toBe("PNDMScheduler");
  });
});

describe("a slip in a call", () => {
  it.each<[string, (model: StableDiffusion) => unknown, string]>([
    ["generate()", (model) => model.generate(undefined as never), "options: expected an object, got nothing"],
    [
      "unet.run()",
      (model) => model.unet.run(undefined as never),
      "unet: expected an object with sample and timestep, got nothing",
    ],
    [
      "textEncoder.run()",
      (model) => model.textEncoder.run(undefined as never),
      "textEncoder: expected an object with ids, got nothing",
    ],
    [
      "vae.decode() of a promise",
      (model) => model.vae.decode(Promise.resolve() as never),
      "latents: expected an object with shape and data, got a promise (await it first)",
    ],
    [
      "setLoras of a text",
      async (model) => model.setLoras("x" as never),
      "setLoras: expected a list of LoRAs, each with its name",
    ],
    [
      "encodePrompt()",
      (model) => model.encodePrompt(undefined as never),
      "prompt: expected text, got nothing",
    ],
    [
      "removeLora()",
      async (model) => model.removeLora(undefined as never),
      "name: expected text, got nothing",
    ],
    ["noise(1, 64)", async (model) => model.noise(1, 64 as never), "options: expected an object, got 64"],
    // Each of these would be another picture than the one that was meant, without a word.
    ...(
      [
        [{ promtSyntax: "a1111" }, "promtSyntax", (model, options) => model.encodePrompt("(a:2)", options)],
        [{ scael: 0.5 }, "scael", (model, options) => model.loadLora("x", options)],
        [{ wrod: "x" }, "wrod", (model, options) => model.loadTextualInversion("x", options)],
        [{ encoder: "x" }, "encoder", (model, options) => model.loadIpAdapter("x", options)],
        [{ widht: 64 }, "widht", async (model, options) => model.noise(1, options)],
      ] satisfies [object, string, (model: StableDiffusion, options: object) => Promise<unknown>][]
    ).map(([options, name, call]): [string, (model: StableDiffusion) => unknown, string] => [
      `the option ${name}`,
      (model) => call(model, options),
      `there is no option ${name}`,
    ]),
  ])("%s is told in words", async (_, call, message) => {
    const model = await tinyModel("models/tiny-sd1");
    await expect(call(model)).rejects.toMatchObject({ name: "DiffusionError", message });
  });
});
