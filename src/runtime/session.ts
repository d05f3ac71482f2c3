import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ARGUMENTS, RESULTS } from "../ops/calls.js";

import type { FunctionBody } from "../ops/graph-def.js";

import { keptGraph } from "./graph-cache.js";
import type { Native } from "./native.js";
import { encodeSavedModel } from "./saved-model.js";

/** A graph that TensorFlow has loaded. */
export interface Session {
  /** Gives it tensors, in the order of its arguments; what it returns are tensors too, in the order of its results. */
  run(inputs: readonly number[]): number[];
  close(): void;
}

/** A graph that is kept in a folder, with so many results. */
export function loadSession({ binding }: Native, folder: string, results: number): Session {
  const id = binding.loadSavedModel(folder, "serve");
  const names = (node: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${node}:${i}`).join();
  const fetches = names(RESULTS, results);
  return {
    run: (inputs) =>
      binding.runSavedModel(id, inputs, names(ARGUMENTS, inputs.length), fetches).map((tensor) => tensor.id),
    close: () => binding.deleteSavedModel(id),
  };
}

/**
 * A graph that is written at each start.
 *
 * @param cacheRoot where it is kept, so that nothing has to be written when it is there; without it, it is a file of
 * the moment in the system's temporary folder
 * @throws DiffusionError DISK
 */
export function openSession(native: Native, body: FunctionBody, cacheRoot?: string): Session {
  const bytes = encodeSavedModel(body, native);
  if (cacheRoot !== undefined) return loadSession(native, keptGraph(cacheRoot, bytes), body.results.length);
  const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-graph-"));
  try {
    writeFileSync(join(folder, "saved_model.pb"), bytes);
    return loadSession(native, folder, body.results.length);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
