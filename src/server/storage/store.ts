import { createHash } from "node:crypto";

/** PNG files under the hash of their content. A folder here; an object store across machines. */
export interface ImageStore {
  /**
   * @param key `imageKey` of the bytes, for whoever has it already
   * @param options.briefly a client waits: a store that is away is not waited for as long as for what a job has made
   */
  put(png: Uint8Array, key?: string, options?: { readonly briefly?: boolean }): Promise<string>;
  get(key: string): Promise<Uint8Array | undefined>;
  /** @param unusedMs only if it was not put in so long a time; where others may keep pictures, too, this is not known */
  remove(key: string, unusedMs?: number): Promise<void>;
  /** Keys of what was last put longer ago. Absent where others may keep pictures, too. */
  olderThan?(ms: number): Promise<readonly string[]>;
  /** Bytes of all pictures, as far as they have been counted. Absent where nobody counts them here. */
  storedBytes?(): number;
  /** Waits until a store that did not answer does so again. Absent where it always does. */
  reachable?(signal: AbortSignal): Promise<void>;
}

/** Code of a refusal where the store cannot be reached for now: nothing is wrong with the job. */
export const storageAway = "STORAGE";

/** 64 hexadecimal digits. The same bytes have the same key. */
export const imageKey = (png: Uint8Array): string => createHash("sha256").update(png).digest("hex");

export const isImageKey = (key: string): boolean => /^[0-9a-f]{64}$/.test(key);
