import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeWholeSync } from "../disk/whole-file.js";
import type { GivenWeight } from "../ops/graph-tensors.js";
import type { Shape } from "../ops/ops.js";
import { graphsFolder } from "../weights/cache.js";

/** A graph on disk that TensorFlow can load. */
export interface SavedGraph {
  readonly folder: string;
  readonly results: readonly (readonly [name: string, shape: Shape])[];
  /** Weights that it is given at each run, beside its inputs. */
  readonly given: readonly GivenWeight[];
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
  program: string | undefined = thisProgram,
): SavedGraph {
  const root = graphsFolder(cacheRoot);
  const entryFile = program && question && join(root, `${digest(JSON.stringify([program, question]))}.json`);
  const known = entryFile && readEntry(root, entryFile);
  if (known) return known;
  const { bytes, results, given } = write();
  const graph = digest(bytes);
  const file = graphFile(root, graph);
  if (!isGraph(root, graph)) writeWholeSync(file, bytes);
  if (entryFile) {
    const entry: Entry = { graph, results, given };
    writeWholeSync(entryFile, JSON.stringify(entry));
  }
  return { folder: join(root, graph), results, given };
}

const digest = (of: string | Uint8Array): string =>
  createHash("sha256").update(of).digest("hex").slice(0, 24);
const graphFile = (root: string, graph: string): string => join(root, graph, "saved_model.pb");

function isGraph(root: string, graph: string): boolean {
  const file = graphFile(root, graph);
  return existsSync(file) && digest(readFileSync(file)) === graph;
}

function readEntry(root: string, file: string): SavedGraph | undefined {
  try {
    const { graph, results, given } = JSON.parse(readFileSync(file, "utf8")) as Entry;
    if (isGraph(root, graph)) return { folder: join(root, graph), results, given };
  } catch {
    // Not there yet, or damaged: it is written again.
  }
  return undefined;
}

/** The bundle that this is part of names the others by their content. From source, each start writes its graphs anew. */
const thisProgram = import.meta.url.endsWith(".ts")
  ? undefined
  : digest(readFileSync(fileURLToPath(import.meta.url)));
