import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRng } from "../latents/rng.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import { goldenPath } from "./golden.js";

const about = JSON.parse(
  readFileSync(new URL("golden-extra/refiner/cases.json", import.meta.url), "utf8"),
) as {
  unet: Record<string, unknown>;
  weight_seed: number;
  weights: Record<string, number[]>;
};

/** The tiny refiner of golden-extra/refiner/make.py as a diffusers folder: the same recipe for the UNet's weights. */
export function writeTinyRefiner(path: string): string {
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
