import { cpSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseTextEncoderConfig } from "../src/models/clip-config.js";
import type { NetworkSpec } from "../src/models/registry.js";
import type { TaesdConfig } from "../src/models/taesd.js";
import { parseUNetConfig } from "../src/models/unet-config.js";
import type { KlConfig } from "../src/models/vae.js";
import { parseVaeConfig } from "../src/models/vae-config.js";
import { clipTokenizerFolder } from "../src/pipeline/model-source.js";
import { requirements } from "../src/runtime/requirements.js";
import { float32ToFloat16 } from "../src/weights/formats/float16.js";
import { writeSafetensors } from "../src/weights/formats/safetensors.js";

/** The sizes of published models; their weights are random here, which costs the same time. */
export const architectures = {
  sd15: {
    text: {
      hidden_size: 768,
      intermediate_size: 3072,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      hidden_act: "quick_gelu",
    },
    unet: {
      block_out_channels: [320, 640, 1280, 1280],
      attention_head_dim: 8,
      cross_attention_dim: 768,
      sample_size: 64,
    },
  },
  sd21: {
    text: {
      hidden_size: 1024,
      intermediate_size: 4096,
      num_hidden_layers: 23,
      num_attention_heads: 16,
      hidden_act: "gelu",
    },
    unet: {
      block_out_channels: [320, 640, 1280, 1280],
      attention_head_dim: [5, 10, 20, 20],
      cross_attention_dim: 1024,
      use_linear_projection: true,
      sample_size: 64,
    },
  },
  sdxl: {
    text: {
      hidden_size: 768,
      intermediate_size: 3072,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      hidden_act: "quick_gelu",
    },
    unet: {
      block_out_channels: [320, 640, 1280],
      down_block_types: ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
      up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
      attention_head_dim: [5, 10, 20],
      transformer_layers_per_block: [1, 2, 10],
      cross_attention_dim: 2048,
      use_linear_projection: true,
      sample_size: 128,
      addition_embed_type: "text_time",
      addition_time_embed_dim: 256,
      projection_class_embeddings_input_dim: 2816,
    },
  },
  /** Of stable-diffusion-x4-upscaler; the text encoder is that of Stable Diffusion 2. */
  x4: {
    text: {
      hidden_size: 1024,
      intermediate_size: 4096,
      num_hidden_layers: 23,
      num_attention_heads: 16,
      hidden_act: "gelu",
    },
    unet: {
      in_channels: 7,
      block_out_channels: [256, 512, 512, 1024],
      down_block_types: [
        "DownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
        "CrossAttnDownBlock2D",
      ],
      up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
      attention_head_dim: 8,
      cross_attention_dim: 1024,
      only_cross_attention: [true, true, true, false],
      num_class_embeds: 1000,
      use_linear_projection: true,
      sample_size: 128,
    },
  },
} as const;

export type Architecture = keyof typeof architectures;

const sdVae = {
  block_out_channels: [128, 256, 512, 512],
  layers_per_block: 2,
  sample_size: 512,
  latent_channels: 4,
};

/** Four pixels a cell. */
const x4Vae = { ...sdVae, block_out_channels: [128, 256, 512], sample_size: 256, scaling_factor: 0.08333 };

const modelIndex = {
  _class_name: "StableDiffusionPipeline",
  scheduler: ["diffusers", "PNDMScheduler"],
  text_encoder: ["transformers", "CLIPTextModel"],
  tokenizer: ["transformers", "CLIPTokenizer"],
  unet: ["diffusers", "UNet2DConditionModel"],
  vae: ["diffusers", "AutoencoderKL"],
};

const upscalerIndex = {
  _class_name: "StableDiffusionUpscalePipeline",
  low_res_scheduler: ["diffusers", "DDPMScheduler"],
  max_noise_level: 350,
};

const lowResSchedulerConfig = {
  _class_name: "DDPMScheduler",
  beta_end: 0.02,
  beta_schedule: "scaled_linear",
  beta_start: 0.0001,
  num_train_timesteps: 1000,
};

/** Of Stable Diffusion 1.5. */
const schedulerConfig = {
  _class_name: "PNDMScheduler",
  beta_end: 0.012,
  beta_schedule: "scaled_linear",
  beta_start: 0.00085,
  num_train_timesteps: 1000,
  set_alpha_to_one: false,
  skip_prk_steps: true,
  steps_offset: 1,
};

/** A diffusers folder of random float16 weights, made once. */
export function randomModel(folder: string, architecture: Architecture): string {
  const target = join(folder, architecture);
  if (existsSync(join(target, "scheduler"))) return target;
  const { text, unet } = architectures[architecture];
  const isUpscaler = architecture === "x4";
  const vaeConfig = isUpscaler ? x4Vae : sdVae;
  const textConfig = parseTextEncoderConfig(text, "text");
  const unetConfig = parseUNetConfig(unet, "unet");
  const vae = parseVaeConfig(vaeConfig, "AutoencoderKL", "vae") as KlConfig;
  write(target, "text_encoder", "model", text, [
    { kind: "text_encoder", config: textConfig, size: { batch: 1, tokens: 77, skip: 0 } },
  ]);
  write(target, "unet", "diffusion_pytorch_model", unet, [
    { kind: "unet", config: unetConfig, size: { batch: 1, height: 8, width: 8, tokens: 77 } },
  ]);
  write(target, "vae", "diffusion_pytorch_model", vaeConfig, [
    { kind: "vae_encoder", config: vae, size: { batch: 1, height: 64, width: 64 } },
    { kind: "vae_decoder", config: vae, size: { batch: 1, height: 8, width: 8 } },
  ]);
  writeJson(join(target, "model_index.json"), isUpscaler ? { ...modelIndex, ...upscalerIndex } : modelIndex);
  if (isUpscaler) {
    mkdirSync(join(target, "low_res_scheduler"), { recursive: true });
    writeJson(join(target, "low_res_scheduler", "scheduler_config.json"), lowResSchedulerConfig);
  }
  cpSync(clipTokenizerFolder(), join(target, "tokenizer"), { recursive: true });
  // Last: with it the folder is whole.
  mkdirSync(join(target, "scheduler"));
  writeJson(join(target, "scheduler", "scheduler_config.json"), schedulerConfig);
  return target;
}

/** An AutoencoderTiny of the published size, made once. */
export function randomTaesd(folder: string): string {
  const target = join(folder, "taesd");
  const json = { _class_name: "AutoencoderTiny" };
  const config = parseVaeConfig(json, "AutoencoderTiny", "taesd") as TaesdConfig;
  if (!existsSync(join(target, "config.json")))
    write(folder, "taesd", "diffusion_pytorch_model", json, [
      { kind: "taesd_encoder", config, size: { batch: 1, height: 64, width: 64 } },
      { kind: "taesd_decoder", config, size: { batch: 1, height: 8, width: 8 } },
    ]);
  return target;
}

function write(
  target: string,
  role: string,
  name: string,
  config: object,
  specs: readonly NetworkSpec[],
): void {
  mkdirSync(join(target, role), { recursive: true });
  writeJson(join(target, role, "config.json"), config);
  const shapes = new Map(specs.flatMap((spec) => [...requirements(spec).weights]));
  const tensors = [...shapes].map(([key, shape]) => {
    const stored = shape.length === 4 ? [3, 2, 0, 1].map((axis) => shape[axis]!) : pytorch(key, shape);
    const data = () => new Uint8Array(float32ToFloat16(values(key, stored)).buffer);
    return [key, { dtype: "F16", shape: stored, data }] as const;
  });
  writeSafetensors(join(target, role, `${name}.safetensors`), new Map(tensors));
}

const pytorch = (key: string, shape: readonly number[]): readonly number[] =>
  shape.length === 2 && !/embedding\.weight$/.test(key) ? [...shape].reverse() : shape;

/** One period of noise, repeated: drawing each of a billion numbers would take minutes. */
const period = 1_000_003;
const noise = Float32Array.from({ length: period }, (_, i) => ((((i + 1) * 7919) % period) / period) * 2 - 1);

/** Scaled so that signals neither die nor grow: norms near one, products by the width that they sum over. */
function values(key: string, shape: readonly number[]): Float32Array {
  const length = shape.reduce((a, b) => a * b, 1);
  const isScale = shape.length === 1 && /norm[^.]*\.weight$/.test(key);
  const spread = shape.length === 1 ? 0.1 : Math.sqrt(3 / (length / shape[0]!));
  const out = new Float32Array(length);
  for (let i = 0, from = length % period; i < length; i++, from = from + 1 === period ? 0 : from + 1)
    out[i] = (isScale ? 1 : 0) + spread * noise[from]!;
  return out;
}

const writeJson = (path: string, value: object): void => writeFileSync(path, JSON.stringify(value, null, 2));
