import { existsSync } from "node:fs";
import { DiffusionError, nearest } from "../errors.js";
import type { NetworkMention } from "../text/prompt.js";
import { type Tokenizer, wordsIn } from "../text/tokenizer.js";
import type { ModelSource } from "../weights/component.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import { type Adapters, adaptedModel, encoderWidths } from "./adapted-checkpoint.js";
import { bundledWords } from "./bundle.js";
import { adaptersIn, findLora, stem } from "./locate.js";
import { type Lora, loraFile, ofConfig, openLora } from "./lora.js";
import type { AdaptedModel } from "./lora-keys.js";
import { readTextualInversion } from "./textual-inversion.js";

/** How strongly a LoRA acts: 1 as it was trained, 0 not at all, negative values the other way. */
export type LoraScale = number | { readonly unet: number; readonly text: number };

export interface LoraInfo {
  readonly name: string;
  readonly path: string;
  /** 0 for one that is loaded and not in use. */
  readonly scale: LoraScale;
  /** Keys of its file that this model has no use for. */
  readonly unmatched: Lora["unmatched"];
  /** Words that its file carries, known while it is in use. */
  readonly words: readonly string[];
}

export interface WordInfo {
  /** What to write in a prompt. */
  readonly word: string;
  readonly path: string;
  /** Tokens that it takes up. */
  readonly vectors: number;
}

/** Adapters that are used together, and the tokenizers that know their words, one for each text encoder. */
export interface AdaptersInUse {
  readonly adapters: Adapters;
  readonly tokenizers: readonly Tokenizer[];
  /** What of their files this model has no use for. */
  readonly notes: readonly string[];
}

/** The adapters of a model: which are loaded, how strongly they act, and which a prompt brings along. */
export class AdapterSet {
  readonly #source: ModelSource;
  readonly #tokenizers: readonly Tokenizer[];
  readonly #folder: string | undefined;
  readonly #wordFolder: string | undefined;
  readonly #loras = new Map<string, LoraInfo>();
  readonly #words: WordInfo[] = [];
  #shapes: AdaptedModel | undefined;

  /**
   * @param tokenizers of the model, one for each text encoder
   * @param folder where `<lora:name:1>` looks for adapters that are not loaded
   * @param wordFolder of textual inversions, each called as its file is
   */
  constructor(source: ModelSource, tokenizers: readonly Tokenizer[], folder?: string, wordFolder?: string) {
    this.#source = source;
    this.#tokenizers = tokenizers;
    this.#folder = folder;
    this.#wordFolder = wordFolder;
    for (const [name, path] of Object.entries({ loraDir: folder, embeddingsDir: wordFolder }))
      if (path !== undefined && !existsSync(path))
        throw new DiffusionError("FILE_MISSING", `${name}: there is no folder ${path}`);
  }

  get loras(): readonly LoraInfo[] {
    return [...this.#loras.values()];
  }

  get words(): readonly WordInfo[] {
    return this.#words;
  }

  addLora(path: string, { name = stem(path), scale = 1 }: { name?: string; scale?: LoraScale }): LoraInfo {
    checkScale(scale);
    const info = { name, scale, ...this.#read(path) };
    this.#loras.delete(name);
    this.#loras.set(name, info);
    return info;
  }

  setLoras(uses: readonly { readonly name: string; readonly scale?: LoraScale }[]): void {
    const chosen = uses.map(({ name, scale = 1 }) => {
      checkScale(scale);
      return { ...this.#known(name), scale };
    });
    const names = new Set(chosen.map(({ name }) => name));
    const idle = this.loras.filter(({ name }) => !names.has(name)).map((lora) => ({ ...lora, scale: 0 }));
    this.#loras.clear();
    for (const lora of [...chosen, ...idle]) this.#loras.set(lora.name, lora);
  }

  removeLora(name: string): void {
    this.#loras.delete(this.#known(name).name);
  }

  addWord(path: string, options: { word?: string }): WordInfo {
    const info = this.#readWord(path, options);
    withWords(this.#tokenizers, [...this.#words, info]); // refuses words that are taken
    this.#words.push(info);
    return info;
  }

  #readWord(path: string, options: { word?: string }): WordInfo {
    const widths = encoderWidths(this.#model());
    if (!widths)
      throw new DiffusionError("MODEL_KIND", "this model has no text encoder, and learns no words");
    const file = openTensorFile(path);
    try {
      const { word, vectors } = readTextualInversion(file, widths, options);
      return { word, vectors, path };
    } finally {
      file.close();
    }
  }

  removeWord(word: string): void {
    const index = this.#words.findIndex((known) => known.word === word);
    if (index < 0)
      throw unknown(
        "word",
        word,
        this.#words.map((known) => known.word),
      );
    this.#words.splice(index, 1);
  }

  /**
   * What is in use, with what a prompt mentions in place of or beside it.
   *
   * @param pictures files of the IP-Adapters that are used
   * @param texts the prompts, which may say words of the folder
   * @throws DiffusionError BAD_OPTION for a LoRA that is neither loaded nor in the folder, by its file or by the name that
   * it was trained under
   */
  inUse(
    mentions: readonly NetworkMention[] = [],
    pictures: readonly string[] = [],
    texts: readonly string[] = [],
  ): AdaptersInUse {
    const mentioned = mentions.map(({ name, weight, unetWeight }) => ({
      ...this.#mentioned(name),
      scale: { unet: unetWeight, text: weight },
    }));
    const names = new Set(mentions.map(({ name }) => name));
    // One that is mentioned twice acts twice.
    const uses = [...this.loras.filter(({ name }) => !names.has(name)), ...mentioned].filter(({ scale }) =>
      isOn(scale),
    );
    const loras = uses.map(({ path, scale }) => ({
      path,
      scales: typeof scale === "number" ? { unet: scale, text: scale } : scale,
    }));
    const own = [...this.#words, ...this.#bundled(uses)];
    const known = [...own, ...this.#ofFolder(texts, new Set(own.map(({ word }) => word.toLowerCase())))];
    const tokenizers = withWords(this.#tokenizers, known);
    const words = known.map((info) => ({
      ...info,
      ids: tokenizers.map((tokenizer) => tokenizer.words.get(info.word)![0]!),
    }));
    const adapters: Adapters = { loras, words, ...(pictures.length > 0 && { pictures }) };
    return { adapters, tokenizers, notes: uses.flatMap(unmatchedNote) };
  }

  #model(): AdaptedModel {
    this.#shapes ??= adaptedModel(this.#source);
    return this.#shapes;
  }

  #known(name: string): LoraInfo {
    const lora = this.#loras.get(name);
    if (lora) return lora;
    throw unknown("LoRA", name, [...this.#loras.keys()]);
  }

  #mentioned(name: string): LoraInfo {
    const loaded = this.#loras.get(name);
    if (loaded) return loaded;
    const path = this.#folder === undefined ? undefined : findLora(this.#folder, name);
    if (path === undefined) {
      const found = this.#folder === undefined ? [] : adaptersIn(this.#folder).keys();
      throw unknown("LoRA", name, [...this.#loras.keys(), ...found]);
    }
    return { name, scale: 1, ...this.#read(path) };
  }

  /** What a LoRA's file has for this model. */
  #read(path: string): Pick<LoraInfo, "path" | "unmatched" | "words"> {
    const lora = openLora(path, this.#model());
    lora.close();
    return { path, unmatched: lora.unmatched, words: [...lora.words.keys()] };
  }

  /** Words of the folder that texts say; one that is known otherwise stays as it is. */
  #ofFolder(texts: readonly string[], taken: ReadonlySet<string>): WordInfo[] {
    const folder = this.#wordFolder === undefined ? new Map<string, string>() : adaptersIn(this.#wordFolder);
    const names = [...folder.keys()].filter((name) => !taken.has(name.toLowerCase()));
    return wordsIn(texts.join("\n"), names).map((word) => this.#readWord(folder.get(word)!, { word }));
  }

  /** Words that the LoRAs in use carry; one that is known otherwise stays as it is. */
  #bundled(loras: readonly LoraInfo[]): (WordInfo & { bundled: true })[] {
    const widths = encoderWidths(this.#model());
    const taken = new Set(this.#words.map(({ word }) => word));
    const found: (WordInfo & { bundled: true })[] = [];
    for (const { path, words } of widths ? loras : []) {
      if (words.length === 0) continue;
      const file = openTensorFile(loraFile(path));
      try {
        for (const [word, own] of bundledWords(file)) {
          if (taken.has(word)) continue;
          taken.add(word);
          const { vectors } = readTextualInversion(own, widths!, { word });
          found.push({ word, path, vectors, bundled: true });
        }
      } finally {
        file.close();
      }
    }
    return found;
  }
}

const SHOWN = 3;

function unmatchedNote({ name, unmatched }: LoraInfo): string[] {
  const says = unmatched.filter(({ reason }) => reason === ofConfig).map(({ key }) => key);
  const keys = unmatched.filter(({ reason }) => reason !== ofConfig).map(({ key }) => key);
  const more = keys.length > SHOWN ? `, and ${keys.length - SHOWN} more` : "";
  const shown = keys.slice(0, SHOWN).join(", ");
  return [
    ...(keys.length > 0
      ? [`${keys.length} keys of the LoRA ${name} name nothing in this model: ${shown}${more}`]
      : []),
    ...(says.length > 0
      ? [`adapter_config.json of the LoRA ${name} holds what is not known and not used: ${says.join(", ")}`]
      : []),
  ];
}

const isOn = (scale: LoraScale): boolean =>
  typeof scale === "number" ? scale !== 0 : scale.unet !== 0 || scale.text !== 0;

const withWords = (tokenizers: readonly Tokenizer[], words: readonly WordInfo[]): readonly Tokenizer[] =>
  words.length === 0 ? tokenizers : tokenizers.map((tokenizer) => tokenizer.withWords(words));

function checkScale(scale: LoraScale): void {
  const values: unknown[] = typeof scale === "object" && scale !== null ? [scale.unet, scale.text] : [scale];
  const wrong = values.find((value) => !Number.isFinite(value));
  if (wrong !== undefined || values.includes(undefined))
    throw new DiffusionError("BAD_OPTION", `scale of a LoRA: expected a number, got ${String(wrong)}`);
}

function unknown(what: string, name: string, known: readonly string[]): DiffusionError {
  const near = nearest(name, known);
  const none =
    what === "LoRA"
      ? "none is loaded; load it, or give the folder that it lies in as loraDir"
      : "none is loaded";
  const there = known.length > 0 ? `there are ${known.slice(0, 20).join(", ")}` : none;
  return new DiffusionError("BAD_OPTION", `there is no ${what} ${name}`, {
    hint: near ? `did you mean ${near}?` : there,
  });
}
