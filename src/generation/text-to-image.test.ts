import { afterAll, describe, it } from "vitest";
import {
  disposeTinyModels,
  drawOf,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

describe("text to image, against diffusers", () => {
  it.each([
    "sd1-default",
    "sd1-negative",
    "sd1-wide",
    "sd1-odd-latents",
    "sd1-no-guidance",
    "sd1-empty-prompt",
    "sd1-clip-skip",
    "sd1-rescale",
    "sd1-long-prompt",
    "sd1-one-step",
    "sd1-ddim-eta",
    "sd1-euler",
    "sd1-euler-a",
    "sd1-dpmpp2m-karras",
    "sd1-dpmpp2m-sde",
    "sd1-unipc",
    "sd1-lms",
    "sd1-heun",
    "sd1-ddpm",
    "sd1-batch2-generators",
    "sd2-default",
    "sd2-negative",
    "sd2-dpmpp",
    "sd2-zsnr",
    "sd2-clip-skip",
    "lcm-sd",
    "lcm-pipeline",
    "lcm-50",
    "sdxl-default",
    "sdxl-negative",
    "sdxl-empty-negative",
    "sdxl-prompt2",
    "sdxl-micro",
    "sdxl-clip-skip",
    "sdxl-no-guidance",
    "sdxl-dpmpp-karras",
    "sdxl-denoising-end",
  ])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate(optionsOf(c)), c);
  });

  // One generator makes both images there: their noise is one draw.
  it.each(["sd1-batch2", "sd1-two-prompts"])("%s", async (id) => {
    const c = pipelineCase(id);
    const model = await tinyModel(c.config.model);
    expectResult(await model.generate({ ...optionsOf(c), latents: drawOf(c, 0) }), c);
  });
});
