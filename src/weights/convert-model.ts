import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { makeFolderSync } from "../disk/folders.js";
import { type JsonObject, jsonText, readJsonObject } from "../disk/json.js";
import { placeWholeSync } from "../disk/whole-file.js";
import { DiffusionError } from "../errors.js";
import type { Component, ModelSource } from "./component.js";
import { float32ToBfloat16, float32ToFloat16 } from "./formats/float16.js";
import { type TensorToWrite, writeSafetensors } from "./formats/safetensors.js";
import { generationDefaultsFile } from "./weight-names.js";

/** How weights are stored; "same" as they are in the original. */
export type StoredPrecision = "same" | "fp32" | "fp16" | "bf16";

const encoders = {
  fp32: { dtype: "F32", encode: (values: Float32Array): ArrayBufferView => values },
  fp16: { dtype: "F16", encode: (values: Float32Array): ArrayBufferView => float32ToFloat16(values) },
  bf16: { dtype: "BF16", encode: (values: Float32Array): ArrayBufferView => float32ToBfloat16(values) },
};

/**
 * Writes a model as a diffusers folder with safetensors, whatever it was stored as. The folder appears when it is
 * whole.
 *
 * @param folder must not exist yet
 * @param onTensor called after each tensor
 * @throws DiffusionError BAD_OPTION for a folder that is there, DISK
 */
export function writeModel(
  source: ModelSource,
  folder: string,
  precision: StoredPrecision = "same",
  onTensor: (network: string, done: number, total: number) => void = () => {},
): void {
  const target = resolve(folder);
  if (existsSync(target))
    throw new DiffusionError("BAD_OPTION", `${folder} exists already; nothing was written`);
  placeWholeSync(target, (draft) => {
    for (const [role, network] of networksOf(source)) {
      makeFolderSync(join(draft, role));
      writeJson(join(draft, role, "config.json"), network.config);
      const name = network.className.startsWith("CLIP") ? "model" : "diffusion_pytorch_model";
      writeWeights(network, join(draft, role, `${name}.safetensors`), precision, (done, total) =>
        onTensor(role, done, total),
      );
    }
    writeRest(source, draft);
  });
}

function networksOf({
  unet,
  vae,
  textEncoders,
  settings,
}: ModelSource): [role: string, network: Component][] {
  const roles = encoderRoles(textEncoders.length, settings);
  return [
    ["unet", unet],
    ...(vae ? [[vae.className === "VQModel" ? "vqvae" : "vae", vae] satisfies [string, Component]] : []),
    ...textEncoders.map((network, i): [string, Component] => [`text_encoder${roles[i]}`, network]),
  ];
}

/** What stands behind `text_encoder` and `tokenizer`: SDXL's refiner has only the second. */
function encoderRoles(count: number, settings: JsonObject): readonly string[] {
  const second = settings.text_encoder_2;
  return count === 1 && Array.isArray(second) && second[1] !== null ? ["_2"] : ["", "_2"];
}

function writeWeights(
  network: Component,
  path: string,
  precision: StoredPrecision,
  onTensor: (done: number, total: number) => void,
): void {
  const checkpoint = network.open();
  try {
    let done = 0;
    const tensors = [...checkpoint.tensors].map(([name, { dtype, shape }]): [string, TensorToWrite] => {
      const encoder = precision === "same" ? undefined : encoders[precision];
      const data = () => {
        onTensor(++done, checkpoint.tensors.size);
        return encoder ? encoder.encode(checkpoint.readFloat32(name)) : checkpoint.read(name);
      };
      return [name, { dtype: encoder?.dtype ?? dtype, shape, data }];
    });
    writeSafetensors(path, new Map(tensors), { format: "pt" });
  } finally {
    checkpoint.close();
  }
}

/** Tokenizers, schedulers, and model_index.json last. */
function writeRest(source: ModelSource, draft: string): void {
  const { tokenizers, scheduler, lowResScheduler, pipeline, settings } = source;
  const roles = encoderRoles(tokenizers.length, settings);
  const index: Record<string, unknown> = { _class_name: pipeline, ...flagsOf(settings) };
  for (const [role, { className }] of networksOf(source))
    index[role] = [className.startsWith("CLIP") ? "transformers" : "diffusers", className];
  for (const [i, { folder, padToken }] of tokenizers.entries()) {
    const role = `tokenizer${roles[i]}`;
    mkdirSync(join(draft, role));
    const names = readdirSync(folder).filter((name) => /\.(json|txt)$/.test(name));
    for (const name of names) copyFileSync(join(folder, name), join(draft, role, name));
    if (padToken !== undefined) setPadToken(join(draft, role), padToken);
    index[role] = ["transformers", "CLIPTokenizer"];
  }
  for (const [role, config] of Object.entries({ scheduler, low_res_scheduler: lowResScheduler })) {
    if (!config) continue;
    mkdirSync(join(draft, role));
    writeJson(join(draft, role, "scheduler_config.json"), config);
    index[role] = ["diffusers", String(config._class_name ?? "DDPMScheduler")];
  }
  if (source.generationDefaults)
    writeJson(join(draft, generationDefaultsFile), source.generationDefaults.content);
  writeJson(join(draft, "model_index.json"), index);
}

const flagsOf = (settings: JsonObject) =>
  Object.fromEntries(
    Object.entries(settings).filter(([key, value]) => !key.startsWith("_") && !Array.isArray(value)),
  );

function setPadToken(folder: string, padToken: string): void {
  for (const name of ["tokenizer_config.json", "special_tokens_map.json"]) {
    const path = join(folder, name);
    writeJson(path, { ...(existsSync(path) && readJsonObject(path)), pad_token: padToken });
  }
}

const writeJson = (path: string, value: unknown): void => writeFileSync(path, jsonText(value));
