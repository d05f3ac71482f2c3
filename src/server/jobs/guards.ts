import { totalmem } from "node:os";
import type { LoadOptions } from "../../index.js";

/** Milliseconds that one call of a network may take. */
const HANG_MS = 600_000;

/**
 * What ends a process that computes unless the operator says otherwise: a call of ten minutes, and more private memory
 * than nine tenths of what the machine, or the container, has. The system would end one of its own choice then.
 */
export function usualGuards(): Required<Pick<LoadOptions, "hangMs" | "memoryLimit">> {
  const constrained = process.constrainedMemory?.() ?? 0;
  const all = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return { hangMs: HANG_MS, memoryLimit: Math.floor(0.9 * all) };
}
