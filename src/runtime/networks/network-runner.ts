import { type Adapters, noAdapters } from "../../adapters/adapted-checkpoint.js";
import type { NetworkKind, NetworkOf, SpecOf } from "../../models/registry.js";
import type { UNetSize } from "../../models/unet.js";
import type { Component } from "../../weights/component.js";
import type { Engine } from "../process/engine.js";
import type { RemoteRunner } from "../process/remote-runner.js";
import { stageOf, type Turns } from "../process/turns.js";
import type { Given, Precision, Results, RunnerRequest, RuntimeName, WeightsReference } from "../runner.js";

export interface NetworksOptions {
  readonly runtime: RuntimeName;
  readonly precision: Precision;
  readonly cacheRoot: string;
  /** Computes the samples of a batch apart; the engine must be made for it. */
  readonly sideBySide?: boolean;
  /** The VAE's way with large pictures: true always in tiles, false never; absent by memory. */
  readonly tiling?: boolean;
  /** Unloads networks when those of another stage are used. Absent: all stay loaded. */
  readonly turns?: Turns;
  /** Called while weights are converted or a network is loaded. */
  readonly onLoad?: (network: string, done: number, total: number) => void;
}

/** A component that stands beside a model: a ControlNet, another VAE. */
export const referenceTo = ({ weights }: Pick<Component, "weights">): WeightsReference => ({
  label: `${weights.path} part`,
  weights,
});

/** Runs a network with these adapters over its weights. */
export type AdaptedRun = <Kind extends NetworkKind>(
  spec: SpecOf<Kind>,
  inputs: Given<NetworkOf<Kind>>,
  adapters?: Adapters,
) => Promise<Results<NetworkOf<Kind>>>;

/**
 * Sizes of one network that stay loaded; a session keeps its memory, so the one used longest ago goes. Forms that
 * take turns within a picture (with and without guidance, whole and shallow, perturbed) count as one.
 */
const SIZES_KEPT = 3;

const isAny = ({ loras, words, pictures }: Adapters): boolean =>
  loras.length > 0 || words.length > 0 || pictures !== undefined;

/** One network of a checkpoint, loaded at each size that it is called with, with and without adapters. `label` is for progress. */
export function runnerOf(
  reference: WeightsReference,
  label: string,
  engine: Engine,
  options: NetworksOptions,
): AdaptedRun & { readonly unload: () => Promise<void> } {
  const { turns, onLoad } = options;
  const loaded = new Map<string, Map<string, RemoteRunner>>();
  const stage = stageOf(label);
  const adaptedBy = new Map<RemoteRunner, string>();
  const unload = async () => {
    const all = [...loaded.values()].flatMap((forms) => [...forms.values()]);
    loaded.clear();
    adaptedBy.clear();
    for (const network of all) await network.unload();
  };
  turns?.onLeave(stage, unload);
  /** Weights with adapters are in memory, so those of other adapters must go. */
  const leaveOthers = async (now: Adapters, used: RemoteRunner) => {
    const name = JSON.stringify(now);
    for (const [network, adapters] of adaptedBy) {
      if (adapters === name) continue;
      adaptedBy.delete(network);
      if (network !== used) await network.unload();
    }
    if (isAny(now)) adaptedBy.set(used, name);
  };
  /** The network at a size and in a form of it; the size used longest ago makes room. */
  const held = async (key: string, form: string, create: () => RemoteRunner): Promise<RemoteRunner> => {
    const forms = loaded.get(key) ?? new Map<string, RemoteRunner>();
    const network = forms.get(form) ?? create();
    forms.set(form, network);
    loaded.delete(key);
    loaded.set(key, forms);
    const [oldest] = loaded;
    if (loaded.size > SIZES_KEPT && oldest) {
      loaded.delete(oldest[0]);
      for (const old of oldest[1].values()) await old.unload();
    }
    return network;
  };
  const run = async <Kind extends NetworkKind>(
    spec: SpecOf<Kind>,
    inputs: Given<NetworkOf<Kind>>,
    adapters: Adapters = noAdapters,
  ): Promise<Results<NetworkOf<Kind>>> => {
    const { batch, deep, perturbed, ...rest } = spec.size as UNetSize;
    const isAdapted = isAny(adapters);
    const key = `${spec.kind} ${JSON.stringify(rest)}`;
    const form = `${batch} ${deep} ${perturbed}`;
    const create = () => engine.runner(requestOf(spec, reference, options));
    let network: RemoteRunner;
    do {
      network = await held(key, form, create);
      await leaveOthers(adapters, network);
      await turns?.enter(stage);
      // Another call's turn may have come in between; what is loaded but held no more, nobody would unload.
    } while (loaded.get(key)?.get(form) !== network);
    return network.run(inputs, {
      ...(isAdapted && { adapters }),
      onProgress: (done, total) => onLoad?.(label, done, total),
    }) as Promise<Results<NetworkOf<Kind>>>;
  };
  return Object.assign(run, { unload });
}

export function requestOf<Kind extends NetworkKind>(
  spec: SpecOf<Kind>,
  weights: WeightsReference,
  { runtime, precision, cacheRoot, sideBySide = false }: NetworksOptions,
): RunnerRequest<Kind> {
  return { spec, weights, runtime, precision, cacheRoot, sideBySide };
}
