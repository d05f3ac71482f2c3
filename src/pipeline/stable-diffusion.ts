import { randomInt } from "node:crypto";
import { basename, extname } from "node:path";
import { setImmediate } from "node:timers/promises";
import {
  AdapterSet,
  type LoraInfo,
  type LoraScale,
  locateAdapter,
  takeMentions,
  type WordInfo,
} from "../adapters/set.js";
import { DiffusionError } from "../errors.js";
import type { OnProgress, ProgressEvent } from "../events.js";
import type { Call } from "../generation/call.js";
import { timed } from "../generation/call.js";
import { batched, encodePrompts } from "../generation/conditioning.js";
import { type Control, readControl } from "../generation/control.js";
import { type Inputs, readInputs } from "../generation/inputs.js";
import { type IpAdapterInfo, IpAdapterSet, type OpenIpAdapter } from "../generation/ip-adapter.js";
import { type Loaded, traitsOf, vaeOf } from "../generation/loaded.js";
import { paintAll } from "../generation/paint.js";
import { createPreviewer, type Previewer } from "../generation/previews.js";
import { type Conditioning, createEmbedder, mostChunks } from "../generation/prompt-embedding.js";
import type { Image, Size } from "../image/image.js";
import type { Latents } from "../latents/latents.js";
import type { ControlInput } from "../options/control-options.js";
import { checkLoadOptions, type LoadOptions, type LocateOptions } from "../options/load.js";
import type { GenerateOptions } from "../options/options.js";
import { resolveOptions } from "../options/resolve.js";
import type { ResolvedOptions } from "../options/resolved.js";
import { checkOptions } from "../options/schema.js";
import { readControlNet, readT2iAdapter } from "../runtime/adapter-networks.js";
import type { Vae } from "../runtime/autoencoder.js";
import { createControlNet } from "../runtime/controlnet.js";
import { Engine } from "../runtime/engine.js";
import { openIpAdapter } from "../runtime/ip-adapter.js";
import { isSmall, type Model, type Replacements, readConfigs, weightChecks } from "../runtime/model.js";
import type { NetworksOptions } from "../runtime/network-runner.js";
import { createNetworks } from "../runtime/networks.js";
import { createT2iAdapter } from "../runtime/t2i-adapter.js";
import type { TextEncoder } from "../runtime/text-encoder.js";
import { createTurns, type Turns } from "../runtime/turns.js";
import type { UNet } from "../runtime/unet.js";
import type { PromptSyntax } from "../text/prompt.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { cacheRoot } from "../weights/cache.js";
import { type ModelSource, openNetwork } from "../weights/folder.js";
import { openModel, openPart } from "../weights/model.js";
import { loadTokenizer } from "../weights/tokenizer-files.js";
import { clipTokenizerFolder, defaultModels, locateModel } from "./model-source.js";

export interface GenerateResult {
  /** Empty when `output` is "latents". */
  readonly images: readonly Image[];
  /** [images, height / f, width / f, channels], scaled as the UNet sees them. */
  readonly latents: Latents;
  readonly seeds: readonly (number | bigint)[];
  readonly options: ResolvedOptions;
  /** What was done to the input that its owner should know of, such as a mask that was resized, or words that did not fit. */
  readonly notes: readonly string[];
  /** Milliseconds spent on the prompt, on the steps, and on the picture. */
  readonly ms: { readonly encode: number; readonly denoise: number; readonly decode: number };
}

type OpenControl = (name: string) => Promise<Control["net"]>;

/** A loaded model. Its networks run in a process of their own; `dispose` ends it. */
export class StableDiffusion {
  readonly #loaded: Loaded;
  readonly #adapters: AdapterSet;
  /** For adapters from the hub. */
  readonly #hub: LocateOptions;
  readonly #openControl: OpenControl;
  readonly #ipAdapters: IpAdapterSet;
  /** ControlNets and T2I-Adapters that were used, by name. */
  readonly #controls = new Map<string, Promise<Control["net"]>>();
  readonly #engine: Engine;
  readonly #listeners: Set<OnProgress>;
  readonly #preview: Previewer;
  /** Of `keepLoaded: false`. */
  readonly #turns: Turns | undefined;

  private constructor(
    loaded: Loaded,
    engine: Engine,
    listeners: Set<OnProgress>,
    options: LoadOptions & { openControl: OpenControl; openIpAdapter: OpenIpAdapter; turns?: Turns },
  ) {
    this.#loaded = loaded;
    this.#adapters = new AdapterSet(loaded, options.loraDir);
    const { revision: _, signal: __, ...hub } = located(options);
    this.#hub = hub;
    this.#openControl = options.openControl;
    this.#ipAdapters = new IpAdapterSet(options.openIpAdapter, hub);
    this.#turns = options.turns;
    this.#engine = engine;
    this.#listeners = listeners;
    this.#preview = createPreviewer(loaded);
  }

  /**
   * @param model a diffusers folder, a `.safetensors` file, a hub name, or the name of a default model
   * @throws DiffusionError for models that cannot be found or used
   */
  static async load(model: string = defaultModels[0], options: LoadOptions = {}): Promise<StableDiffusion> {
    checkLoadOptions(options);
    const { precision = "fp32", runtime = "graph", onProgress, signal } = options;
    signal?.throwIfAborted();
    const variant = precision === "fp16" ? { variant: "fp16" as const } : {};
    const path = await locateModel(model, { ...located(options), ...variant });
    const { config, prediction } = options;
    const opening = {
      tokenizer: clipTokenizerFolder(),
      ...variant,
      ...(config !== undefined && { config: await locateModel(config, elsewhere(options)) }),
      ...(prediction && { prediction }),
    };
    const source = openModel(path, opening);
    const autoencoders = await openAutoencoders(options, source, variant);
    const read = readConfigs(source, autoencoders);
    const { threads, memoryLimit, hangMs } = options;
    // Graphs of small networks; tfjs gives its operations all threads.
    const sideBySide = runtime === "graph" && isSmall(read);
    const process = {
      sideBySide,
      ...(threads !== undefined && { threads }),
      ...(memoryLimit !== undefined && { memoryLimit }),
      ...(hangMs !== undefined && { hangMs }),
    };
    const engine = precision === "bf16" ? await Engine.forBfloat16(process) : new Engine(process);
    const tokenizers = await readRest(read, engine);
    const listeners = new Set<OnProgress>();
    const turns = options.keepLoaded === false ? createTurns(() => engine.endIfIdle()) : undefined;
    const networksOptions: NetworksOptions = {
      runtime,
      precision,
      cacheRoot: cacheRoot(options.cacheDir),
      opening,
      sideBySide,
      ...(options.vaeTiling !== undefined && { tiling: options.vaeTiling }),
      ...(turns && { turns }),
      onLoad: (network, done, total) => {
        for (const listener of listeners) listener({ type: "convert", network, done, total });
      },
    };
    const networks = createNetworks(read, engine, networksOptions);
    const openControl = async (name: string) => {
      const network = openPart(
        await locateModel(name, { ...elsewhere(options), ...variant }),
        source,
        variant,
      );
      return network.className === "T2IAdapter"
        ? createT2iAdapter(readT2iAdapter(network, read.unet), engine, networksOptions)
        : createControlNet(readControlNet(network, read.unet), engine, networksOptions);
    };
    onProgress?.({ type: "load", network: "all", done: 1, total: 1 });
    return new StableDiffusion({ model: read, networks, tokenizers }, engine, listeners, {
      ...options,
      openControl,
      openIpAdapter: (file, folder) =>
        openIpAdapter(read, { file, encoder: openNetwork(folder, variant) }, engine, networksOptions),
      ...(turns && { turns }),
    });
  }

  /** The networks on plain numbers, for people who build their own loop. */
  get unet(): UNet {
    return this.#adapters.applied().networks.unet;
  }

  get vae(): Vae {
    return vaeOf(this.#loaded);
  }

  get textEncoder(): TextEncoder {
    return this.textEncoders[0]!;
  }

  /** SDXL has two. */
  get textEncoders(): readonly TextEncoder[] {
    const { textEncoders } = this.#adapters.applied().networks;
    if (textEncoders.length > 0) return textEncoders;
    const { name } = traitsOf(this.#loaded);
    throw new DiffusionError("MODEL_KIND", `${name} is unconditional and has no text encoder`);
  }

  /**
   * A prompt as `promptEmbeds` and `negativePromptEmbeds` take it.
   *
   * @returns `context` [1, 77 for each chunk, channels]; SDXL: `pooled` [1, channels]
   */
  async encodePrompt(
    prompt: string,
    options: { prompt2?: string; promptSyntax?: PromptSyntax; clipSkip?: number } = {},
  ): Promise<Conditioning> {
    const { prompt2 = prompt, promptSyntax = "plain", clipSkip = 0 } = options;
    const { text, mentions } = takeMentions(prompt);
    const embedder = createEmbedder(this.#adapters.applied(mentions), promptSyntax);
    const parts = embedder.parse([text, takeMentions(prompt2).text], { calls: 1 });
    const [part] = parts;
    if (!part || parts.length > 1)
      throw new DiffusionError(
        "BAD_OPTION",
        `prompts that AND combines have ${parts.length} embeddings, not one`,
      );
    return embedder.embed(part, 0, { chunks: mostChunks(parts), skip: clipSkip });
  }

  /** One for each text encoder, with the words that were learned. */
  get tokenizers(): readonly Tokenizer[] {
    return this.#adapters.applied().tokenizers;
  }

  /**
   * Puts a LoRA (LoCon, LoHa, LoKr, DoRA) over the model, beside those in use, from the next call on. Its changes are
   * made by the first call that needs them, to the weights that it touches; the others stay as they are.
   *
   * @param path file, folder, or hub name (owner/name, owner/name:file.safetensors)
   * @param options.name default: the file's, without its ending; one of the same name is replaced
   * @throws DiffusionError WEIGHT_SHAPE for one that was made for another base, MODEL_KIND for what is none
   */
  async loadLora(path: string, options: { name?: string; scale?: LoraScale } = {}): Promise<LoraInfo> {
    const found = await locateAdapter(path, this.#hub);
    return this.#adapters.addLora(found, { name: basename(path, extname(path)), ...options });
  }

  /** Uses these of the loaded LoRAs (default scale 1), in this order, and no others; `[]` uses none. */
  setLoras(uses: readonly { readonly name: string; readonly scale?: LoraScale }[]): void {
    this.#adapters.setLoras(uses);
  }

  /** Forgets a LoRA; the model is then exactly as it was without it. */
  removeLora(name: string): void {
    this.#adapters.removeLora(name);
  }

  /**
   * Loads an IP-Adapter (plain, plus, plus-face, full-face), for pictures beside the prompt: `generate`'s `ipAdapter`.
   * It adds to the UNet and changes nothing in it; calls without pictures are as before.
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
    return this.#ipAdapters.add(path, options);
  }

  /** Forgets an IP-Adapter, and unloads its image encoder. */
  async removeIpAdapter(name: string): Promise<void> {
    await this.#ipAdapters.remove(name);
  }

  get ipAdapters(): readonly IpAdapterInfo[] {
    return this.#ipAdapters.all;
  }

  get loras(): readonly LoraInfo[] {
    return this.#adapters.loras;
  }

  /**
   * Teaches the model a word: a textual inversion in any layout.
   *
   * @param path file, or hub name
   * @param options.word what to write in prompts; default: the name in the file, else the file's own
   * @throws DiffusionError WEIGHT_SHAPE for another model family's, FILE_FORMAT for what is none
   */
  async loadTextualInversion(path: string, options: { word?: string } = {}): Promise<WordInfo> {
    return this.#adapters.addWord(await locateAdapter(path, this.#hub), options);
  }

  removeTextualInversion(word: string): void {
    this.#adapters.removeWord(word);
  }

  get words(): readonly WordInfo[] {
    return this.#adapters.words;
  }

  /** Converts all weights into the cache, as the first picture otherwise does; what is there is left alone. */
  async prepare({ signal, onProgress }: Pick<LoadOptions, "signal" | "onProgress"> = {}): Promise<void> {
    if (onProgress) this.#listeners.add(onProgress);
    try {
      await this.#loaded.networks.prepare(signal);
    } finally {
      if (onProgress) this.#listeners.delete(onProgress);
    }
  }

  /** The memory of the process that computes, and the tensors that it holds. */
  status() {
    return this.#engine.status();
  }

  async generate(options: GenerateOptions): Promise<GenerateResult> {
    checkOptions(options);
    return this.#run(options, (event) => options.onProgress?.(event));
  }

  /** The same as events; ending the loop early aborts the run. */
  async *stream(options: GenerateOptions): AsyncGenerator<ProgressEvent, GenerateResult> {
    checkOptions(options);
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    const events: ProgressEvent[] = [];
    let wake = () => {};
    const emit = (event: ProgressEvent) => {
      options.onProgress?.(event);
      events.push(event);
      wake();
    };
    let ended = false;
    const result = this.#run({ ...options, signal }, emit).finally(() => {
      ended = true;
      wake();
    });
    // Awaited below, or not at all when the consumer leaves.
    result.catch(() => {});
    try {
      while (!ended || events.length > 0) {
        const event = events.shift();
        if (event) yield event;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
      return await result;
    } finally {
      stop.abort();
    }
  }

  async dispose(): Promise<void> {
    await this.#engine.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #control(input: ControlInput): Promise<Control> {
    const { model } = input;
    const net = this.#controls.get(model) ?? this.#openControl(model);
    this.#controls.set(model, net);
    // One that could not be opened is tried anew by the next call.
    net.catch(() => this.#controls.delete(model));
    return readControl(input, await net);
  }

  /** For each image the model with the adapters that its prompt mentions, and the prompts without them. */
  #withMentions(
    resolved: ResolvedOptions,
    pictures: readonly string[],
  ): { adapted: Loaded[]; texts: ResolvedOptions } {
    const plain = this.#adapters.applied([], pictures);
    const known = new Map<string, Loaded>();
    const adapted = resolved.prompts.map((prompt) => {
      const { mentions } = takeMentions(prompt);
      if (mentions.length === 0) return plain;
      const key = JSON.stringify(mentions);
      const model = known.get(key) ?? this.#adapters.applied(mentions, pictures);
      known.set(key, model);
      return model;
    });
    return { adapted, texts: withoutMentions(resolved) };
  }

  async #run(options: GenerateOptions, emit: OnProgress): Promise<GenerateResult> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#listeners.add(emit);
    try {
      const inputs = await readInputs(options);
      const resolved = resolveOptions(options, traitsOf(this.#loaded), {
        seed: randomInt(2 ** 32),
        variationSeed: randomInt(2 ** 32),
        ...imageSizeOf(inputs, this.#loaded.model.factor),
      });
      const meter = { ms: { encode: 0, denoise: 0, decode: 0 }, calls: 0, done: 0 };
      const total = resolved.prompts.length;
      const controls = await Promise.all((options.controlnet ?? []).map((input) => this.#control(input)));
      const pictures = await timed({ meter, options }, "encode", () =>
        this.#ipAdapters.read(options.ipAdapter),
      );
      const files = pictures.map(({ path }) => path);
      const { adapted, texts } = this.#withMentions(resolved, files);
      const conditions = await timed({ meter, options }, "encode", () =>
        encodePrompts(adapted, options, texts, (done) => {
          emit({ type: "encode", what: "prompt", done, total });
          signal?.throwIfAborted();
        }),
      );
      const notes = [...new Set(conditions.flatMap((condition) => condition.notes))];
      const call: Call = {
        ...{ loaded: this.#loaded, adapted, options, resolved, conditions, controls, pictures },
        preview: this.#preview,
        ...{ emit, meter, notes },
      };
      const { images, latents } = await paintAll(call, inputs);
      const { seeds } = resolved;
      return { images, latents: batched(latents), seeds, options: resolved, notes, ms: meter.ms };
    } finally {
      this.#listeners.delete(emit);
      // A process that is lost holds nothing any more.
      await this.#turns?.leave().catch(() => {});
    }
  }
}

/** Of the picture that is started from, or that the latents stand for. */
function imageSizeOf({ image, latents }: Inputs, factor: number): { imageSize?: Size } {
  if (image) return { imageSize: image };
  if (!latents) return {};
  const [, rows, columns] = latents.shape as [number, number, number, number];
  return { imageSize: { width: columns * factor, height: rows * factor } };
}

/** Each text without the LoRAs that it mentions; only prompts may mention some. */
function withoutMentions(resolved: ResolvedOptions): ResolvedOptions {
  for (const text of [...resolved.negativePrompts, ...(resolved.negativePrompts2 ?? [])])
    if (text !== undefined && takeMentions(text).mentions.length > 0)
      throw new DiffusionError(
        "BAD_OPTION",
        "a LoRA acts on the whole picture, so negativePrompt cannot name one",
      );
  const taken = (texts: readonly string[]) => texts.map((text) => takeMentions(text).text);
  const { prompts, prompts2 } = resolved;
  return { ...resolved, prompts: taken(prompts), ...(prompts2 && { prompts2: taken(prompts2) }) };
}

/** What can be read while the process that computes starts: checks the weights, loads the tokenizers. */
async function readRest(model: Model, engine: Engine): Promise<Tokenizer[]> {
  engine.start();
  try {
    for (const check of weightChecks(model)) {
      check();
      await setImmediate(); // others may have something to do
    }
    return await Promise.all(model.source.tokenizers.map(({ folder, ...own }) => loadTokenizer(folder, own)));
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

async function openAutoencoders(
  options: LoadOptions,
  source: ModelSource,
  variant: { variant?: "fp16" },
): Promise<Replacements> {
  const open = async (name: string) =>
    openPart(await locateModel(name, { ...elsewhere(options), ...variant }), source, variant);
  return {
    ...(options.vae !== undefined && { vae: await open(options.vae) }),
    ...(options.taesd !== undefined && { taesd: await open(options.taesd) }),
  };
}

/** For what comes from elsewhere: the revision is the model's; its own is part of its name (owner/name@revision). */
function elsewhere(options: LoadOptions): LocateOptions {
  const { revision: _, ...rest } = located(options);
  return rest;
}

function located({ revision, token, offline, signal, onProgress }: LoadOptions) {
  const given = { revision, token, offline, signal, onProgress };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}
