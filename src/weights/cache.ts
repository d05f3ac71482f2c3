import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { diskError } from "../disk/disk-error.js";
import { readJsonObject } from "../disk/json.js";
import { isTemporary, writeWholeSync } from "../disk/whole-file.js";

/** Changes when the files would be laid out differently; older folders are then merely old, never misread. */
const version = "v1";
const modelFile = "model.json";

/** The folder for everything that can be made again: the option, else TFJS_DIFFUSION_CACHE, else XDG's. */
export function cacheRoot(option?: string, env: NodeJS.ProcessEnv = process.env): string {
  const own = option || env.TFJS_DIFFUSION_CACHE;
  if (own) return resolve(own);
  const xdg = env.XDG_CACHE_HOME; // to be ignored when relative, says the specification
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".cache"), "tfjs-diffusion");
}

/** What a cache of weights belongs to. */
export interface WeightCacheKey {
  /** `Checkpoint.id`, with whatever changes the values after it (a LoRA, say) hashed in. */
  readonly id: string;
  readonly precision: string;
  /** The model and its network, for people who list the cache. */
  readonly label: string;
}

/** Converted weights of one network, one raw little-endian file per tensor and view. */
export interface WeightCache {
  readonly folder: string;
  /**
   * The absolute path of a complete file with the bytes of `make`, which is called only if there is none yet. A file
   * that is there must have the length and the checksum in its name, or is made again.
   *
   * @param view `viewName` of what `make` returns
   * @throws DiffusionError DISK
   */
  file(name: string, view: string, make: () => Uint8Array): string;
  /** The path of that file, if it is there and complete. */
  find(name: string, view: string): string | undefined;
}

/**
 * Opens the folder of one network's converted weights, and makes it if need be. Several processes may fill it at the
 * same time: a file appears by being renamed, and the same weights give the same bytes.
 *
 * @param root as `cacheRoot` gives
 * @throws DiffusionError DISK
 */
export function openWeightCache(root: string, key: WeightCacheKey): WeightCache {
  const folder = join(weightsFolder(root), digest(`${key.id} ${key.precision}`, 24));
  markUsed(folder, key);
  const present = new Map<string, string>();
  for (const name of list(folder)) {
    const stem = /^(.+)\.\d+-[0-9a-f]{16}\.bin$/.exec(name)?.[1];
    if (stem) present.set(stem, name);
    else if (isTemporary(name)) removeStale(join(folder, name));
  }
  const intact = (stem: string): string | undefined => {
    const found = present.get(stem);
    return found && isIntact(join(folder, found)) ? join(folder, found) : undefined;
  };
  return {
    folder,
    find: (name, view) => intact(fileStem(name, view)),
    file(name, view, make) {
      const stem = fileStem(name, view);
      const path = intact(stem);
      if (path) return path;
      const found = present.get(stem);
      const bytes = make();
      const file = `${stem}.${bytes.length}-${checksum(bytes.length, sampled(bytes))}.bin`;
      // Not durable: after a power cut the checksum tells.
      writeWholeSync(join(folder, file), bytes);
      if (found && found !== file) rmSync(join(folder, found), { force: true });
      present.set(stem, file);
      return join(folder, file);
    },
  };
}

const weightsFolder = (root: string): string => join(root, "weights");
const digest = (text: string, length: number): string =>
  createHash("sha256").update(`${version} ${text}`).digest("hex").slice(0, length);

/** Names come from files of strangers, so they are readable in the file name but not trusted to be one. */
const fileStem = (name: string, view: string): string =>
  `${name.replace(/[^\w.-]/g, "_").slice(0, 120)}.${view}.${digest(JSON.stringify([name, view]), 8)}`;

function markUsed(folder: string, { label, precision }: WeightCacheKey): void {
  const path = join(folder, modelFile);
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    if (existsSync(path)) return; // a cache that is shared read-only
    writeWholeSync(path, JSON.stringify({ label, precision }));
  }
}

/** A temporary file of this age belongs to a process that was killed. */
const staleMs = 24 * 3600 * 1000;

function removeStale(path: string): void {
  try {
    const age = Date.now() - statSync(path).mtimeMs;
    if (age > staleMs) rmSync(path, { recursive: true, force: true });
  } catch {
    // gone already, or not ours to remove
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** The checksum reads three pieces of this size: a thousand tensors are checked in some 20 ms. */
const piece = 4096;
const pieceStarts = (length: number): number[] => [
  0,
  Math.max(0, Math.floor((length - piece) / 2)),
  Math.max(0, length - piece),
];

const sampled = (bytes: Uint8Array): Uint8Array[] =>
  pieceStarts(bytes.length).map((start) => bytes.subarray(start, start + piece));

function checksum(length: number, pieces: readonly Uint8Array[]): string {
  const hash = createHash("sha1").update(String(length));
  for (const bytes of pieces) hash.update(bytes);
  return hash.digest("hex").slice(0, 16);
}

/** Whether a file of a weight has the length and checksum in its name. */
function isIntact(path: string): boolean {
  const [, length, sum] = /\.(\d+)-([0-9a-f]{16})\.bin$/.exec(path) ?? [];
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return false; // removed meanwhile
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size !== Number(length)) return false;
    const pieces = pieceStarts(stat.size).map((start) => {
      const bytes = new Uint8Array(Math.min(piece, stat.size - start));
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, start));
    });
    return checksum(stat.size, pieces) === sum;
  } finally {
    closeSync(file);
  }
}

export interface CachedModel {
  readonly label: string;
  readonly precision: string;
  readonly bytes: number;
  readonly lastUsed: Date;
  readonly folder: string;
}

/** What the cache holds, the one last used first. Folders that are not ours are not listed. */
export function listModels(root: string): CachedModel[] {
  const models: CachedModel[] = [];
  for (const name of list(weightsFolder(root))) {
    const folder = join(weightsFolder(root), name);
    const used = statSync(join(folder, modelFile), { throwIfNoEntry: false });
    if (!/^[0-9a-f]{24}$/.test(name) || !used) continue;
    models.push({ ...describe(folder), bytes: size(folder), lastUsed: used.mtime, folder });
  }
  return models.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

function describe(folder: string): { label: string; precision: string } {
  try {
    const { label, precision } = readJsonObject(join(folder, modelFile));
    return { label: String(label), precision: String(precision) };
  } catch {
    return { label: "unknown", precision: "unknown" };
  }
}

const size = (folder: string): number =>
  list(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );

/**
 * Removes the models that `which` picks, and returns them. Each disappears at once; a process that has its weights
 * mapped keeps them.
 *
 * @throws DiffusionError DISK
 */
export function cleanModels(
  root: string,
  which: (model: CachedModel) => boolean = () => true,
): CachedModel[] {
  const removed = listModels(root).filter(which);
  for (const { folder } of removed) {
    const trash = join(weightsFolder(root), `.${digest(folder, 8)}.${process.pid}.tmp`);
    try {
      renameSync(folder, trash);
      rmSync(trash, { recursive: true, force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw diskError(folder, error); // else another was faster
    }
  }
  for (const name of list(weightsFolder(root)))
    if (isTemporary(name)) removeStale(join(weightsFolder(root), name));
  return removed;
}

/** The folder of saved graphs (runtime/graph-cache.ts). */
export const graphsFolder = (root: string): string => join(root, "graphs");
