import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createRng } from "../latents/rng.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import { goldenExtra, goldenPath } from "./golden.js";

/** What golden-extra/latent-upscaler/make.py wrote down. */
interface LatentUpscalerFacts {
  readonly unet: Record<string, unknown>;
  readonly scheduler: Record<string, unknown>;
  readonly weight_seed: number;
  readonly weights: Record<string, number[]>;
  readonly cases: readonly {
    readonly id: string;
    readonly num_inference_steps: number;
    readonly guidance_scale: number;
    readonly negative_prompt?: string;
  }[];
}

export const latentUpscalerFacts: LatentUpscalerFacts = JSON.parse(
  readFileSync(goldenExtra("latent-upscaler/cases.json"), "utf8"),
);

/** Unit noise of torch's generator. */
export const torchNumbers = (seed: number, shape: readonly number[]): Float32Array =>
  createRng("torch", seed).normal(shape);

/** Writes the tiny latent upscaler of `make.py` as a diffusers folder: the same recipe for the UNet's weights. */
export function writeLatentUpscaler(folder: string): string {
  const { unet, scheduler, weights, weight_seed } = latentUpscalerFacts;
  for (const part of ["vae", "text_encoder", "tokenizer"])
    cpSync(goldenPath(`models/tiny-sd1/${part}`), join(folder, part), { recursive: true });
  for (const part of ["unet", "scheduler"]) mkdirSync(join(folder, part), { recursive: true });
  const json = (path: string, value: object) => writeFileSync(join(folder, path), JSON.stringify(value));
  json("unet/config.json", unet);
  json("scheduler/scheduler_config.json", scheduler);
  json("model_index.json", {
    _class_name: "StableDiffusionLatentUpscalePipeline",
    scheduler: ["diffusers", "EulerDiscreteScheduler"],
    text_encoder: ["transformers", "CLIPTextModel"],
    tokenizer: ["transformers", "CLIPTokenizer"],
    unet: ["diffusers", "UNet2DConditionModel"],
    vae: ["diffusers", "AutoencoderKL"],
  });
  const rng = createRng("torch", weight_seed);
  const tensors = Object.entries(weights).map(([name, shape]) => {
    const values = rng.normal(shape).map(scaleOf(name, shape));
    return [name, { dtype: "F32", shape, data: new Uint8Array(values.buffer) }] as const;
  });
  writeSafetensors(join(folder, "unet", "diffusion_pytorch_model.safetensors"), new Map(tensors));
  return folder;
}

function scaleOf(name: string, shape: readonly number[]): (noise: number) => number {
  if (name === "time_proj.weight") return (noise) => noise;
  if (name.endsWith("norm_cross.weight")) return (noise) => 1 + 0.1 * noise;
  if (shape.length === 1) return (noise) => 0.1 * noise;
  const deviation = Math.sqrt(1 / shape.slice(1).reduce((a, b) => a * b, 1));
  return (noise) => noise * deviation;
}
