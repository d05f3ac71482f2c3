import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { goldenExtra, goldenPath, readTensors } from "../testing/golden.js";
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

/** A folder as the hub has them: an unconditional UNet on the latents of a VQModel. */
function latentModel(scheduler: object): string {
  const folder = join(mkdtempSync(join(tmpdir(), "latent-unconditional-")), "tiny-ldm");
  cpSync(goldenPath("models/tiny-ddpm-google/unet"), join(folder, "unet"), { recursive: true });
  cpSync(goldenPath("models/tiny-ldm-sr/vqvae"), join(folder, "vqvae"), { recursive: true });
  mkdirSync(join(folder, "scheduler"));
  const write = (file: string, content: object) => writeFileSync(join(folder, file), JSON.stringify(content));
  write("scheduler/scheduler_config.json", { _class_name: "DDIMScheduler", ...scheduler });
  write("model_index.json", {
    _class_name: "LDMPipeline",
    unet: ["diffusers", "UNet2DModel"],
    vqvae: ["diffusers", "VQModel"],
    scheduler: ["diffusers", "DDIMScheduler"],
  });
  return folder;
}

describe("latent diffusion without a prompt, against diffusers", () => {
  const facts = JSON.parse(readFileSync(goldenExtra("latent-unconditional/cases.json"), "utf8"));
  const want = readTensors(goldenExtra("latent-unconditional/cases.safetensors"));
  it.each([0, 0.7])("eta %f", async (eta) => {
    const folder = latentModel(facts.scheduler);
    const model = await StableDiffusion.load(folder, { runtime: "eager", threads: 1 });
    try {
      const { images } = await model.generate({ seed: facts.seed, steps: facts.steps, eta });
      const { shape, data } = want.get(`eta-${eta === 0 ? "0.0" : eta}`)!;
      expect([1, images[0]!.height, images[0]!.width, 3]).toEqual(shape);
      const differences = data.map((v, i) => Math.abs(255 * v - images[0]!.data[i]!));
      expect(Math.max(...differences)).toBeLessThanOrEqual(0.51);
    } finally {
      await model.dispose();
      rmSync(join(folder, ".."), { recursive: true });
    }
  });
});
