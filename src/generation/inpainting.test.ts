import { afterAll, describe, it } from "vitest";
import { valuesToImages } from "../image/convert.js";
import {
  disposeTinyModels,
  expectLatents,
  expectPictures,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

describe("inpainting, against diffusers", () => {
  // diffusers leaves what the VAE made of the kept part; here it is put back, so the decoded latents are compared.
  it.each([
    "inpaint-4ch-hard",
    "inpaint-4ch-strength",
    "inpaint-4ch-soft",
    "inpaint-4ch-wide",
    "inpaint-9ch-hard",
    "inpaint-9ch-strength",
    "inpaint-9ch-soft",
    "inpaint-9ch-wide",
    "sdxl-inpaint-4ch",
  ])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    const { latents } = await model.generate({ ...optionsOf(c), output: "latents" });
    expectLatents(latents, c);
    const scale = id.startsWith("sdxl") ? 0.13025 : 0.18215;
    const unscaled = { shape: latents.shape, data: latents.data.map((v) => v / scale) };
    expectPictures(valuesToImages(await model.vae.decode(unscaled)), c);
  });

  it.each(["inpaint-4ch-crop", "inpaint-9ch-crop"])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate(optionsOf(c)), c);
  });
});
