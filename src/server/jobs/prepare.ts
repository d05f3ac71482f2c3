import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { describeModel, type LoadOptions, type ProgressEvent, StableDiffusion } from "../../index.js";
import { errorOf, Refusal } from "../refusal.js";
import type { Precision } from "./model-option.js";
import type { Models } from "./models.js";
import { warmUp } from "./warm-up.js";

export interface PrepareRequest {
  /** A name on the list, a hub name, or (where the operator allows it) a path. */
  readonly model: string;
  readonly precision: Precision;
  /** Of the hub. Stays in memory until the work is done. */
  readonly token?: string;
}

export interface Preparation {
  readonly id: string;
  readonly model: string;
  readonly precision: Precision;
  readonly status: "running" | "done" | "failed" | "cancelled";
  /** What has been done, in words, one line each. */
  readonly log: readonly string[];
  /** What is being done: bytes of a download, tensors of a network. */
  readonly phase?: { readonly what: string; readonly done: number; readonly total: number };
  /** The option that is new on the list. */
  readonly label?: string;
}

/** Preparations that are remembered, for those who ask what became of one. */
const MOST_REMEMBERED = 20;

/** The work behind "Optimize model": download, conversion to a precision, and a first step as a trial. */
export class Preparations {
  readonly #models: Models;
  readonly #load: LoadOptions;
  readonly #all = new Map<string, Preparation>();
  #running: { id: string; stop: AbortController; done: Promise<void> } | undefined;
  /** Whether paths are accepted, as the operator says. */
  readonly #paths: boolean;
  readonly #log: (line: string) => void;

  constructor(models: Models, options: { load?: LoadOptions; paths: boolean; log: (line: string) => void }) {
    this.#models = models;
    this.#load = options.load ?? {};
    this.#paths = options.paths;
    this.#log = options.log;
  }

  get(id: string): Preparation {
    const found = this.#all.get(id);
    if (!found) throw new Refusal(404, "NOT_FOUND", "there is no such preparation");
    return found;
  }

  get latest(): Preparation | undefined {
    return [...this.#all.values()].at(-1);
  }

  /** @throws Refusal for what is no name, and while another one runs */
  start(request: PrepareRequest): Preparation {
    if (this.#running) throw new Refusal(409, "BUSY", "another model is being prepared");
    const source = this.#source(request.model.trim());
    const { precision } = request;
    const id = randomUUID();
    const stop = new AbortController();
    this.#all.set(id, { id, model: request.model, precision, status: "running", log: [] });
    for (const old of [...this.#all.keys()].slice(0, -MOST_REMEMBERED)) this.#all.delete(old);
    const done = this.#run(id, { ...request, model: source }, stop.signal).finally(() => {
      this.#running = undefined;
    });
    this.#running = { id, stop, done };
    return this.get(id);
  }

  cancel(id: string): Preparation {
    if (this.#running?.id === id) this.#running.stop.abort();
    return this.get(id);
  }

  async close(): Promise<void> {
    this.#running?.stop.abort();
    await this.#running?.done;
  }

  #source(model: string): string {
    const listed = this.#models.list().find(({ name, label }) => name === model || label === model);
    if (listed) return listed.source;
    if (this.#paths) return model;
    if (isHubName(model) && !existsSync(model)) return model;
    throw new Refusal(403, "PATHS", "models are named as owner/name of the hub here, or as on the list", {
      hint: "put local models into the folder that the server was started with (--models), or start it with --allow-paths",
    });
  }

  async #run(id: string, { model, precision, token }: PrepareRequest, signal: AbortSignal): Promise<void> {
    const hide = (text: string) => (token ? text.replaceAll(token, "…") : text);
    const change = (changes: Partial<Preparation>) => {
      const { phase, ...kept } = this.get(id);
      this.#all.set(id, { ...kept, ...changes });
    };
    const say = (line: string) => change({ log: [...this.get(id).log, hide(line)] });
    const onProgress = (event: ProgressEvent) => change(phaseOf(event));
    const hub = { signal, onProgress, ...(token && { token }) };
    try {
      const began = performance.now();
      say(`Looking for ${model}`);
      const variant = precision === "fp16" ? { variant: "fp16" as const } : {};
      const info = await describeModel(model, { ...hub, ...variant });
      say(`Found: ${info.kind} model, ${info.size} x ${info.size} pixels`);
      const loaded = await StableDiffusion.load(model, { ...this.#load, ...hub, precision });
      try {
        say(`Converting weights to ${precision.toUpperCase()}, and one step as a trial`);
        const result = await loaded.generate({ ...warmUp(info), signal, onProgress });
        say(`One step works: ${Math.round(result.ms.denoise)} ms with loading`);
        const again = await loaded.generate({ ...warmUp(info), signal });
        say(`A step takes ${Math.round(again.ms.denoise)} ms`);
      } finally {
        await loaded.dispose();
      }
      const option = await this.#list(model, precision, info);
      say(
        `Done in ${((performance.now() - began) / 1000).toFixed(1)} s: "${option.label}" is on the list of models`,
      );
      change({ status: "done", label: option.label });
    } catch (error) {
      if (!signal.aborted) say(this.#toldOf(model, error));
      change({ status: signal.aborted ? "cancelled" : "failed" });
    }
  }

  /** What is wrong with a local file stands in the log alone: an answer would tell strangers what lies there. */
  #toldOf(model: string, error: unknown): string {
    const { code, message, hint } = errorOf(error);
    if (!existsSync(model) && isHubName(model)) return hint ? `${message} (${hint})` : message;
    this.#log(`preparing ${model} failed: ${code} ${message}`);
    return "This model cannot be used; the server's log says why";
  }

  async #list(source: string, precision: Precision, info: Awaited<ReturnType<typeof describeModel>>) {
    const known = this.#models.list().find((option) => option.source === source);
    // A folder is called what it is called; a download lies in a folder called by its commit.
    const own = known?.name ?? (existsSync(source) ? info.name : basename(source.split("@")[0]!));
    const taken = (name: string) => this.#models.list().find((option) => option.name === name);
    let name = own;
    for (let i = 2; (taken(name)?.source ?? source) !== source; i++) name = `${own}-${i}`;
    const same = taken(name);
    if (same?.precision === precision && same.origin !== "prepared") return same;
    const option = this.#models.add({ name, source, precision, info, origin: "prepared" });
    await this.#models.remember(option);
    return option;
  }
}

const isHubName = (model: string): boolean => /^[\w-][\w.-]*\/[\w-][\w.-]*(@[\w.-]+)?$/.test(model);

function phaseOf(event: ProgressEvent): Partial<Preparation> {
  if (event.type === "download") {
    const { received, total } = event.overall;
    return { phase: { what: event.file, done: received, total } };
  }
  if (event.type === "convert" || event.type === "load")
    return { phase: { what: event.network, done: event.done, total: event.total } };
  return {};
}
