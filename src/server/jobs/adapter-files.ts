import { describeLearnedWord, findLora, type LearnedWord } from "../../index.js";
import { configuredFolders, looseWeights, notFound, type WeightFile, weightFiles } from "./weight-files.js";

/** Folders of what requests can name besides models. */
export interface AdapterFolders {
  /** LoRAs, for <lora:name:0.8> in prompts. */
  readonly loraDir?: string | undefined;
  /** Learned words (textual inversions), which prompts call by the names of their files. */
  readonly embeddingsDir?: string | undefined;
  /** Autoencoders that can stand in for the models' own. */
  readonly vaeDir?: string | undefined;
  /** ControlNets and T2I-Adapters: diffusers folders. */
  readonly controlDir?: string | undefined;
  /** IP-Adapters, each with its image encoder in a folder image_encoder beside it. */
  readonly ipAdapterDir?: string | undefined;
  /** Small decoders (TAESD) for previews, each called as its model is. */
  readonly taesdDir?: string | undefined;
  /** ESRGAN and SRVGGNetCompact, as .pth or .safetensors. */
  readonly upscalerDir?: string | undefined;
}

/** The folders among the options of a server or a worker. */
export const foldersOf = ({
  loraDir,
  embeddingsDir,
  vaeDir,
  controlDir,
  ipAdapterDir,
  taesdDir,
  upscalerDir,
}: AdapterFolders): AdapterFolders => ({
  ...{ loraDir, embeddingsDir, vaeDir, controlDir, ipAdapterDir, taesdDir, upscalerDir },
});

/** What lies in those folders, as it is now. */
export class AdapterFiles {
  readonly #folders: AdapterFolders;

  constructor(folders: AdapterFolders) {
    this.#folders = folders;
  }

  /** The LoRAs that prompts can name. */
  loras(): Promise<readonly WeightFile[]> {
    return weightFiles(this.#folders.loraDir);
  }

  /** The file of a LoRA that a prompt mentions. @throws DiffusionError for a name that several have */
  findLora(name: string): string | undefined {
    const { loraDir } = this.#folders;
    return loraDir === undefined ? undefined : findLora(loraDir, name);
  }

  /** The learned words that prompts can say. */
  embeddings(): Promise<readonly WeightFile[]> {
    return weightFiles(this.#folders.embeddingsDir);
  }

  /** Those of them that can be read, each name once, and how large they are. */
  async learnedWords(): Promise<readonly (WeightFile & LearnedWord)[]> {
    const found = new Map<string, WeightFile & LearnedWord>();
    for (const word of await this.embeddings())
      try {
        found.set(word.name.toLowerCase(), { ...word, ...describeLearnedWord(word.path) });
      } catch {
        // Prompts that say it are refused with the reason.
      }
    return [...found.values()];
  }

  /** The autoencoders that can be chosen. */
  vaes(): Promise<readonly WeightFile[]> {
    return weightFiles(this.#folders.vaeDir, { parts: true });
  }

  /** The ControlNets and T2I-Adapters that requests can name. */
  controls(): Promise<readonly WeightFile[]> {
    return configuredFolders(this.#folders.controlDir);
  }

  /** @param name of the list, with or without the hash that clients of the web UI put behind it */
  async findControl(name: string): Promise<WeightFile> {
    const wanted = name.trim().replace(/ \[[0-9a-f]+\]$/i, "");
    const all = await this.controls();
    const found = all.find((control) => control.name === wanted);
    if (found) return found;
    throw notFound("control", name, this.#folders.controlDir ? all : undefined);
  }

  /** The IP-Adapters that requests can name. Their image encoders are folders, and none of them. */
  ipAdapters(): Promise<readonly WeightFile[]> {
    return looseWeights(this.#folders.ipAdapterDir);
  }

  /** @param name of the list */
  async findIpAdapter(name: string): Promise<WeightFile> {
    const all = await this.ipAdapters();
    const found = all.find((adapter) => adapter.name === name.trim());
    if (found) return found;
    throw notFound("ip-adapter", name, this.#folders.ipAdapterDir ? all : undefined);
  }

  /** @param name of the list, with or without its ending; undefined for the models' own */
  async findVae(name: string | undefined): Promise<WeightFile | undefined> {
    if (name === undefined) return undefined;
    const wanted = name.replace(/\.(safetensors|ckpt|pt|bin)$/, "");
    const all = await this.vaes();
    const found = all.find((vae) => vae.name === wanted);
    if (found) return found;
    throw notFound("vae", name, this.#folders.vaeDir ? all : undefined, {
      beside: ", and Automatic",
      instead: ", or say Automatic",
    });
  }

  /** What makes the previews of a model. */
  async previewDecoder(model: string): Promise<WeightFile | undefined> {
    const all = await weightFiles(this.#folders.taesdDir, { parts: true });
    return all.find(({ name }) => name === model);
  }
}
