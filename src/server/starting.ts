import { setTimeout as sleep } from "node:timers/promises";
import { DiffusionError, type ErrorCode } from "../index.js";
import { Refusal } from "./refusal.js";

/** What a start has opened so far, to be closed again should it fail. */
export interface OpenedThings {
  add(close: () => Promise<void>): void;
  /** The last one first; what does not close within 2 s is left to the end of the process. */
  close(): Promise<void>;
}

export function openedThings(): OpenedThings {
  const all: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of all.reverse()) await close().catch(() => {});
  };
  return {
    add: (close) => void all.push(close),
    close: () => Promise.race([closeAll(), sleep(2000, undefined, { ref: false })]),
  };
}

/**
 * @returns how much is left of the time in which what a start needs has to answer: at least two seconds, as a machine that
 * is busy has used up the rest by itself, and what it asks is not away for that
 */
export function timeLeft(startMs = 4000): () => number {
  const end = performance.now() + startMs;
  return () => Math.max(2000, end - performance.now());
}

/** Refusals are the words of a running server; who starts one gets an error of the library. */
export const startError = (error: unknown): unknown =>
  error instanceof Refusal
    ? new DiffusionError(codeOf(error), error.message, {
        cause: error,
        ...(error.hint !== undefined && { hint: error.hint }),
      })
    : error;

const codeOf = ({ status }: Refusal): ErrorCode => (status < 500 ? "BAD_OPTION" : "QUEUE");
