import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { JsonObject } from "../../disk/json.js";
import { parseTextEncoderConfig } from "../../models/clip-config.js";
import type { NetworkSpec } from "../../models/registry.js";
import { parseUNetConfig } from "../../models/unet-config.js";
import { parseVaeConfig } from "../../models/vae-config.js";
import { readModel } from "../../runtime/model.js";
import { requirements } from "../../runtime/requirements.js";
import { goldenPath } from "../../testing/golden.js";
import { originalClipName, originalUNetName, originalVaeName } from "../../testing/original-layout.js";
import { openModel } from "../model.js";

/**
 * Models as large as the published ones, of which only the header is written: what single files do not say (heads,
 * depths, schedules) must come out as in the configurations that they are published with.
 */

const folder = mkdtempSync(join(tmpdir(), "real-sizes-"));
afterAll(() => rmSync(folder, { recursive: true }));
type Shapes = Map<string, readonly number[]>;

/** A file whose values are a hole. */
function writeHollow(path: string, shapes: Shapes): void {
  let end = 0;
  const header = [...shapes].map(([name, shape]) => {
    const start = end;
    end += 2 * shape.reduce((product, n) => product * n, 1);
    return [name, { dtype: "F16", shape, data_offsets: [start, end] }];
  });
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const file = openSync(path, "w");
  writeSync(file, Buffer.concat([length, text]));
  ftruncateSync(file, 8 + text.length + end);
  closeSync(file);
}

/** The weights of networks, in PyTorch's layout. */
const weightsOf = (...specs: NetworkSpec[]): Shapes =>
  new Map(
    specs.flatMap((spec) =>
      [...requirements(spec).weights].map(([name, shape]) => [name, torchShape(name, shape)] as const),
    ),
  );

function torchShape(name: string, shape: readonly number[]): readonly number[] {
  if (shape.length === 4) return [shape[3]!, shape[2]!, shape[0]!, shape[1]!];
  return shape.length === 2 && !name.endsWith("embedding.weight") ? [...shape].reverse() : shape;
}

function unet(json: JsonObject): Shapes {
  const config = parseUNetConfig(json, "unet");
  const weights = weightsOf({ kind: "unet", config, size: { batch: 1, height: 16, width: 16, tokens: 1 } });
  return new Map(
    [...weights].map(([name, shape]) => {
      const level = /^up_blocks\.(\d+)/.exec(name)?.[1];
      const hasAttention = weights.has(`up_blocks.${level}.attentions.0.norm.weight`);
      const original = originalUNetName(name, 2).replace(".UP.", hasAttention ? ".2." : ".1.");
      return [`model.diffusion_model.${original}`, shape];
    }),
  );
}

function vae(): Shapes {
  const json = { block_out_channels: [128, 256, 512, 512], layers_per_block: 2 };
  const config = parseVaeConfig(json, "AutoencoderKL", "vae");
  if (config.kind !== "kl") throw new Error("another VAE");
  const weights = weightsOf(
    { kind: "vae_encoder", config, size: { batch: 1, height: 16, width: 16 } },
    { kind: "vae_decoder", config, size: { batch: 1, height: 2, width: 2 } },
  );
  return new Map(
    [...weights].map(([name, shape]) => [`first_stage_model.${originalVaeName(name, 4)}`, shape]),
  );
}

/** @param unused a layer more, and a projection, which Stable Diffusion 2 has and does not use */
function text(root: string, json: JsonObject, unused = false): Shapes {
  const config = parseTextEncoderConfig(json, "text_encoder");
  const weights = weightsOf({ kind: "text_encoder", config, size: { batch: 1, tokens: 77, skip: 0 } });
  if (json.hidden_act !== "gelu")
    return new Map([...weights].map(([name, shape]) => [`${root}transformer.${name}`, shape]));
  const out: Shapes = new Map([[`${root}model.logit_scale`, []]]);
  for (const [name, [first = 0, ...rest]] of weights) {
    const [, layer, kind] = /layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)$/.exec(name) ?? [];
    if (kind)
      out.set(`${root}model.transformer.resblocks.${layer}.attn.in_proj_${kind}`, [3 * first, ...rest]);
    else if (name === "text_projection.weight") out.set(`${root}model.text_projection`, [...rest, first]);
    else if (!/[kv]_proj/.test(name)) out.set(`${root}model.${originalClipName(name)}`, [first, ...rest]);
  }
  if (unused) out.set(`${root}model.text_projection`, [config.width, config.width]);
  const last = `resblocks.${config.layers - 1}.`;
  if (unused)
    for (const [name, shape] of [...out])
      if (name.includes(last)) out.set(name.replace(last, `resblocks.${config.layers}.`), shape);
  return out;
}

const clipL = { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12 };
const clipH = {
  ...{ hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 23, num_attention_heads: 16 },
  hidden_act: "gelu",
};
const clipG = {
  ...{ hidden_size: 1280, intermediate_size: 5120, num_hidden_layers: 32, num_attention_heads: 20 },
  ...{ hidden_act: "gelu", architectures: ["CLIPTextModelWithProjection"], projection_dim: 1280 },
};
const layers = { layers_per_block: 2 };
const sd1 = { ...layers, cross_attention_dim: 768, attention_head_dim: 8, sample_size: 64 };
const sd2 = {
  ...{ ...sd1, cross_attention_dim: 1024, attention_head_dim: [5, 10, 20, 20] },
  use_linear_projection: true,
};
const [plain, cross] = ["DownBlock2D", "CrossAttnDownBlock2D"];
const added = { use_linear_projection: true, addition_embed_type: "text_time", addition_time_embed_dim: 256 };
const xl = {
  ...{ ...layers, ...added, sample_size: 128, projection_class_embeddings_input_dim: 2816 },
  ...{ block_out_channels: [320, 640, 1280], attention_head_dim: [5, 10, 20], cross_attention_dim: 2048 },
  down_block_types: [plain, cross, cross],
  up_block_types: ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  transformer_layers_per_block: [1, 2, 10],
};
const refiner = {
  ...{ ...layers, ...added, sample_size: 128, projection_class_embeddings_input_dim: 2560 },
  block_out_channels: [384, 768, 1536, 1536],
  ...{ attention_head_dim: [6, 12, 24, 24], cross_attention_dim: 1280 },
  down_block_types: [plain, cross, cross, plain],
  up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
  transformer_layers_per_block: 4,
};

const texts: Record<string, () => Shapes[]> = {
  sd1: () => [text("cond_stage_model.", clipL)],
  sd2: () => [text("cond_stage_model.", clipH, true)],
  turbo: () => [text("conditioner.embedders.0.", clipH, true)],
  xl: () => [text("conditioner.embedders.0.", clipL), text("conditioner.embedders.1.", clipG)],
  refiner: () => [text("conditioner.embedders.0.", clipG)],
};

test.each<[string, JsonObject, keyof typeof texts, string, string]>([
  ["Stable Diffusion 1.5", sd1, "sd1", "StableDiffusionPipeline", "PNDMScheduler"],
  ["its inpainting", { ...sd1, in_channels: 9 }, "sd1", "StableDiffusionInpaintPipeline", "DDIMScheduler"],
  [
    "InstructPix2Pix",
    { ...sd1, in_channels: 8 },
    "sd1",
    "StableDiffusionInstructPix2PixPipeline",
    "EulerAncestralDiscreteScheduler",
  ],
  ["Stable Diffusion 2.1", sd2, "sd2", "StableDiffusionPipeline", "DDIMScheduler"],
  ["SD-Turbo", sd2, "turbo", "StableDiffusionPipeline", "EulerDiscreteScheduler"],
  ["SDXL", xl, "xl", "StableDiffusionXLPipeline", "EulerDiscreteScheduler"],
  [
    "its inpainting",
    { ...xl, in_channels: 9 },
    "xl",
    "StableDiffusionXLInpaintPipeline",
    "EulerDiscreteScheduler",
  ],
  ["its refiner", refiner, "refiner", "StableDiffusionXLImg2ImgPipeline", "EulerDiscreteScheduler"],
])("%s", (_, config, encoders, pipeline, scheduler) => {
  const path = join(folder, "model.safetensors");
  const parts = [unet(config), vae(), ...texts[encoders]!()];
  writeHollow(path, new Map(parts.flatMap((part) => [...part])));
  const model = readModel(openModel(path, { tokenizer: goldenPath("tokenizers/tokenizer-clip") }));
  const { source } = model;
  expect([source.pipeline, source.scheduler._class_name]).toEqual([pipeline, scheduler]);
  expect(acting(model.unet.config)).toEqual(acting(parseUNetConfig(config, "unet")));
  const known = { sd1: [clipL], sd2: [clipH], turbo: [clipH], xl: [clipL, clipG], refiner: [clipG] };
  expect(model.textEncoders).toEqual(
    known[encoders as keyof typeof known].map((json) => parseTextEncoderConfig(json, "text_encoder")),
  );
  const inXl = encoders === "xl" || encoders === "refiner";
  expect(model.vae).toMatchObject({ scalingFactor: inXl ? 0.13025 : 0.18215, factor: 8, latentChannels: 4 });
});

/** A UNet's config without depths of transformers that are not there. */
function acting(config: object): object {
  const { levels, upTransformerLayers, upCrossAttention, ...rest } = config as ReturnType<
    typeof parseUNetConfig
  >;
  return {
    ...rest,
    levels: levels.map((level) => (level.crossAttention ? level : { ...level, transformerLayers: [] })),
    up: upCrossAttention.map((has, i) => (has ? upTransformerLayers[i] : [])),
  };
}
