import fc from "fast-check";
import { DiffusionError } from "../src/index.js";

/** One case, as a target judges it: the code of the refusal, or "accepted". Anything thrown is a finding. */
export type Judge<T> = (input: T) => Promise<string> | string;

export interface Target {
  readonly name: string;
  /** Sets up what all cases share. */
  open(): Promise<{ readonly property: Property; close?(): Promise<void> | void }>;
}

/** Inputs and what is asked of them, types hidden. */
export type Property = (
  tell: (verdict: string, milliseconds: number) => void,
) => fc.IAsyncProperty<[unknown]>;

/** Nothing that is this small may take longer, also on a busy machine. */
const SLOW_MS = 10_000;

/** Counts cases, so that another thread sees that they go on. */
export const beats = new Int32Array(new SharedArrayBuffer(4));

/** Makes a property of inputs and their judge. */
export function propertyOf<T>(inputs: fc.Arbitrary<T>, judge: Judge<T>): Property {
  return (tell) =>
    fc.asyncProperty(inputs as fc.Arbitrary<unknown>, async (input) => {
      const began = performance.now();
      const verdict = await judge(input as T);
      const took = performance.now() - began;
      if (took > SLOW_MS) throw new Error(`took ${Math.round(took)} ms`);
      Atomics.add(beats, 0, 1);
      tell(verdict, took);
    });
}

/** "accepted", or the code with which it was refused; errors that are no answer to the input are thrown. */
export async function verdictOf(act: () => unknown, allowed: readonly string[]): Promise<string> {
  try {
    await act();
    return "accepted";
  } catch (error) {
    if (!(error instanceof DiffusionError) || !allowed.includes(error.code)) throw error;
    if (error.message.length > 2000) throw new Error(`the message has ${error.message.length} characters`);
    return error.code;
  }
}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}
