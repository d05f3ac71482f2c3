import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import {
  defaultModels,
  describeModel,
  type GenerateOptions,
  type GenerateResult,
  type LoadOptions,
  type ModelInfo,
  nearest,
} from "../../index.js";
import { errorOf, Refusal } from "../refusal.js";
import type { Settings } from "../storage/settings.js";
import { AdapterFiles, type AdapterFolders } from "./adapter-files.js";
import { LoadedModels } from "./loaded-models.js";
import { type ModelOption, type ModelState, optionLabel } from "./model-option.js";
import { Upscalers } from "./upscalers.js";
import { warmUp } from "./warm-up.js";
import { isFolder, type WeightFile } from "./weight-files.js";
import { WeightHashes } from "./weight-hashes.js";

/** The models that requests can name, and those of them that are loaded. */
export class Models {
  readonly #options = new Map<string, ModelOption>();
  readonly #loaded: LoadedModels;
  readonly #settings: Settings;
  /** What requests can name besides models. */
  readonly files: AdapterFiles;
  /** What single files take that they do not hold. */
  readonly #config: string | undefined;
  /** The networks that enlarge pictures. */
  readonly upscalers: Upscalers;
  /** Of the models' weights. */
  readonly hashes: WeightHashes;
  /** The chosen autoencoder; the models' own when undefined. */
  #vae: WeightFile | undefined;
  /** Models of the folder that cannot be used, and why. */
  readonly unusable = new Map<string, string>();

  private constructor(settings: Settings, load: LoadOptions, folders: AdapterFolders) {
    this.#settings = settings;
    this.#loaded = new LoadedModels(load);
    this.#config = load.config;
    this.files = new AdapterFiles(folders);
    this.upscalers = new Upscalers(folders.upscalerDir, load);
    this.hashes = new WeightHashes(load.cacheDir);
  }

  /** @param load options for every model: threads, cache folder */
  static async open(
    settings: Settings,
    load: LoadOptions = {},
    folders: AdapterFolders = {},
  ): Promise<Models> {
    const { loraDir, embeddingsDir } = folders;
    const named = {
      ...(loraDir !== undefined && { loraDir }),
      ...(embeddingsDir !== undefined && { embeddingsDir }),
    };
    const models = new Models(settings, { ...load, ...named }, folders);
    // One that is gone by now is not missed: the models have their own.
    models.#vae = (await models.files.vaes()).find(({ name }) => name === settings.data.vae);
    const included = defaultModels.map(async (name) => ({ name, info: await describeModel(name) }));
    for (const result of await Promise.allSettled(included)) {
      if (result.status === "rejected") models.unusable.set("included", errorOf(result.reason).message);
      else models.add({ ...result.value, source: result.value.name, precision: "fp32", origin: "included" });
    }
    await models.#addPrepared(settings.data.prepared);
    return models;
  }

  /** What was prepared before this start: its files are on disk. */
  async #addPrepared(prepared: Settings["data"]["prepared"]): Promise<void> {
    for (const { name, source, precision } of prepared)
      try {
        const variant = precision === "fp16" ? { variant: "fp16" as const } : {};
        const info = await describeModel(source, { offline: true, ...variant });
        this.add({ name, source, precision, info, origin: "prepared" });
      } catch (error) {
        this.unusable.set(name, errorOf(error).message);
      }
  }

  /** Adds the models of a folder: each diffusers folder and each checkpoint file directly in it. */
  async addFolder(folder: string): Promise<void> {
    for (const entry of await readdir(folder)) {
      const source = join(folder, entry);
      if (!/\.(safetensors|ckpt)$/.test(entry) && !(await isFolder(source))) continue;
      try {
        const info = await this.#describe(source);
        this.add({ name: info.name, info, source, precision: "fp32", origin: "folder" });
      } catch (error) {
        this.unusable.set(entry, errorOf(error).message);
      }
    }
  }

  /** Adds the model of a folder or file, as commands take it. @returns its label, undefined for what is no path */
  async addPath(path: string): Promise<string | undefined> {
    if (!existsSync(path)) return undefined;
    const info = await this.#describe(path);
    return this.add({ name: info.name, info, source: path, precision: "fp32", origin: "folder" }).label;
  }

  #describe(source: string): Promise<ModelInfo> {
    return describeModel(source, { ...(this.#config !== undefined && { config: this.#config }) });
  }

  add(option: Omit<ModelOption, "label">): ModelOption {
    const label = optionLabel(option.name, option.precision);
    const added = { ...option, label };
    this.#options.set(label, added);
    return added;
  }

  /** Takes a prepared option off the list; what was downloaded and converted stays in the cache. */
  async forget(label: string): Promise<void> {
    const option = this.resolve(label);
    if (option.origin !== "prepared")
      throw new Refusal(409, "BAD_OPTION", `${label} did not come through "Optimize model"`);
    await this.unload(label);
    this.#options.delete(label);
    await this.#settings.set(({ prepared }) => ({
      prepared: prepared.filter(({ name, precision }) => optionLabel(name, precision) !== label),
    }));
  }

  /** Has a prepared option on the list after the next start as well. */
  async remember({ label, name, source, precision }: ModelOption): Promise<void> {
    await this.#settings.set(({ prepared }) => ({
      prepared: [
        ...prepared.filter((other) => optionLabel(other.name, other.precision) !== label),
        { name, source, precision },
      ],
    }));
  }

  list(): readonly ModelOption[] {
    return [...this.#options.values()];
  }

  state(label: string): ModelState {
    return this.#loaded.state(label);
  }

  /** What requests without a model use. */
  get current(): ModelOption {
    const chosen = this.#settings.data.model;
    const option = (chosen && this.#options.get(chosen)) || this.list()[0];
    if (!option) throw new Refusal(503, "FILE_MISSING", "there is no model to generate with");
    return option;
  }

  get vae(): string | undefined {
    return this.#vae?.name;
  }

  /** The autoencoder of all jobs from now on. */
  async chooseVae(name: string | undefined): Promise<void> {
    this.#vae = await this.files.findVae(name);
    await this.#settings.set({ vae: this.#vae?.name });
  }

  async choose(name: string): Promise<ModelOption> {
    const option = this.resolve(name);
    await this.#settings.set({ model: option.label });
    return option;
  }

  /**
   * The option of a name ("emoji-diffusion-256"), a label ("emoji-diffusion-256 CPU FP16") or a title of the web
   * UI's API. Only what is on the list is found, so that a name can never be a path.
   *
   * @param masked the default model gives way to its inpainting variant, as in `generate`
   */
  resolve(name: string | undefined, { masked = false } = {}): ModelOption {
    if (name === undefined) {
      const { current } = this;
      const variant = masked && current.name === defaultModels[0] ? defaultModels[1] : undefined;
      return (variant && this.#options.get(optionLabel(variant, "fp32"))) || current;
    }
    const wanted = name.trim().replace(/(\.safetensors|\.ckpt)?( \[[0-9a-f]+\])?$/i, "");
    const exact = this.#options.get(wanted);
    if (exact) return exact;
    const lower = wanted.toLowerCase();
    const { current } = this;
    if (current.name.toLowerCase() === lower) return current;
    const found = this.list().find(
      (option) => option.name.toLowerCase() === lower || option.label.toLowerCase() === lower,
    );
    if (found) return found;
    const byHash = this.#hashed(lower);
    if (byHash) return byHash;
    const near = nearest(wanted, [...new Set(this.list().map((option) => option.name))]);
    throw new Refusal(404, "MODEL_NOT_FOUND", `there is no model ${name.slice(0, 100)}`, {
      hint: near
        ? `did you mean ${near}?`
        : 'see the list of models; others are added under "Optimize model"',
    });
  }

  /** By the beginning of its weights' hash, as the web UI's clients name models. */
  #hashed(beginning: string): ModelOption | undefined {
    if (!/^[0-9a-f]{8,64}$/.test(beginning)) return undefined;
    return this.list().find(({ info }) => this.hashes.of(info.path)?.startsWith(beginning));
  }

  /** Loads a model ahead of the first request, and runs one step so that its weights are converted too. */
  async warm(label: string): Promise<void> {
    const option = this.resolve(label);
    await this.generate(option, warmUp(option.info));
  }

  /** @param vae the autoencoder, undefined for the model's own; default: the chosen one */
  async generate(
    option: ModelOption,
    options: GenerateOptions,
    { vae }: { readonly vae: WeightFile | undefined } = { vae: this.#vae },
  ): Promise<GenerateResult> {
    const taesd = await this.files.previewDecoder(option.name);
    return this.#loaded.generate(option, options, { vae: vae?.path, taesd: taesd?.path });
  }

  unload(label: string): Promise<void> {
    return this.#loaded.unload(label);
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#loaded.dispose(), this.upscalers.dispose(), this.hashes.dispose()]);
  }
}
