import { readFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { valuesToImages } from "../image/convert.js";
import { readImage } from "../image/read.js";
import type { GenerateOptions } from "../options/options.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import { readTensors, referencePath, toNhwc } from "../testing/golden.js";
import { StableDiffusion } from "./stable-diffusion.js";

interface Reference {
  id: string;
  model: string;
  prompt: string;
  negativePrompt?: string;
  image?: string;
  mask?: string;
  scheduler: SchedulerConfig;
  seed: number;
  steps: number;
  guidance: number;
  strength?: number;
  width?: number;
  height?: number;
}

// Python writes a bare -Infinity, and an object beside it that says which keys were defaults.
const text = readFileSync(referencePath("index.json"), "utf8").replaceAll("-Infinity", '"-Infinity"');
const references = JSON.parse(text, (key, value: unknown) =>
  key === "_use_default_values" ? undefined : value === "-Infinity" ? Number.NEGATIVE_INFINITY : value,
) as Reference[];

const models = new Map<string, StableDiffusion>();
afterAll(() => Promise.all([...models.values()].map((model) => model.dispose())));

it.each(references)("$id is the picture that diffusers makes", async (reference) => {
  const { id, model: name, image, mask, mode: _, ...given } = reference as Reference & { mode: string };
  const model = models.get(name) ?? (await StableDiffusion.load(name));
  models.set(name, model);
  const options: GenerateOptions = {
    negativePrompt: "",
    ...given,
    ...(image && { image: referencePath(image) }),
    ...(mask && { mask: referencePath(mask) }),
  };
  const { images, latents } = await model.generate(options);
  const [want] = [...readTensors(referencePath(`${id}.latents.safetensors`)).values()].map(toNhwc);
  expect(latents.data).toBeCloseTo32(want!.data, { abs: 2e-3 });
  // diffusers leaves what the VAE makes of the part that the mask keeps.
  const { scalingFactor } = model.vae.config;
  const picture = mask
    ? valuesToImages(
        await model.vae.decode({ shape: latents.shape, data: latents.data.map((v) => v / scalingFactor) }),
      )[0]!
    : images[0]!;
  const reached = psnr(picture.data, (await readImage(referencePath(`${id}.png`))).data);
  expect(reached).toBeGreaterThan(40);
});

/** Peak signal to noise ratio in dB. */
function psnr(got: Uint8Array, want: Uint8Array): number {
  expect(got).toHaveLength(want.length);
  const squares = got.reduce((sum, value, i) => sum + (value - want[i]!) ** 2, 0);
  return 10 * Math.log10(255 ** 2 / (squares / got.length));
}
