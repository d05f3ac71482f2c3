import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, extname, join, parse } from "node:path";
import { DiffusionError, demand } from "../errors.js";
import { enlarge } from "../generation/enlarge.js";
import type { Image } from "../image/image.js";
import { readImage } from "../image/read.js";
import { defaultUpscaler } from "../options/choices.js";
import type { ImageInput } from "../options/image-options.js";
import { checkUpscalerOptions, type UpscalerOptions } from "../options/load.js";
import { checkUpscaleOptions, type UpscaleOptions } from "../options/upscale.js";
import { createUpscaler, readUpscaler, type Upscaler } from "../runtime/networks/upscaler.js";
import type { Engine } from "../runtime/process/engine.js";
import { unlessAborted } from "../runtime/process/given-up.js";
import { cacheRoot } from "../weights/cache-root.js";
import { engineOf } from "./engine-of.js";
import { listening } from "./listening.js";
import { type Memory, memoryFor, refuseEnlargement } from "./memory.js";
import { located, locateModel, ownWeights, requireModel } from "./model-source.js";

/**
 * A network that enlarges pictures: ESRGAN (Real-ESRGAN with it) or SRVGGNetCompact. It runs in a process of its own;
 * `dispose` ends it. Diffusion upscalers are models: `StableDiffusion.load`.
 */
export class ImageUpscaler {
  /** The file's, without its ending. */
  readonly name: string;
  readonly #upscaler: Upscaler;
  readonly #engine: Engine;
  readonly #memory: Memory;

  private constructor(name: string, upscaler: Upscaler, engine: Engine, memory: Memory) {
    this.name = name;
    this.#upscaler = upscaler;
    this.#engine = engine;
    this.#memory = memory;
  }

  /**
   * @param model a `.pth` or `.safetensors` file, a folder with one, or the name of the included one (default)
   * @throws DiffusionError FILE_MISSING, FILE_FORMAT, MODEL_KIND for what is no upscaler, WEIGHT_MISSING, WEIGHT_SHAPE,
   * WEIGHT_UNUSED
   */
  static async load(model: string = defaultUpscaler, options: UpscalerOptions = {}): Promise<ImageUpscaler> {
    checkUpscalerOptions(options);
    const { runtime = "graph", precision = "fp32", cacheDir, memoryLimit } = options;
    const path = await locateUpscaler(model, located(options));
    const file = readUpscaler(path);
    const engine = await engineOf(options);
    engine.start();
    const networks = { runtime, precision, cacheRoot: cacheRoot(cacheDir) };
    const upscaler = createUpscaler(file, engine, networks);
    return new ImageUpscaler(parse(path).name, upscaler, engine, memoryFor(memoryLimit));
  }

  /** How many times as wide and high a picture becomes at once. */
  get scale(): number {
    return this.#upscaler.config.scale;
  }

  /**
   * RGB, or RGBA for a picture that has transparency.
   *
   * @throws DiffusionError UNSUPPORTED for what cannot fit this machine, or `memoryLimit`
   */
  async upscale(image: ImageInput, options: UpscaleOptions = {}): Promise<Image> {
    checkUpscaleOptions(options);
    const { scale, width, height, signal, onProgress } = options;
    const source = await readImage(image);
    const factor = scale ?? this.scale;
    const size = {
      width:
        width ??
        Math.max(1, Math.round(height ? (source.width * height) / source.height : source.width * factor)),
      height:
        height ??
        Math.max(1, Math.round(width ? (source.height * width) / source.width : source.height * factor)),
    };
    refuseEnlargement(this.#upscaler.config, source, size, this.#memory);
    const heard = { ...(signal && { signal }), ...(onProgress && { onProgress }) };
    return listening(heard, ({ signal, onProgress }) => {
      const how = { size, ...(signal && { signal }), ...(onProgress && { onTile: onProgress }) };
      return unlessAborted(signal, () => enlarge(this.#upscaler, source, how));
    });
  }

  async dispose(): Promise<void> {
    await this.#engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

const upscalerEndings = [".pth", ".pt", ".safetensors", ".ckpt", ".bin"];

/** The file of an upscaler. Throws as `locateModel`, and FILE_MISSING for a folder without one file of weights. */
export async function locateUpscaler(
  model: string,
  options: Parameters<typeof locateModel>[1] = {},
): Promise<string> {
  requireModel(model);
  const found =
    !existsSync(model) && model === defaultUpscaler ? ownWeights(model) : await locateModel(model, options);
  if (!statSync(found).isDirectory()) return found;
  const files = readdirSync(found).filter((name) => upscalerEndings.includes(extname(name)));
  const [file] = files;
  if (file !== undefined && files.length === 1) return join(found, file);
  throw new DiffusionError(
    "FILE_MISSING",
    `${basename(found)} is a folder with ${files.length} files of weights, not one`,
    {
      hint: "name the upscaler's file",
    },
  );
}

/** What is known of an upscaler before it is loaded. */
export interface UpscalerInfo {
  /** The file's, without its ending. */
  readonly name: string;
  readonly architecture: "ESRGAN" | "SRVGGNetCompact";
  /** How many times as wide and high a picture becomes at once. */
  readonly scale: number;
}

/** Reads an upscaler's file without loading its weights. Throws as `ImageUpscaler.load`. */
export async function describeUpscaler(model: string = defaultUpscaler): Promise<UpscalerInfo> {
  const path = await locateUpscaler(model);
  const { kind, scale } = readUpscaler(path).config;
  return { name: parse(path).name, architecture: kind === "rrdb" ? "ESRGAN" : "SRVGGNetCompact", scale };
}

/** Whether a name is that of the included upscaler, or a file on disk that `ImageUpscaler` reads; absent is the included one. */
export async function isImageUpscaler(model: string = defaultUpscaler): Promise<boolean> {
  requireModel(model);
  if (!existsSync(model)) return model === defaultUpscaler;
  if (existsSync(join(model, "model_index.json"))) return false;
  try {
    readUpscaler(await locateUpscaler(model));
    return true;
  } catch (error) {
    const { code } = error as DiffusionError;
    if (["MODEL_KIND", "FILE_FORMAT", "FILE_MISSING"].includes(code)) return false;
    throw error;
  }
}

/**
 * Enlarges one picture and gives all memory back; for several, `ImageUpscaler` is loaded once.
 *
 * @param options.model as `ImageUpscaler.load` takes it; default: the included one
 */
export async function upscale(
  image: ImageInput,
  options: UpscaleOptions & UpscalerOptions & { model?: string } = {},
): Promise<Image> {
  demand("options", options, "object");
  const { model, scale, width, height, signal, onProgress, ...load } = options;
  const upscaler = await ImageUpscaler.load(model, load);
  try {
    return await upscaler.upscale(image, {
      ...(scale !== undefined && { scale }),
      ...(width !== undefined && { width }),
      ...(height !== undefined && { height }),
      ...(signal && { signal }),
      ...(onProgress && { onProgress }),
    });
  } finally {
    await upscaler.dispose();
  }
}
