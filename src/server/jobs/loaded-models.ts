import { abortable } from "../../abortable.js";
import {
  DiffusionError,
  type GenerateOptions,
  type GenerateResult,
  type LoadOptions,
  type ProgressEvent,
  StableDiffusion,
} from "../../index.js";
import { errorOf } from "../refusal.js";
import type { ModelOption, ModelState } from "./model-option.js";

/** Paths of what decodes in place of the model's own autoencoder, or makes its previews. */
export interface Decoders {
  readonly vae?: string | undefined;
  readonly taesd?: string | undefined;
}

interface Loaded {
  readonly model: Promise<StableDiffusion>;
  /** Path of the autoencoder that it was loaded with, if not its own. */
  readonly vae: string | undefined;
  /** Path of what makes its previews. */
  readonly taesd: string | undefined;
  /** Ends the loading. */
  readonly stop: AbortController;
  isLoaded: boolean;
  users: number;
  used: number;
}

/** Models in memory at the same time, at most; the one that was not used for longest goes. */
const MOST_LOADED = 2;

/** The models that are in memory, and how far each is. */
export class LoadedModels {
  readonly #loaded = new Map<string, Loaded>();
  readonly #states = new Map<string, ModelState>();
  readonly #load: LoadOptions;

  /** @param load options for every model: threads, cache folder */
  constructor(load: LoadOptions) {
    this.#load = load;
  }

  /** @param label of the option */
  state(label: string): ModelState {
    return this.#states.get(label) ?? { status: "idle" };
  }

  /** Loads the model unless it is there. */
  async generate(option: ModelOption, options: GenerateOptions, decoders: Decoders): Promise<GenerateResult> {
    const loaded = this.#acquire(option, decoders);
    loaded.users++;
    const first = this.state(option.label).status !== "ready";
    try {
      const model = await abortable(loaded.model, options.signal);
      const onProgress = (event: ProgressEvent) => {
        if (first) this.#progress(option.label, event);
        options.onProgress?.(event);
      };
      const result = await model.generate({ ...options, onProgress });
      this.#states.set(option.label, { status: "ready" });
      return result;
    } catch (error) {
      if (error instanceof DiffusionError && error.code === "WORKER") await this.unload(option.label);
      if (first) this.#failed(option.label, error, options.signal);
      throw error;
    } finally {
      loaded.users--;
      loaded.used = performance.now();
      // What nobody waits for is not loaded to its end.
      if (loaded.users === 0 && !loaded.isLoaded) this.#giveUp(option.label, loaded);
      // Given up while it was in use.
      if (loaded.users === 0 && this.#loaded.get(option.label) !== loaded) void dispose(loaded);
    }
  }

  #giveUp(label: string, loaded: Loaded): void {
    loaded.stop.abort();
    if (this.#loaded.get(label) === loaded) this.#loaded.delete(label);
  }

  #acquire(option: ModelOption, chosen: Decoders): Loaded {
    const known = this.#loaded.get(option.label);
    const { vae, taesd } = option.info.kind === "unconditional" ? {} : chosen;
    if (known && known.vae === vae && known.taesd === taesd) return known;
    this.#loaded.delete(option.label);
    if (known?.users === 0) void dispose(known);
    this.#evict();
    this.#states.set(option.label, { status: "loading" });
    const stop = new AbortController();
    const model = StableDiffusion.load(option.source, {
      ...this.#load,
      signal: stop.signal,
      precision: option.precision,
      ...(vae !== undefined && { vae }),
      ...(taesd !== undefined && { taesd, taesdFor: "previews" }),
      // What was prepared is on disk; asking the hub again would need its token again.
      ...(option.origin === "prepared" && { offline: true }),
      onProgress: (event) => this.#progress(option.label, event),
    });
    const loaded = { model, vae, taesd, stop, isLoaded: false, users: 0, used: performance.now() };
    this.#loaded.set(option.label, loaded);
    model.then(
      () => {
        loaded.isLoaded = true;
      },
      () => {
        if (this.#loaded.get(option.label) === loaded) this.#loaded.delete(option.label);
      },
    );
    return loaded;
  }

  #evict(): void {
    const idle = [...this.#loaded].filter(([, { users }]) => users === 0);
    idle.sort(([, a], [, b]) => a.used - b.used);
    for (const [label] of idle.slice(0, this.#loaded.size - MOST_LOADED + 1)) void this.unload(label);
  }

  async unload(label: string): Promise<void> {
    const loaded = this.#loaded.get(label);
    this.#loaded.delete(label);
    this.#states.delete(label);
    if (loaded) await dispose(loaded);
  }

  #progress(label: string, event: ProgressEvent): void {
    if (this.state(label).status === "ready") return;
    const phase =
      event.type === "download"
        ? { what: event.file, done: event.overall.received, total: event.overall.total }
        : event.type === "convert" || event.type === "load"
          ? { what: event.network, done: event.done, total: event.total }
          : undefined;
    this.#states.set(label, { status: "loading", ...(phase && { phase }) });
  }

  #failed(label: string, error: unknown, signal: AbortSignal | undefined): void {
    this.#states.set(
      label,
      signal?.aborted ? { status: "idle" } : { status: "failed", error: errorOf(error) },
    );
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.#loaded.keys()].map((label) => this.unload(label)));
  }
}

async function dispose({ model }: Loaded): Promise<void> {
  await (await model.catch(() => undefined))?.dispose();
}
