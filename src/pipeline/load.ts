import { setImmediate } from "node:timers/promises";
import type { Locate } from "../adapters/locate.js";
import { AdapterSet } from "../adapters/set.js";
import type { OnProgress } from "../events.js";
import type { OpenedControl } from "../generation/control.js";
import { IpAdapterSet } from "../generation/ip-adapter.js";
import { type Loaded, traitsOf } from "../generation/loaded.js";
import { createPreviewer, type Previewer } from "../generation/previews.js";
import type { LoadOptions } from "../options/load.js";
import { isSmall, type Model, type Replacements, readConfigs, weightChecks } from "../runtime/model.js";
import { openIpAdapter } from "../runtime/networks/ip-adapter.js";
import type { NetworksOptions } from "../runtime/networks/network-runner.js";
import { createNetworks } from "../runtime/networks/networks.js";
import type { Upscaler } from "../runtime/networks/upscaler.js";
import type { Engine } from "../runtime/process/engine.js";
import { unlessAborted } from "../runtime/process/given-up.js";
import { createTurns, type Turns } from "../runtime/process/turns.js";
import type { Tokenizer } from "../text/tokenizer.js";
import { cacheRoot } from "../weights/cache-root.js";
import type { ModelSource } from "../weights/component.js";
import { openComponentFolder } from "../weights/folder.js";
import { type ModelOpening, openComponent, openModel } from "../weights/model.js";
import { loadTokenizer } from "../weights/tokenizer-files.js";
import { componentNotes, configNotes } from "./config-notes.js";
import { engineOf } from "./engine-of.js";
import { listening } from "./listening.js";
import { type Memory, memoryFor } from "./memory.js";
import { clipTokenizerFolder, elsewhere, located, locateModel, variantOf } from "./model-source.js";
import { controlOpener, upscalerOpener } from "./named-networks.js";

/** A loaded model with all that belongs to it, and the process that computes. */
export interface Opened {
  readonly loaded: Loaded;
  readonly engine: Engine;
  /** What its process may take. */
  readonly memory: Memory;
  readonly adapters: AdapterSet;
  readonly ipAdapters: IpAdapterSet;
  /** The ControlNet or T2I-Adapter of a name; opened once. */
  readonly control: (name: string) => Promise<OpenedControl>;
  /** The network that enlarges pictures of a name; opened once. */
  readonly upscaler: (name: string) => Promise<Upscaler>;
  readonly preview: Previewer;
  /** Finds adapters, on disk or on the hub. */
  readonly locate: Locate;
  /** Told about the conversion of weights. */
  readonly listeners: Set<OnProgress>;
  /** Samples of a batch that are computed at a time, each by itself; absent: all of them, as one. */
  readonly sideBySide?: number;
  /** With `keepLoaded: false`. */
  readonly turns?: Turns;
}

/**
 * Finds and reads a model, and starts the process that computes. No weight is loaded yet.
 *
 * @param model a diffusers folder, a `.safetensors` file, a hub name, or the name of a default model
 * @throws DiffusionError for models that cannot be found or used
 */
export async function load(model: string, options: LoadOptions): Promise<Opened> {
  const { onProgress, signal } = options;
  signal?.throwIfAborted();
  const variant = variantOf(options);
  const path = await locateModel(model, { ...located(options), ...variant });
  const found = openModel(path, await openingOf(options));
  const autoencoders = await openAutoencoders(options, found);
  const notes = [
    ...(found.notes ?? []),
    ...configNotes(found),
    ...Object.values(autoencoders).flatMap(componentNotes),
  ];
  const read = readConfigs({ ...found, notes }, autoencoders);
  const engine = await engineOf(options, { sideBySide: isSideBySide(read, options) });
  try {
    const tokenizers = await readRest(read, engine, signal);
    const opened = assemble(read, tokenizers, engine, options);
    onProgress?.({ type: "load", network: "all", done: 1, total: 1 });
    return opened;
  } catch (error) {
    await engine.dispose();
    throw error;
  }
}

/** Converts all weights into the cache; what is there stays. */
export async function prepare(
  { loaded, listeners }: Opened,
  options: Pick<LoadOptions, "signal" | "onProgress">,
): Promise<void> {
  await listening(options, async ({ signal, onProgress }) => {
    if (onProgress) listeners.add(onProgress);
    try {
      await unlessAborted(signal, () => loaded.networks.prepare(signal));
    } finally {
      if (onProgress) listeners.delete(onProgress);
    }
  });
}

/** What a model consists of, around the process that computes. */
function assemble(
  model: Model,
  tokenizers: readonly Tokenizer[],
  engine: Engine,
  options: LoadOptions,
): Opened {
  const { runtime = "graph", precision = "fp32" } = options;
  const listeners = new Set<OnProgress>();
  const turns = options.keepLoaded === false ? createTurns(() => engine.endIfIdle()) : undefined;
  const networksOptions: NetworksOptions = {
    ...{ runtime, precision, cacheRoot: cacheRoot(options.cacheDir) },
    sideBySide: isSideBySide(model, options),
    ...(options.vaeTiling !== undefined && { tiling: options.vaeTiling }),
    ...(turns && { turns }),
    onLoad: (network, done, total) => {
      for (const listener of listeners) listener({ type: "convert", network, done, total });
    },
  };
  const { signal: _, ...hub } = elsewhere(options);
  const locate = (name: string) => locateModel(name, hub);
  const networks = createNetworks(model, engine, networksOptions);
  const whole = { model, networks, tokenizers, traits: traitsOf(model) };
  const loaded: Loaded = options.taesdFor === "previews" ? { ...whole, taesdFor: "previews" } : whole;
  const encoderOf = (folder: string) => openComponentFolder(folder, variantOf(options));
  return {
    ...{ loaded, engine, locate, listeners },
    adapters: new AdapterSet(model.source, tokenizers, options.loraDir, options.embeddingsDir),
    ipAdapters: new IpAdapterSet((file, folder) => {
      const encoder = encoderOf(folder);
      const networks = openIpAdapter(model, { file, encoder }, engine, networksOptions);
      return { networks, notes: componentNotes(encoder) };
    }, locate),
    control: controlOpener(model, engine, networksOptions, options),
    upscaler: upscalerOpener(engine, networksOptions, options),
    preview: createPreviewer(whole),
    memory: memoryFor(options.memoryLimit),
    ...(isSideBySide(model, options) && { sideBySide: engine.threads }),
    ...(turns && { turns }),
  };
}

/** Graphs of small networks compute the samples of a batch side by side; tfjs gives its operations all threads. */
const isSideBySide = (model: Model, { runtime = "graph" }: LoadOptions): boolean =>
  runtime === "graph" && isSmall(model);

async function openingOf(options: LoadOptions): Promise<ModelOpening> {
  const { config, prediction, vae } = options;
  const locate = (name: string) => locateModel(name, { ...elsewhere(options), ...variantOf(options) });
  return {
    tokenizer: clipTokenizerFolder(),
    ...variantOf(options),
    ...(config !== undefined && { config: await locateModel(config, elsewhere(options)) }),
    ...(prediction && { prediction }),
    ...(vae !== undefined && { vae: await locate(vae) }),
  };
}

/** What can be read while the process that computes starts: checks the weights, loads the tokenizers. */
async function readRest(model: Model, engine: Engine, signal?: AbortSignal): Promise<Tokenizer[]> {
  engine.start();
  for (const check of weightChecks(model)) {
    signal?.throwIfAborted();
    check();
    await setImmediate(); // others may have something to do
  }
  return Promise.all(model.source.tokenizers.map(({ folder, ...own }) => loadTokenizer(folder, own)));
}

async function openAutoencoders(options: LoadOptions, source: ModelSource): Promise<Replacements> {
  const variant = variantOf(options);
  const open = async (name: string) =>
    openComponent(await locateModel(name, { ...elsewhere(options), ...variant }), source, variant);
  return {
    ...(options.vae !== undefined && { vae: await open(options.vae) }),
    ...(options.taesd !== undefined && { taesd: await open(options.taesd) }),
  };
}
