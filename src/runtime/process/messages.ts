import type { ErrorCode } from "../../errors.js";
import type { Values } from "../../latents/latents.js";
import type { Fields } from "../../models/fields.js";
import type { Compilation } from "../compiled-functions.js";
import type { Capabilities } from "../probe.js";
import type { Input, RunnerRequest } from "../runner.js";

/** What the caller's process asks of the one that computes, and what comes back. */
export interface Calls {
  /** Makes a runner, under a key of the caller's choice. */
  load: { args: { key: string; request: RunnerRequest }; result: undefined };
  run: { args: { key: string; inputs: Fields<Input> }; result: Fields<Values> };
  unload: { args: { key: string }; result: undefined };
  status: { args: undefined; result: Status };
  /** Whether products in bfloat16 run; the process may be lost by it. */
  tryBfloat16: { args: undefined; result: boolean };
}

export interface Status {
  readonly tensorflow: string;
  readonly capabilities: Capabilities;
  /** tf.memory().numTensors: what the eager runtime holds; 0 when nothing but graphs is loaded. */
  readonly tensors: number;
  /** Graphs that TensorFlow has loaded: of each network one for each size and form, and small ones of adapters. */
  readonly graphs: number;
  readonly residentBytes: number;
  readonly peakBytes: number;
}

export type CallName = keyof Calls;

export type Request = {
  [N in CallName]: { readonly id: number; readonly name: N; readonly args: Calls[N]["args"] };
}[CallName];

export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly progress: { readonly done: number; readonly total: number } }
  | { readonly id: number; readonly compilation: Compilation }
  | {
      readonly id: number;
      readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string };
    };
