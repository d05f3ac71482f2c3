import { createHash } from "node:crypto";
import { readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { pathOf } from "../disk/package.js";
import { writeWholeSync } from "../disk/whole-file.js";
import type { Fields } from "../models/fields.js";
import type { GivenWeight } from "../ops/graph-tensors.js";
import type { Shape } from "../ops/ops.js";
import { trimCache } from "../weights/cache-entries.js";
import { graphsFolder, writingCache } from "../weights/cache-root.js";

/** A graph on disk that TensorFlow can load. */
export interface SavedGraph {
  readonly folder: string;
  readonly results: Fields<{ readonly shape: Shape }>;
  /** Weights that it is given at each run, beside its inputs. */
  readonly given: readonly GivenWeight[];
  /** How many functions XLA compiles when it is first run. */
  readonly compiled: number;
}

export interface WrittenGraph extends Omit<SavedGraph, "folder"> {
  readonly bytes: Uint8Array;
}

interface Entry extends Omit<WrittenGraph, "bytes"> {
  readonly graph: string;
}

/**
 * The graph that was written for the same question before, by this very program; else `write` answers. Graphs are
 * named by their content, so nothing stale or broken is used.
 *
 * @param question all that decides what is written, apart from the program; false to write in any case
 * @param program what names the program; undefined to write in any case
 * @throws DiffusionError DISK
 */
export function savedGraph(
  cacheRoot: string,
  question: readonly unknown[] | false,
  write: () => WrittenGraph,
  program: string | undefined = thisProgram(),
): SavedGraph {
  const root = graphsFolder(cacheRoot);
  const entryFile = program && question && join(root, `${digest(JSON.stringify([program, question]))}.json`);
  const known = entryFile && readEntry(root, entryFile);
  if (known) return known;
  const { bytes, results, given, compiled } = write();
  const graph = digest(bytes);
  const folder = keptGraph(cacheRoot, bytes);
  if (entryFile) {
    const entry: Entry = { graph, results, given, compiled };
    writingCache(cacheRoot, () => writeWholeSync(entryFile, JSON.stringify(entry)));
  }
  return { folder, results, given, compiled };
}

/** Whether this process has seen to the cache's bound; conversions of weights do so by themselves. */
let isTrimmed = false;

/**
 * The folder of a graph with these bytes, written only if it is not there yet.
 *
 * @throws DiffusionError DISK
 */
export function keptGraph(cacheRoot: string, bytes: Uint8Array): string {
  const root = graphsFolder(cacheRoot);
  const graph = digest(bytes);
  if (!isGraph(root, graph)) {
    if (!isTrimmed) trimCache(cacheRoot);
    isTrimmed = true;
    writingCache(cacheRoot, () => writeWholeSync(graphFile(root, graph), bytes));
  }
  return join(root, graph);
}

export const digest = (of: string | Uint8Array): string =>
  createHash("sha256").update(of).digest("hex").slice(0, 24);
const graphFile = (root: string, graph: string): string => join(root, graph, "saved_model.pb");

/** Whether a graph is there, undamaged; it counts as used then. */
function isGraph(root: string, graph: string): boolean {
  const file = graphFile(root, graph);
  try {
    if (digest(readFileSync(file)) !== graph) return false;
  } catch {
    return false; // not there yet
  }
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // a cache that is shared read-only
  }
  return true;
}

function readEntry(root: string, file: string): SavedGraph | undefined {
  try {
    const { graph, results, given, compiled } = JSON.parse(readFileSync(file, "utf8")) as Entry;
    if (isGraph(root, graph)) return { folder: join(root, graph), results, given, compiled };
  } catch {
    // Not there yet, or damaged: it is written again.
  }
  return undefined;
}

let ownDigest: string | undefined;

/** The bundle that this is part of names the others by their content. From source, each start writes its graphs anew. */
export function thisProgram(): string | undefined {
  if (import.meta.url.endsWith(".ts")) return undefined;
  ownDigest ??= digest(readFileSync(pathOf(import.meta.url)));
  return ownDigest;
}
