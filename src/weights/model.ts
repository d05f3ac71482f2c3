import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Component, ModelSource } from "./component.js";
import { openComponentFolder, openFolder, type SourceOptions } from "./folder.js";
import {
  type OpenVae,
  openSingleFile,
  openSingleFileControl,
  openSingleFileVae,
  type SingleFileOptions,
} from "./original/single-file.js";

/** How a model is opened; the parts for single files are ignored for folders. */
export type ModelOpening = SourceOptions &
  SingleFileOptions & {
    /** Where another VAE is, which is taken for that of a file that has none. */
    readonly vae?: string;
  };

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

/**
 * Opens a model on disk: a diffusers folder, or a single file in the original layout (.safetensors, or a pickle).
 *
 * @throws DiffusionError as `openFolder` and `openSingleFile`
 */
export function openModel(path: string, options: ModelOpening): ModelSource {
  const { vae, prediction } = options;
  if (isFile(path))
    return openSingleFile(path, options, vae === undefined ? undefined : openVae(vae, options));
  const source = openFolder(path, options);
  return prediction ? { ...source, scheduler: { ...source.scheduler, prediction_type: prediction } } : source;
}

const openVae =
  (path: string, options: SourceOptions): OpenVae =>
  (pipeline) =>
    openComponent(path, { pipeline }, options);

/**
 * Opens one component that stands by itself: a diffusers folder or the file of weights in it, a ControlNet or T2I-Adapter in
 * a file of its own, or a VAE in the original layout, in a file of its own or in a whole model's.
 *
 * @param base the model that it is for: what the file does not say is as there
 * @throws DiffusionError as `openComponentFolder` and `openSingleFileVae`
 */
export function openComponent(
  path: string,
  base: Pick<ModelSource, "pipeline"> & Partial<Pick<ModelSource, "unet" | "vae">>,
  options: SourceOptions,
): Component {
  if (!isFile(path)) return openComponentFolder(path, options);
  const folder = dirname(path);
  const isDiffusers = basename(path).startsWith("diffusion_pytorch_model");
  if (isDiffusers && existsSync(join(folder, "config.json")))
    return openComponentFolder(folder, { ...options, file: path });
  const control = openSingleFileControl(path, base.unet);
  if (control) return control;
  return openSingleFileVae(path, base.pipeline, base.vae);
}
