import { hashWeights } from "../../index.js";

/**
 * SHA-256 of weights by their path, found out behind the requests: who asks gets what is known by then, and the first
 * to ask has it found out. One after the other: a disk reads one file at a time best.
 */
export class WeightHashes {
  readonly #cacheDir: string | undefined;
  readonly #known = new Map<string, string | undefined>();
  readonly #stop = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(cacheDir: string | undefined) {
    this.#cacheDir = cacheDir;
  }

  /** Undefined as long as it is not known, and for what cannot be read. */
  of(path: string): string | undefined {
    if (!this.#known.has(path)) {
      this.#known.set(path, undefined);
      this.#last = this.#last.then(() => this.#find(path));
    }
    return this.#known.get(path);
  }

  /** Resolves when all that was asked for is known. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async #find(path: string): Promise<void> {
    const { signal } = this.#stop;
    if (signal.aborted) return;
    const cacheDir = this.#cacheDir;
    // What is wrong with the weights is said where they are loaded.
    const hash = await hashWeights(path, { signal, ...(cacheDir !== undefined && { cacheDir }) }).catch(
      () => undefined,
    );
    this.#known.set(path, hash);
  }

  async dispose(): Promise<void> {
    this.#stop.abort();
    await this.#last;
  }
}

/** The web UI's short form of a hash; "" for one that is not known. */
export const shortHash = (sha256: string | undefined): string => sha256?.slice(0, 10) ?? "";
