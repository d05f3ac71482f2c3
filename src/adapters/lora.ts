import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { readJsonObject } from "../disk/json.js";
import { contentId } from "../weights/checkpoint.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import type { AdapterFile } from "../weights/formats/tensors.js";
import { bundledWords, isBundled } from "./bundle.js";
import { configuredAlphas, type LoraOptions, unknownConfigKeys } from "./lora-alpha.js";
import {
  type AdaptedModel,
  type AdaptedTensor,
  biasOf,
  type LoraPart,
  parseLoraKey,
  tensorLookup,
} from "./lora-keys.js";
import { misfit, nothingFits, refuseOtherMethod, wrongBase } from "./lora-misfit.js";
import { type LoraTarget, targetOf } from "./lora-target.js";

export interface Lora {
  readonly targets: readonly LoraTarget[];
  /** Keys that nothing was done with, and why. */
  readonly unmatched: readonly { readonly key: string; readonly reason: string }[];
}

/**
 * Finds out what an adapter changes in a model: LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, IA3 and whole differences (also
 * of norms and biases), in the layouts of kohya, of diffusers old and new, of PEFT, and with the original code's names.
 * Reads no values but the alphas.
 *
 * @param file must stay open while deltas are read
 * @throws DiffusionError WEIGHT_SHAPE if a module is of another shape than the model's (made for another base) or
 * lacks a factor, MODEL_KIND if nothing fits
 */
export function matchLora(file: AdapterFile, model: AdaptedModel, options: LoraOptions = {}): Lora {
  const lookup = tensorLookup(model);
  const unmatched: { key: string; reason: string }[] = [];
  const modules = new Map<string, Map<LoraPart, string>>();
  for (const key of file.tensors.keys()) {
    refuseOtherMethod(file, key);
    if (isBundled(key)) continue;
    const parsed = parseLoraKey(key, file.tensors);
    if (!parsed) {
      unmatched.push({ key, reason: "not a key of any layout that is known" });
      continue;
    }
    const parts = modules.get(parsed.module) ?? new Map<LoraPart, string>();
    modules.set(parsed.module, parts.set(parsed.part, key));
  }
  const alphas = configuredAlphas(file, options);
  const targets: LoraTarget[] = [];
  const misfits: string[] = [];
  for (const [module, keys] of modules) {
    const tensor = lookup(module);
    if (!tensor) {
      for (const key of keys.values()) unmatched.push({ key, reason: "the model has no such module" });
      continue;
    }
    const alpha = alphas(tensor);
    const { weight, bias } = byTensor(keys);
    const biasTensor = biasOf(tensor, model);
    const add = (tensor: AdaptedTensor, keys: ReadonlyMap<LoraPart, string>) => {
      if (keys.size === 0) return;
      const target = targetOf(file, tensor, keys, alpha);
      if (target) targets.push(target);
      else misfits.push(misfit(file, tensor, keys));
    };
    add(tensor, weight);
    if (biasTensor) add(biasTensor, bias);
    else
      for (const [part, key] of bias)
        if (!weight.has(part)) unmatched.push({ key, reason: "the model's module has no bias" });
  }
  if (misfits.length > 0) throw wrongBase(file, model, misfits, unmatched.length);
  if (targets.length === 0) throw nothingFits(file, modules.size, unmatched);
  for (const key of unknownConfigKeys(options.config)) unmatched.push({ key, reason: ofConfig });
  return { targets, unmatched };
}

/** Why a key of adapter_config.json is among those that nothing was done with. */
export const ofConfig = "adapter_config.json says it, and it is not known here";

/** An adapter whose file is open. */
export interface OpenLora extends Lora {
  /** A key for caches, as that of a checkpoint. */
  readonly id: string;
  /** Words that its file carries embeddings of. */
  readonly words: ReadonlyMap<string, AdapterFile>;
  close(): void;
}

/** Files of a repository's folder that hold its LoRA, as diffusers and PEFT name them. */
const fileNames = ["pytorch_lora_weights", "adapter_model"].flatMap((name) => [
  `${name}.safetensors`,
  `${name}.bin`,
]);

/** The file of a LoRA, which may be given by its folder. */
export const loraFile = (path: string): string =>
  fileNames.map((name) => join(path, name)).find((name) => existsSync(name)) ?? path;

/**
 * Opens a LoRA for a model: a file in either format, or a folder that diffusers or PEFT wrote. The adapter_config.json
 * beside it is read where there is one. Close it when no delta is needed any more.
 *
 * @throws DiffusionError as `openTensorFile` and `matchLora`
 */
export function openLora(path: string, model: AdaptedModel): OpenLora {
  const file = openTensorFile(loraFile(path));
  try {
    const config = join(dirname(file.path), "adapter_config.json");
    const options = existsSync(config) ? { config: readJsonObject(config) } : {};
    const id = contentId([file], options);
    return { ...matchLora(file, model, options), id, words: bundledWords(file), close: () => file.close() };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** A module's keys, those that change its weight and those that change its bias. */
function byTensor(keys: ReadonlyMap<LoraPart, string>): {
  weight: ReadonlyMap<LoraPart, string>;
  bias: ReadonlyMap<LoraPart, string>;
} {
  const weight = new Map(keys);
  const bias = new Map<LoraPart, string>();
  for (const part of ["bias_diff", "up_bias"] as const) {
    const key = weight.get(part);
    if (key !== undefined) bias.set(part, key);
    weight.delete(part);
  }
  // PEFT's is scaled as the product that it is added to.
  const ofProduct = (["down", "alpha"] as const).flatMap((part) => {
    const key = bias.has("up_bias") ? weight.get(part) : undefined;
    return key === undefined ? [] : [[part, key] as const];
  });
  return { weight, bias: new Map([...bias, ...ofProduct]) };
}
