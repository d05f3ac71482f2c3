import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { sha256Later } from "../../disk/file-hash.js";
import { hashWeights } from "../../index.js";
import { isFolder } from "./weight-files.js";

/** A hash, and the file that it was made of as it was then. */
interface Known {
  readonly version: string;
  readonly hash: Promise<string>;
}

/** SHA-256 of weights: of the models, and of what requests name beside them. */
export class WeightHashes {
  readonly #cacheDir: string | undefined;
  readonly #models = new Map<string, string | undefined>();
  /** By path: one for each, however often it changes. */
  readonly #files = new Map<string, Known>();
  readonly #stop = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(cacheDir: string | undefined) {
    this.#cacheDir = cacheDir;
  }

  /**
   * Of a model by its path, found out behind the requests: who asks gets what is known by then, and the first to ask has
   * it found out. One after the other: a disk reads one file at a time best.
   *
   * @returns undefined as long as it is not known, and for what cannot be read
   */
  of(path: string): string | undefined {
    if (!this.#models.has(path)) {
      this.#models.set(path, undefined);
      this.#last = this.#last.then(() => this.#find(path));
    }
    return this.#models.get(path);
  }

  /** Resolves when all that was asked for is known. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async #find(path: string): Promise<void> {
    if (this.#stop.signal.aborted) return;
    // What is wrong with the weights is said where they are loaded.
    const hash = await this.#weights(path).catch(() => undefined);
    this.#models.set(path, hash);
  }

  /** Of a file as it is now; of a folder, of the names and hashes of the configs and weights in it. */
  async content(path: string): Promise<string> {
    if (!(await isFolder(path))) return this.#file(path);
    const names = (await readdir(path)).filter((name) => extname(name) === ".json" || isWeights(name));
    const lines = names.sort().map(async (name) => `${name} ${await this.#file(join(path, name))}\n`);
    return createHash("sha256")
      .update((await Promise.all(lines)).join(""))
      .digest("hex");
  }

  async #file(path: string): Promise<string> {
    const { size, mtimeMs, ino } = await stat(path);
    const version = [size, mtimeMs, ino].join(" ");
    const known = this.#files.get(path);
    if (known?.version === version) return known.hash;
    const { signal } = this.#stop;
    // What is no weights, or damaged ones, has a hash all the same; only it is not kept on disk.
    const read = () => sha256Later(path, signal);
    const hash = isWeights(path) ? this.#weights(path).catch(read) : read();
    const entry = { version, hash };
    this.#files.set(path, entry);
    hash.catch(() => this.#files.get(path) === entry && this.#files.delete(path));
    return hash;
  }

  #weights(path: string): Promise<string> {
    const cacheDir = this.#cacheDir;
    return hashWeights(path, { signal: this.#stop.signal, ...(cacheDir !== undefined && { cacheDir }) });
  }

  async dispose(): Promise<void> {
    this.#stop.abort();
    await this.#last;
  }
}

const isWeights = (name: string): boolean => /\.(safetensors|bin|ckpt|pt|pth)$/.test(name);

/** The web UI's short form of a hash; "" for one that is not known. */
export const shortHash = (sha256: string | undefined): string => sha256?.slice(0, 10) ?? "";
