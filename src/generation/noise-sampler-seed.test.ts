import { afterAll, expect, it } from "vitest";
import type { GenerateOptions } from "../options/options.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

/* What the path of a seed is, is compared with diffusers in latents/brownian.test.ts. */
it("noise_sampler_seed is the seed of the Brownian path, and the picture's is that of the first noise", async () => {
  const model = await tinyModel("models/tiny-sd1");
  const size = { width: 32, height: 32 };
  const draw = async (
    seed: number,
    noise_sampler_seed?: number | null,
    more: Partial<GenerateOptions> = {},
  ) => {
    const scheduler = { ...model.schedulerConfig, _class_name: "DPMSolverSDEScheduler", noise_sampler_seed };
    const options = { prompt: "a fox", steps: 3, seed, ...size, output: "latents", scheduler } as const;
    return (await model.generate({ ...options, ...more })).latents.data;
  };
  const own = await draw(5);
  expect(await draw(5, null)).toEqual(own);
  expect(await draw(5, 5)).toEqual(own);
  const other = await draw(5, 9);
  expect(other).not.toEqual(own);
  // The first noise of the one and the path of the other.
  const latents = model.noise(5, size);
  expect(await draw(9, undefined, { latents })).toEqual(other);
  await expect(draw(5, -1)).rejects.toThrow(/noise_sampler_seed/);
});
