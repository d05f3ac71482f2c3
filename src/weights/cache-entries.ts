import { createHash } from "node:crypto";
import { readdirSync, renameSync, rmSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { diskError } from "../disk/disk-error.js";
import { type Json, readJsonObject } from "../disk/json.js";
import { isTemporary } from "../disk/whole-file.js";
import { cacheLimit, compiledFolder, contentsFolder, graphsFolder, weightsFolder } from "./cache-root.js";

/** What a folder of converted weights says of itself. Its time is that of the last use. */
export const modelFile = "model.json";

export interface EntryDescription {
  /** The model and its network, as who made it called them. */
  readonly label: string;
  readonly precision: string;
  /** The files that it was made of, wherever they were met: each list is one place. */
  readonly sources: readonly (readonly string[])[];
}

/** Converted weights of one network. */
export interface CachedModel extends EntryDescription {
  readonly bytes: number;
  readonly lastUsed: Date;
  readonly folder: string;
}

/** What the cache holds, the one last used first. Folders that are not ours are not listed. */
export function listModels(root: string): CachedModel[] {
  const models: CachedModel[] = [];
  for (const name of list(weightsFolder(root))) {
    const folder = join(weightsFolder(root), name);
    const used = statOf(join(folder, modelFile));
    if (!/^[0-9a-f]{24}$/.test(name) || !used) continue;
    models.push({ ...describe(folder), bytes: size(folder), lastUsed: used.mtime, folder });
  }
  return models.sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime());
}

export function describe(folder: string): EntryDescription {
  try {
    const { label, precision, sources } = readJsonObject(join(folder, modelFile));
    return { label: String(label), precision: String(precision), sources: pathLists(sources) };
  } catch {
    return { label: "unknown", precision: "unknown", sources: [] };
  }
}

const pathLists = (value: Json | undefined): string[][] =>
  Array.isArray(value) ? value.map((paths) => (Array.isArray(paths) ? paths.map(String) : [])) : [];

/**
 * Whether the files that converted weights were made of are gone from every place where they were met. Entries that
 * name none are of another version of this library, which may still be in use elsewhere.
 */
export const isOrphan = ({ sources }: EntryDescription): boolean =>
  sources.length > 0 && sources.every((files) => files.some((file) => !isFile(file)));

const isFile = (path: string): boolean => statOf(path)?.isFile() ?? false;

/** Also undefined where a folder of the path is a file: others may have put something here, as older versions did. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

/** What a folder of a saved graph holds. Its time is that of the last use. */
const graphFile = "saved_model.pb";

/** A saved graph: small, but there is one for each network and size. */
export interface CachedGraph {
  readonly bytes: number;
  readonly lastUsed: Date;
  readonly folder: string;
}

export function listGraphs(root: string): CachedGraph[] {
  const graphs: CachedGraph[] = [];
  for (const name of list(graphsFolder(root))) {
    const folder = join(graphsFolder(root), name);
    const file = statOf(join(folder, graphFile));
    if (file) graphs.push({ bytes: file.size, lastUsed: file.mtime, folder });
  }
  return graphs;
}

/** Functions that XLA has compiled, one in each file, which stands as the folder here. */
function listCompiled(root: string): CachedGraph[] {
  const compiled: CachedGraph[] = [];
  for (const machine of list(compiledFolder(root)))
    for (const name of list(join(compiledFolder(root), machine))) {
      const folder = join(compiledFolder(root), machine, name);
      const file = isTemporary(name) ? undefined : statOf(folder);
      if (file?.isFile()) compiled.push({ bytes: file.size, lastUsed: file.mtime, folder });
    }
  return compiled;
}

export const list = (folder: string): string[] => {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
};

const size = (folder: string): number =>
  list(folder).reduce((sum, name) => sum + (statOf(join(folder, name))?.size ?? 0), 0);

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
  for (const { folder } of removed) remove(folder);
  for (const name of list(weightsFolder(root)))
    if (isTemporary(name)) removeStale(join(weightsFolder(root), name));
  return removed;
}

/**
 * Removes the graphs that `which` picks, what refers to them, and notes about contents and compiled functions that are
 * as old; returns the bytes of the graphs and functions.
 *
 * @throws DiffusionError DISK
 */
export function cleanGraphs(root: string, which: (lastUsed: Date) => boolean = () => true): number {
  const removed = listGraphs(root).filter(({ lastUsed }) => which(lastUsed));
  for (const { folder } of removed) remove(folder);
  const removeFiles = (folder: string): number => {
    let bytes = 0;
    for (const name of list(folder)) {
      const path = join(folder, name);
      const stat = statOf(path);
      if (!stat?.isFile() || !which(stat.mtime)) continue;
      rmSync(path, { force: true });
      bytes += stat.size;
    }
    return bytes;
  };
  for (const folder of [graphsFolder(root), contentsFolder(root)]) removeFiles(folder);
  const compiled = list(compiledFolder(root)).map((name) => removeFiles(join(compiledFolder(root), name)));
  return [...removed.map(({ bytes }) => bytes), ...compiled].reduce((a, b) => a + b, 0);
}

function remove(folder: string): void {
  const trash = join(folder, "..", `.${digest(folder)}.${process.pid}.tmp`);
  try {
    renameSync(folder, trash);
    rmSync(trash, { recursive: true, force: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw diskError(folder, error); // else another was faster
  }
}

const digest = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 8);

/** What was used so recently may be in the middle of being made. */
const recentMs = 3600 * 1000;

/**
 * Keeps the cache within its bound: what was used longest ago goes first, weights, graphs and compiled functions alike;
 * what was used in the last hour stays in any case.
 *
 * @throws DiffusionError BAD_OPTION for a bound that is none
 */
export function trimCache(root: string, limit = cacheLimit(), now = Date.now()): void {
  const entries = [
    ...listModels(root).map((entry) => ({ ...entry, touched: join(entry.folder, modelFile) })),
    ...listGraphs(root).map((entry) => ({ ...entry, touched: join(entry.folder, graphFile) })),
    ...listCompiled(root).map((entry) => ({ ...entry, touched: entry.folder })),
  ];
  let bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  entries.sort((a, b) => a.lastUsed.getTime() - b.lastUsed.getTime());
  for (const entry of entries) {
    if (bytes <= limit || now - entry.lastUsed.getTime() < recentMs) return;
    try {
      // Removing those before it took a while, in which another process may have begun to use this one.
      const { mtime = entry.lastUsed } = statOf(entry.touched) ?? {};
      if (mtime > entry.lastUsed) continue;
      remove(entry.folder);
      bytes -= entry.bytes;
    } catch {
      return; // not ours to remove: a bound is not worth a failed run
    }
  }
}

/** A temporary file of this age belongs to a process that was killed. */
const staleMs = 24 * 3600 * 1000;

export function removeStale(path: string): void {
  try {
    const age = Date.now() - statSync(path).mtimeMs;
    if (age > staleMs) rmSync(path, { recursive: true, force: true });
  } catch {
    // gone already, or not ours to remove
  }
}
