import { afterAll, expect, it } from "vitest";
import { StableDiffusion } from "../../pipeline/stable-diffusion.js";
import { disposeTinyModels, optionsOf, pipelineCase, tinyModel } from "../../testing/pipeline-case.js";
import { createTurns, stageOf } from "./turns.js";

afterAll(disposeTinyModels);

it("a turn ends all others, and the end ends all", async () => {
  const turns = createTurns();
  const left: string[] = [];
  for (const network of ["text_encoder.0", "text_encoder.1", "unet", "controlnet", "vae"])
    turns.onLeave(stageOf(network), async () => void left.push(network));
  const during = async (work: () => Promise<void>) => {
    left.length = 0;
    await work();
    return [...left];
  };
  expect(await during(() => turns.enter("encode"))).toEqual(["unet", "controlnet", "vae"]);
  expect(await during(() => turns.enter("denoise"))).toEqual(["text_encoder.0", "text_encoder.1", "vae"]);
  expect(await during(() => turns.leave())).toHaveLength(5);
});

const c = pipelineCase("sd1-default");
const options = { ...optionsOf(c), steps: 2 };

it("keepLoaded: false gives the same picture, and holds no weight after it", async () => {
  const kept = await tinyModel(c.config.model);
  const unloading = await tinyModel(c.config.model, { keepLoaded: false });
  const want = await kept.generate(options);
  // The second call loads again what the first one unloaded.
  for (let call = 0; call < 2; call++) {
    expect((await unloading.generate(options)).images).toEqual(want.images);
    expect((await unloading.status()).tensors).toBe(0);
  }
  expect((await kept.status()).tensors).toBeGreaterThan(100);
});

it("calls at the same time do not take each other's networks away", async () => {
  const unloading = await tinyModel(c.config.model, { keepLoaded: false });
  const want = await unloading.generate(options);
  const all = await Promise.all([1, 2, 3].map(() => unloading.generate(options)));
  for (const { images } of all) expect(images).toEqual(want.images);
});

it("refuses what is neither true nor false", async () => {
  const load = StableDiffusion.load(undefined, { keepLoaded: "no" as never });
  await expect(load).rejects.toThrow(/keepLoaded must be true or false, got no/);
});
