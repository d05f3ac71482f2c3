import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { createRng } from "../latents/rng.js";
import type { GenerateOptions } from "../options/options.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import { goldenPath, readTensors, toNhwc } from "../testing/golden.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";

interface Case {
  readonly id: string;
  readonly steps: number;
  readonly guidance: number;
  readonly switch?: number;
  readonly strength?: number;
  readonly score?: number;
  readonly negative_score?: number;
  readonly original?: readonly [height: number, width: number];
  readonly crop?: readonly [top: number, left: number];
}

const reference = new URL("../testing/golden-extra/refiner/", import.meta.url);
const about = JSON.parse(readFileSync(new URL("cases.json", reference), "utf8")) as {
  prompt: string;
  negativePrompt: string;
  seed: number;
  size: number;
  cases: Case[];
  unet: Record<string, unknown>;
  weight_seed: number;
  weights: Record<string, number[]>;
};
const want = readTensors(new URL("cases.safetensors", reference).pathname);
const expected = (name: string) => toNhwc(want.get(name)!);

const folder = mkdtempSync(join(tmpdir(), "refiner-"));
const loaded = StableDiffusion.load(writeRefiner(join(folder, "tiny-refiner")), {
  runtime: "eager",
  threads: 1,
});
afterAll(async () => {
  await (await loaded).dispose();
  await disposeTinyModels();
  rmSync(folder, { recursive: true });
});

/** The tiny refiner of make.py as a diffusers folder: the same recipe for the UNet's weights. */
function writeRefiner(path: string): string {
  for (const part of ["vae", "text_encoder_2", "tokenizer_2", "scheduler"])
    cpSync(goldenPath(`models/tiny-sdxl/${part}`), join(path, part), { recursive: true });
  mkdirSync(join(path, "unet"));
  writeFileSync(join(path, "unet/config.json"), JSON.stringify(about.unet));
  const rng = createRng("torch", about.weight_seed);
  const tensors = Object.entries(about.weights).map(([name, shape]) => {
    const values = rng.normal(shape).map(scaleOf(name, shape));
    return [name, { dtype: "F32", shape, data: new Uint8Array(values.buffer) }] as const;
  });
  writeSafetensors(join(path, "unet/diffusion_pytorch_model.safetensors"), new Map(tensors));
  const index = {
    _class_name: "StableDiffusionXLImg2ImgPipeline",
    requires_aesthetics_score: true,
    force_zeros_for_empty_prompt: false,
    scheduler: ["diffusers", "EulerDiscreteScheduler"],
    text_encoder: [null, null],
    text_encoder_2: ["transformers", "CLIPTextModelWithProjection"],
    tokenizer: [null, null],
    tokenizer_2: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  };
  writeFileSync(join(path, "model_index.json"), JSON.stringify(index));
  return path;
}

function scaleOf(name: string, shape: readonly number[]): (noise: number) => number {
  const isScale = name.includes("norm") && name.endsWith("weight");
  if (shape.length === 1) return (noise) => 0.1 * noise + (isScale ? 1 : 0);
  const deviation = Math.sqrt(1 / shape.slice(1).reduce((a, b) => a * b, 1));
  return (noise) => noise * deviation;
}

/** The picture of make.py. */
function picture() {
  const side = about.size;
  const cells = Array.from({ length: side * side }, (_, i) => [i % side, Math.floor(i / side)] as const);
  const colours = cells.flatMap(([x, y]) => [(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256]);
  return { width: side, height: side, data: Uint8Array.from(colours) };
}

const optionsOf = (id: string) => {
  const c = about.cases.find((c) => c.id === id)!;
  const { prompt, negativePrompt, seed } = about;
  const { steps, guidance, original, crop } = c;
  const options: GenerateOptions = { prompt, negativePrompt, seed, steps, guidance, output: "latents" };
  return {
    ...options,
    ...(c.strength !== undefined && { image: picture(), strength: c.strength }),
    ...(c.score !== undefined && { aestheticScore: c.score }),
    ...(c.negative_score !== undefined && { negativeAestheticScore: c.negative_score }),
    ...(original &&
      crop && {
        sizes: {
          original: { height: original[0], width: original[1] },
          crop: { top: crop[0], left: crop[1] },
        },
      }),
    ...{ share: c.switch },
  };
};

describe("SDXL's refiner, against diffusers", () => {
  it("goes on with the base model's latents where that has stopped", async () => {
    const { share, ...options } = optionsOf("hand-over");
    const base = await tinyModel("models/tiny-sdxl");
    const size = { width: about.size, height: about.size };
    const begun = await base.generate({ ...options, ...size, denoisingEnd: share! });
    const from = expected("hand-over.base");
    expect(begun.latents.data).toBeCloseTo32(from.data, { abs: 1e-3, rel: 1e-3 });
    const refiner = await loaded;
    const refined = await refiner.generate({
      ...options,
      ...size,
      latents: begun.latents,
      denoisingStart: share!,
    });
    expect(refined.latents.data).toBeCloseTo32(expected("hand-over").data, { abs: 2e-3, rel: 1e-3 });
    expect(refined.options).toMatchObject({ aestheticScore: 6, negativeAestheticScore: 2.5 });
  });

  it.each(["picture", "scores"])("%s", async (id) => {
    const { share: _, ...options } = optionsOf(id);
    const { latents } = await (await loaded).generate(options);
    expect(latents.data).toBeCloseTo32(expected(id).data, { abs: 1e-3, rel: 1e-3 });
  });

  it("says what it needs, and that no other model takes its scores", async () => {
    const refiner = await loaded;
    await expect(refiner.generate({ prompt: "a fox" })).rejects.toThrow(
      "tiny-refiner goes on with what another model has begun, and needs an image, or latents with denoisingStart",
    );
    await expect(refiner.generate({ prompt: "a fox", image: picture(), prompt2: "b" })).rejects.toThrow(
      "prompt2 is for models of the SDXL kind",
    );
    const base = await tinyModel("models/tiny-sdxl");
    await expect(base.generate({ prompt: "a fox", aestheticScore: 7 })).rejects.toThrow(
      "aestheticScore is for refiners, tiny-sdxl is none",
    );
  });
});
