import { existsSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "../disk/package.js";
import { DiffusionError, nearest } from "../errors.js";
import { fetchFromHub, parseHubReference } from "../hub/hub.js";
import type { LoadOptions, LocateOptions } from "../options/load.js";
import { requireText } from "../options/refusal.js";

/** The models that come with the library; the first is the default, the second its inpainting variant. */
export const defaultModels = [
  "emoji-diffusion-256",
  "emoji-diffusion-256-inpaint",
  "butterflies-64",
] as const;

export const ownWeights = (name: string): string => join(packageFolder(), "weights", name);

/** CLIP's vocabulary, which single-file checkpoints leave out. */
export const clipTokenizerFolder = (): string => ownWeights("clip-tokenizer");

export const defaultModelFolder = (name: (typeof defaultModels)[number]): string => ownWeights(name);

/** @throws DiffusionError BAD_OPTION for what cannot name a model: anything but text */
export const requireModel = (model: unknown): void =>
  requireText("model", model, "a folder, a file or a name");

/**
 * The folder or file of a model: a path, the name of a default model, or a repository of the hub, which is
 * downloaded (or found in the cache).
 *
 * @throws DiffusionError FILE_MISSING with the nearest name, or what the hub says
 */
export async function locateModel(model: string, options: LocateOptions = {}): Promise<string> {
  requireModel(model);
  if (existsSync(model)) return model;
  const ours = defaultModels.find((name) => name === model);
  if (ours) return defaultModelFolder(ours);
  const reference = parseHubReference(model);
  if (!reference) {
    const near = nearest(model, defaultModels);
    throw new DiffusionError("FILE_MISSING", `there is no model ${model}`, {
      hint: near
        ? `did you mean ${near}?`
        : `give a folder, a .safetensors file, a hub name such as owner/name, or one of ${defaultModels.join(", ")}`,
    });
  }
  const snapshot = await fetchFromHub(reference, options);
  return snapshot.file ?? snapshot.folder;
}

/** What finding a model takes of the options of loading it. */
export function located({ revision, token, offline, signal, onProgress }: LoadOptions): LocateOptions {
  const given = { revision, token, offline, signal, onProgress };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** For what comes from elsewhere: the revision is the model's; its own is part of its name (owner/name@revision). */
export function elsewhere(options: LoadOptions): LocateOptions {
  const { revision: _, ...rest } = located(options);
  return rest;
}

/** Which of two sets of weights a repository is asked for. */
export const variantOf = ({ precision }: LoadOptions): { variant?: "fp16" } =>
  precision === "fp16" ? { variant: "fp16" } : {};
