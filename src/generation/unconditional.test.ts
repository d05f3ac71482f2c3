import { afterAll, describe, it } from "vitest";
import {
  disposeTinyModels,
  drawOf,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
  withStepNoise,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

describe("unconditional, against diffusers", () => {
  it.each(["tiny-ddpm-ddpm", "tiny-ddpm-ddim-eta", "tiny-ddpm-google-ddpm", "tiny-ddpm-google-ddim-eta"])(
    "%s",
    async (id) => {
      const c = pipelineCase(id);
      const model = await tinyModel(c.config.model);
      const options = { ...optionsOf(c), latents: drawOf(c, 0), scheduler: withStepNoise(c) };
      expectResult(await model.generate(options), c);
    },
  );

  it.each([
    "tiny-ddpm-ddim",
    "tiny-ddpm-other-variance",
    "tiny-ddpm-google-ddim",
    "tiny-ddpm-google-other-variance",
  ])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    const scheduler = { _class_name: c.config.scheduler._class, ...c.config.scheduler };
    expectResult(await model.generate({ ...optionsOf(c), scheduler }), c);
  });
});
