import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { DiffusionError } from "../errors.js";

/** The folder for everything that can be made again: the option, else TFJS_DIFFUSION_CACHE, else XDG's. */
export function cacheRoot(option?: string, env: NodeJS.ProcessEnv = process.env): string {
  const own = option || env.TFJS_DIFFUSION_CACHE;
  if (own) return resolve(own);
  const xdg = env.XDG_CACHE_HOME; // to be ignored when relative, says the specification
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".cache"), "tfjs-diffusion");
}

/** Converted weights, a folder for each network and precision (cache.ts). */
export const weightsFolder = (root: string): string => join(root, "weights");

/** Saved graphs (runtime/graph-cache.ts). */
export const graphsFolder = (root: string): string => join(root, "graphs");

/** Functions that XLA has compiled, a folder for each CPU and library (runtime/compiled-functions.ts). */
export const compiledFolder = (root: string): string => join(root, "compiled");

/** What is known of the contents of files (content-key.ts). */
export const contentsFolder = (root: string): string => join(root, "contents");

const defaultLimit = 30;

/**
 * How many bytes of weights, graphs and compiled functions are kept: TFJS_DIFFUSION_CACHE_LIMIT in gigabytes (10^9 bytes), 30 without it;
 * `none` keeps everything.
 *
 * @throws DiffusionError BAD_OPTION
 */
export function cacheLimit(env: NodeJS.ProcessEnv = process.env): number {
  const text = env.TFJS_DIFFUSION_CACHE_LIMIT?.trim();
  if (!text) return defaultLimit * 1e9;
  if (text === "none") return Number.POSITIVE_INFINITY;
  const gigabytes = Number(text);
  if (Number.isFinite(gigabytes) && gigabytes >= 0) return gigabytes * 1e9;
  throw new DiffusionError(
    "BAD_OPTION",
    `TFJS_DIFFUSION_CACHE_LIMIT is ${JSON.stringify(text)}, expected gigabytes (such as 20) or none`,
  );
}

/**
 * What `write` returns; when the disk refuses, the error says that it is the cache that cannot be written, and how
 * to choose another.
 *
 * @throws DiffusionError DISK
 */
export function writingCache<T>(root: string, write: () => T): T {
  try {
    return write();
  } catch (error) {
    if (!(error instanceof DiffusionError) || error.code !== "DISK") throw error;
    throw new DiffusionError("DISK", `nothing can be added to the cache in ${root}: ${error.message}`, {
      hint: "make that folder writable, or choose another: TFJS_DIFFUSION_CACHE=<folder>, or the option cacheDir",
      cause: error,
    });
  }
}
