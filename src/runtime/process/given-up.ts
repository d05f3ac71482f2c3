import { AsyncLocalStorage } from "node:async_hooks";
import { abortable } from "../../abortable.js";

const signals = new AsyncLocalStorage<AbortSignal>();

/**
 * Does work whose calls to the process that computes are given up when the signal aborts. Who waits for the work hears
 * the signal's reason at once, whatever is under way. The signal reaches the calls by itself: between them and here lie
 * the networks, which have nothing to do with it.
 *
 * @throws the signal's reason
 */
export async function unlessAborted<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  if (!signal) return work();
  signal.throwIfAborted();
  return abortable(signals.run(signal, work), signal);
}

/** The signal of the work that a call is made for. */
export const signalOfWork = (): AbortSignal | undefined => signals.getStore();

/** Ends calls of others when the process is ended for one that was given up: they are made again. */
export class Interrupted extends Error {}

/** Makes a call again for as long as it was ended for another one. */
export async function untilAnswered<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
    }
  }
}
