import { basename, dirname } from "node:path";
import type { JsonObject } from "../disk/json.js";
import { unknownSchedulerKeys } from "../schedulers/config.js";
import type { Component, ModelSource } from "../weights/component.js";
import { unknownKeys } from "./config-keys.js";

/** Components that model_index.json names and that are loaded. */
const loaded = /^(unet|vae|vqvae|(text_encoder|tokenizer)(_2)?|(low_res_)?scheduler)$/;

/** Those that are not loaded because no picture depends on them, and why. */
const idle: Readonly<Record<string, string>> = {
  safety_checker: "it judges pictures that are made",
  feature_extractor: "it prepares pictures for the safety checker",
  image_encoder: "it is for IP-Adapters, which bring theirs along",
  watermarker: "it marks pictures that are made",
};

/** Flags of model_index.json that are read, or are about what is not loaded. */
const flags = new Set([
  ...["_class_name", "_diffusers_version", "_name_or_path", "_shared"],
  ...["force_zeros_for_empty_prompt", "requires_aesthetics_score", "max_noise_level"],
  ...["requires_safety_checker", "add_watermarker"],
]);

/** What a model's configurations hold that is neither used nor known to change no picture. */
export function configNotes(source: ModelSource): string[] {
  const { unet, vae, textEncoders, scheduler, lowResScheduler, settings } = source;
  return [
    ...[unet, ...(vae ? [vae] : []), ...textEncoders].flatMap(componentNotes),
    ...[scheduler, ...(lowResScheduler ? [lowResScheduler] : [])].flatMap((config) =>
      noted("the scheduler's configuration", unknownSchedulerKeys(config)),
    ),
    ...indexNotes(settings),
  ];
}

/** The same of one network. */
export const componentNotes = ({ className, config, weights }: Component): string[] =>
  noted(`${basename(dirname(weights.path))}/config.json`, unknownKeys(className, config));

function indexNotes(settings: JsonObject): string[] {
  const parts: string[] = [];
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(settings)) {
    const isPart = Array.isArray(value);
    if (!isPart && !flags.has(key)) unknown.push(key);
    if (isPart && value[1] !== null && !loaded.test(key) && !(key in idle))
      parts.push(`model_index.json names a ${key} (${value[1]}), which is not loaded`);
  }
  return [...parts, ...noted("model_index.json", unknown)];
}

const noted = (where: string, keys: readonly string[]): string[] =>
  keys.length === 0 ? [] : [`${where} holds what is not known and not used: ${keys.join(", ")}`];
