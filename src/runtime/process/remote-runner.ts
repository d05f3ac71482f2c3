import type { Adapters } from "../../adapters/adapted-checkpoint.js";
import type { Fields } from "../../models/fields.js";
import type { Network } from "../../models/network.js";
import type { NetworkKind, NetworkOf } from "../../models/registry.js";
import type { Given, Input, Results, RunnerRequest } from "../runner.js";
import type { Computing } from "./computing.js";
import { signalOfWork, untilAnswered } from "./given-up.js";
import type { CallName, Calls } from "./messages.js";

export type OnWeights = (done: number, total: number) => void;

/** A network in the other process; loaded when it is first run, and again after a crash. */
export interface RemoteRunner<N extends Network = Network> {
  /** Loads the network if it is not, with these adapters over its weights; run() does so, too. */
  load(options?: RunnerUse): Promise<void>;
  run(inputs: Given<N>, options?: RunnerUse): Promise<Results<N>>;
  unload(): Promise<void>;
}

export interface RunnerUse {
  /** In place of those that it had; absent for none. */
  readonly adapters?: Adapters;
  /** Told of weights that are converted, then of functions that are compiled for a new size. */
  readonly onProgress?: OnWeights;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told when the signal has aborted before the answer. */
  readonly onGivenUp?: () => void;
  readonly onProgress?: OnWeights | undefined;
}

/** The process that computes, as a network in it sees it. */
interface Caller {
  call<N extends CallName>(
    name: N,
    args: Calls[N]["args"],
    options?: CallOptions,
  ): Promise<Calls[N]["result"]>;
  /** The one that there is now. */
  child(): Computing | undefined;
}

/** @param key that the other process knows it by */
export function remoteRunner<Kind extends NetworkKind>(
  request: RunnerRequest<Kind>,
  key: string,
  { call, child }: Caller,
): RemoteRunner<NetworkOf<Kind>> {
  let loaded: { readonly child: Computing | undefined; readonly adapters: string } | undefined;
  // Between a load and its run nobody else may load other adapters.
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  };
  const isLoaded = (): boolean => loaded?.child !== undefined && loaded.child === child();
  const load = async ({ adapters, onProgress }: RunnerUse): Promise<void> => {
    const name = JSON.stringify(adapters);
    if (isLoaded() && loaded?.adapters === name) return;
    loaded = undefined;
    const weights = { ...request.weights, ...(adapters && { adapters }) };
    const args = { key, request: { ...request, weights } as RunnerRequest };
    const signal = signalOfWork();
    const forget = () => void call("unload", { key }).catch(() => {});
    await untilAnswered(() => call("load", args, { signal, onGivenUp: forget, onProgress }));
    loaded = { child: child(), adapters: name };
  };
  return {
    load: (use = {}) => inTurn(() => load(use)),
    run: (inputs, use = {}) =>
      inTurn(() =>
        untilAnswered(async () => {
          // It may have been unloaded meanwhile.
          do await load(use);
          while (!isLoaded());
          const args = { key, inputs: inputs as Fields<Input> };
          const { onProgress } = use;
          const results = await call("run", args, { signal: signalOfWork(), onProgress });
          return results as Results<NetworkOf<Kind>>;
        }),
      ),
    // In its turn: one that is being loaded would stay for good, as nobody knows of it any more.
    unload: () =>
      inTurn(async () => {
        if (!isLoaded()) return;
        loaded = undefined;
        await untilAnswered(async () => child() && call("unload", { key }));
      }),
  };
}
