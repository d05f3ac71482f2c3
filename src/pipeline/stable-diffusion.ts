import { basename, extname } from "node:path";
import { locateAdapter } from "../adapters/locate.js";
import type { LoraInfo, LoraScale, WordInfo } from "../adapters/set.js";
import { DiffusionError, demand } from "../errors.js";
import type { ProgressEvent } from "../events.js";
import { type EncodeOptions, encodePrompt } from "../generation/encode-prompt.js";
import type { IpAdapterInfo } from "../generation/ip-adapter.js";
import { type Loaded, latentShape, textEncodersOf, vaeOf, withAdapters } from "../generation/loaded.js";
import { drawNoise } from "../generation/noise.js";
import type { Size } from "../image/image.js";
import type { Latents } from "../latents/latents.js";
import { createRng, type RngName, type Seed } from "../latents/rng.js";
import type { Conditioning } from "../options/conditioning.js";
import { checkLoadOptions, type LoadOptions } from "../options/load.js";
import {
  checkEncodeOptions,
  checkIpAdapterOptions,
  checkLoraOptions,
  checkNoiseSize,
  checkWordOptions,
} from "../options/model-calls.js";
import type { GenerateOptions } from "../options/options.js";
import { checkOptions } from "../options/schema.js";
import { checkedSize } from "../options/sizes.js";
import type { Vae } from "../runtime/networks/autoencoder.js";
import type { TextEncoder } from "../runtime/networks/text-encoder.js";
import type { UNet } from "../runtime/networks/unet.js";
import { unlessAborted } from "../runtime/process/given-up.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { NetworkMention } from "../text/prompt.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { listening } from "./listening.js";
import { load, type Opened, prepare } from "./load.js";
import { defaultModels } from "./model-source.js";
import { type GenerateResult, run } from "./run.js";
import { eventsOf } from "./stream.js";

/** A loaded model. Its networks run in a process of their own; `dispose` ends it. */
export class StableDiffusion {
  readonly #opened: Opened;

  private constructor(opened: Opened) {
    this.#opened = opened;
  }

  /**
   * @param model a diffusers folder, a `.safetensors` file, a hub name, or the name of a default model
   * @throws DiffusionError for models that cannot be found or used
   */
  static async load(model: string = defaultModels[0], options: LoadOptions = {}): Promise<StableDiffusion> {
    checkLoadOptions(options);
    let opened: Opened | undefined;
    try {
      return await listening(options, async (heard) => {
        opened = await load(model, heard);
        return new StableDiffusion(opened);
      });
    } catch (error) {
      await opened?.engine.dispose();
      throw error;
    }
  }

  /** The networks on plain numbers, for people who build their own loop. */
  get unet(): UNet {
    return this.#adapted().networks.unet;
  }

  get vae(): Vae {
    return vaeOf(this.#opened.loaded);
  }

  get textEncoder(): TextEncoder {
    return this.textEncoders[0]!;
  }

  /** SDXL has two. */
  get textEncoders(): readonly TextEncoder[] {
    return textEncodersOf(this.#adapted());
  }

  /**
   * A prompt as `promptEmbeds` and `negativePromptEmbeds` take it.
   *
   * @returns `context` [1, 77 for each chunk, channels]; SDXL: `pooled` [1, channels]
   */
  async encodePrompt(prompt: string, options: EncodeOptions = {}): Promise<Conditioning> {
    demand("prompt", prompt, "text");
    checkEncodeOptions(options);
    return encodePrompt((mentions) => this.#adapted(mentions, [prompt]), prompt, options);
  }

  /** The configuration of the model's own scheduler, as `createScheduler` and `schedulerConfig` take it. */
  get schedulerConfig(): SchedulerConfig {
    return { ...this.#opened.loaded.traits.scheduler };
  }

  /**
   * The unit noise that `generate` begins a picture of this seed with, for loops of your own and for its `latents`. With a
   * scheduler that adds noise on the way the picture is then another one: that noise is drawn from the seed's beginning.
   *
   * @param size pixels, multiples of the VAE's factor; default: the model's own
   * @returns [1, height / f, width / f, channels]
   * @throws DiffusionError BAD_OPTION
   */
  noise(seed: Seed, size: Partial<Size> = {}, rng: RngName = "torch"): Latents {
    const { loaded } = this.#opened;
    checkNoiseSize(size);
    const shape = latentShape(loaded, checkedSize(size, loaded.traits));
    return { shape, data: drawNoise(createRng(rng, seed), shape) };
  }

  /** One for each text encoder, with the words that were learned. */
  get tokenizers(): readonly Tokenizer[] {
    return this.#adapted().tokenizers;
  }

  /**
   * Puts a LoRA (LoCon, LoHa, LoKr, DoRA) over the model, beside those in use, from the next generation on. Its changes are
   * made by the first one that needs them, to the weights that it touches; the others stay as they are.
   *
   * @param path file, folder, or hub name (owner/name, owner/name:file.safetensors)
   * @param options.name default: the file's, without its ending; one of the same name is replaced
   * @throws DiffusionError WEIGHT_SHAPE for one that was made for another base, MODEL_KIND for what is none
   */
  async loadLora(path: string, options: { name?: string; scale?: LoraScale } = {}): Promise<LoraInfo> {
    checkLoraOptions(options);
    const found = await locateAdapter(path, this.#opened.locate);
    return this.#opened.adapters.addLora(found, { name: basename(path, extname(path)), ...options });
  }

  /** Uses these of the loaded LoRAs (default scale 1), in this order, and no others; `[]` uses none. */
  setLoras(uses: readonly { readonly name: string; readonly scale?: LoraScale }[]): void {
    if (!Array.isArray(uses) || uses.some((use) => typeof use?.name !== "string"))
      throw new DiffusionError("BAD_OPTION", "setLoras: expected a list of LoRAs, each with its name", {
        hint: 'setLoras([{ name: "watercolour", scale: 0.8 }])',
      });
    this.#opened.adapters.setLoras(uses);
  }

  /** Forgets a LoRA; the model is then exactly as it was without it. */
  removeLora(name: string): void {
    demand("name", name, "text");
    this.#opened.adapters.removeLora(name);
  }

  /**
   * Loads an IP-Adapter (plain, plus, plus-face, full-face), for pictures beside the prompt: `generate`'s `ipAdapter`.
   * It adds to the UNet and changes nothing in it; generations without pictures are as before.
   *
   * @param path file, or hub name (h94/IP-Adapter:models/ip-adapter_sd15.safetensors)
   * @param options.name default: the file's, without its ending; one of the same name is replaced
   * @param options.imageEncoder folder or hub name; default: image_encoder in the same folder
   * @throws DiffusionError WEIGHT_SHAPE for one that was made for another base or another image encoder, MODEL_KIND
   * for what is none
   */
  async loadIpAdapter(
    path: string,
    options: { name?: string; imageEncoder?: string } = {},
  ): Promise<IpAdapterInfo> {
    checkIpAdapterOptions(options);
    return this.#opened.ipAdapters.add(path, options);
  }

  /** Forgets an IP-Adapter, and unloads its image encoder. */
  async removeIpAdapter(name: string): Promise<void> {
    demand("name", name, "text");
    await this.#opened.ipAdapters.remove(name);
  }

  get ipAdapters(): readonly IpAdapterInfo[] {
    return this.#opened.ipAdapters.all;
  }

  get loras(): readonly LoraInfo[] {
    return this.#opened.adapters.loras;
  }

  /**
   * Teaches the model a word: a textual inversion in any layout.
   *
   * @param path file, or hub name
   * @param options.word what to write in prompts; default: the name in the file, else the file's own
   * @throws DiffusionError WEIGHT_SHAPE for another model family's, FILE_FORMAT for what is none
   */
  async loadTextualInversion(path: string, options: { word?: string } = {}): Promise<WordInfo> {
    checkWordOptions(options);
    return this.#opened.adapters.addWord(await locateAdapter(path, this.#opened.locate), options);
  }

  removeTextualInversion(word: string): void {
    demand("word", word, "text");
    this.#opened.adapters.removeWord(word);
  }

  get words(): readonly WordInfo[] {
    return this.#opened.adapters.words;
  }

  /** Converts all weights into the cache, as the first picture otherwise does; what is there is left alone. */
  async prepare(options: Pick<LoadOptions, "signal" | "onProgress"> = {}): Promise<void> {
    await prepare(this.#opened, options);
  }

  /** The memory of the process that computes, and the tensors that it holds. */
  status() {
    return this.#opened.engine.status();
  }

  async generate(options: GenerateOptions): Promise<GenerateResult> {
    checkOptions(options);
    return listening(options, (heard) => unlessAborted(heard.signal, () => run(this.#opened, heard)));
  }

  /** The same as events; ending the loop early aborts the run. */
  async *stream(options: GenerateOptions): AsyncGenerator<ProgressEvent, GenerateResult> {
    checkOptions(options);
    return yield* eventsOf(options, (heard) =>
      listening(heard, (safe) => unlessAborted(safe.signal, () => run(this.#opened, safe))),
    );
  }

  async dispose(): Promise<void> {
    await this.#opened.engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /** With the adapters in use, and those that prompts mention. */
  #adapted(mentions: readonly NetworkMention[] = [], texts: readonly string[] = []): Loaded {
    const { loaded, adapters } = this.#opened;
    return withAdapters(loaded, adapters.inUse(mentions, [], texts));
  }
}
