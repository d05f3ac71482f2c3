import { afterAll, describe, it } from "vitest";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

describe("image to image, against diffusers", () => {
  it.each([
    "sd1-img2img-strength0",
    "sd1-img2img-strength1",
    "sd1-img2img-strength2",
    "sd1-img2img-euler",
    "sd1-img2img-ddim",
    "sd1-img2img-dpmpp",
    "sd1-img2img-euler-a",
    "sd1-img2img-odd-size",
    "sdxl-img2img",
    "sdxl-img2img-denoising-start",
    "lcm-img2img",
    "ip2p-default",
    "ip2p-ddim",
  ])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate(optionsOf(c)), c);
  });

  // One generator makes both images there, of which the first one is what its seed makes alone.
  it("sd1-img2img-batch2", async () => {
    const c = pipelineCase("sd1-img2img-batch2");
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate({ ...optionsOf(c), count: 1 }), c, 1);
  });
});
