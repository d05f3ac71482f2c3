import { readFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import {
  disposeTinyModels,
  expectResult,
  optionsOf,
  pipelineCase,
  tinyModel,
} from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

interface FromLatents {
  readonly id: string;
  readonly model: string;
  readonly scheduler: "ddim" | "euler";
  readonly steps: number;
  readonly strength: number;
}
const fromLatents = JSON.parse(readFileSync(goldenExtra("latents-to-image/cases.json"), "utf8")) as {
  readonly seed: number;
  readonly asked: {
    readonly prompt: string;
    readonly negative_prompt: string;
    readonly guidance_scale: number;
  };
  readonly cases: readonly FromLatents[];
};

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

  it.each(fromLatents.cases)(
    "from the model's own latents: $id",
    async (c) => {
      const tensors = readTensors(goldenExtra("latents-to-image/cases.safetensors"));
      const tensor = (name: string) => toNhwc(tensors.get(`${c.id}.${name}`)!);
      const { scheduler, steps, strength } = c;
      const { prompt, negative_prompt: negativePrompt, guidance_scale: guidance } = fromLatents.asked;
      const model = await tinyModel(c.model);
      const { latents, options } = await model.generate({
        ...{ prompt, negativePrompt, guidance, scheduler, steps, strength },
        ...{ seed: fromLatents.seed, image: tensor("image"), output: "latents" },
      });
      expect(options.mode).toBe("img2img");
      const want = tensor("latents");
      expect(latents.shape).toEqual(want.shape);
      expect(latents.data).toBeCloseTo32(want.data, { abs: 1e-4, rel: 1e-4 });
    },
    240_000,
  );
});
