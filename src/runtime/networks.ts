import { type Adapters, noAdapters } from "../adapters/adapted-checkpoint.js";
import { DiffusionError } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { pooledRows, type TextEncoderConfig } from "../models/clip.js";
import type { ControlNetConfig } from "../models/controlnet.js";
import { frequenciesWeight } from "../models/k-unet.js";
import type { NetworkSpec } from "../models/network.js";
import type { UNetSize } from "../models/unet.js";
import type { VaeConfig } from "../models/vae.js";
import { codebookWeight } from "../models/vq.js";
import type { Network } from "../weights/folder.js";
import type { ModelOpening } from "../weights/model.js";
import type { AdapterNetwork } from "./adapter-networks.js";
import { plainVae, type Vae } from "./autoencoder.js";
import { type ControlNet, controlNet } from "./controlnet.js";
import type { Engine, RemoteNetwork } from "./engine.js";
import {
  badInput,
  kUnetInputs,
  requireShape,
  type UNetInput,
  unconditionalInputs,
  unetInputs,
} from "./inputs.js";
import { type Model, ownSizes } from "./model.js";
import type { Precision, Run, RunnerRequest, RuntimeName, WeightsReference } from "./runner.js";
import { anySizeVae } from "./tiled-vae.js";
import { stageOf, type Turns } from "./turns.js";

export interface TextEncoding {
  /** [B, T, C] after the final norm. */
  readonly last: Values;
  /** [B, C], the row of the end-of-text token of `last`. */
  readonly pooled: Values;
  /** [B, T, C], the last hidden state but one, without the final norm. */
  readonly penultimate: Values;
  /** The state `skip` layers before the end, without and with the final norm. */
  readonly hidden: Values;
  readonly skipped: Values;
  /** [B, P], where the encoder has a projection. */
  readonly projected?: Values;
}

export interface TextEncoder {
  readonly config: TextEncoderConfig;
  /** `ids`: rows of equal length, as the tokenizer gives them. */
  run(x: { ids: readonly (readonly number[])[]; skip?: number }): Promise<TextEncoding>;
}

export interface UNet {
  /** The prediction [B, H, W, O] (noise, velocity or sample, as the scheduler's prediction_type says). */
  run(x: UNetInput): Promise<Values>;
  /**
   * DeepCache (Ma et al. 2023, branch 0), for conditional UNets. Without `deep` the whole network, which gives its deep
   * feature [B, H, W, C] beside the prediction; with one, what is around it alone, and the same feature comes back.
   * ControlNet's residuals other than the first are then left out, as they act on what is not run.
   */
  runDeep(x: UNetInput, deep?: Values): Promise<{ readonly sample: Values; readonly deep: Values }>;
}

/** The networks of a model on plain numbers, each at whatever sizes it is called with. */
export interface Networks {
  readonly textEncoders: readonly TextEncoder[];
  readonly unet: UNet;
  readonly vae?: Vae;
  /** The small one that decodes in its place. */
  readonly taesd?: Vae;
  /** The same with these adapters over their weights, in place of any others. What stays the same is not loaded anew. */
  adapted(adapters: Adapters): Networks;
  /** Loads each network once, without running it, so that all weights are converted. */
  prepare(signal?: AbortSignal): Promise<void>;
}

export interface NetworksOptions {
  readonly runtime: RuntimeName;
  readonly precision: Precision;
  readonly cacheRoot: string;
  readonly opening: ModelOpening;
  /** Computes the samples of a batch apart; the engine must be made for it. */
  readonly sideBySide?: boolean;
  /** The VAE's way with large pictures: true always in tiles, false never; absent by memory. */
  readonly tiling?: boolean;
  /** Unloads networks when those of another stage are used. Absent: all stay loaded. */
  readonly turns?: Turns;
  /** Called while weights are converted or a network is loaded. */
  readonly onLoad?: (network: string, done: number, total: number) => void;
}

/**
 * Sizes of one network that stay loaded; a session keeps its memory, so the one used longest ago goes. Forms that
 * take turns within a picture (with and without guidance, whole and shallow) count as one.
 */
const SIZES_KEPT = 3;

type AdaptedRun = (...args: [...Parameters<Run>, adapters?: Adapters]) => ReturnType<Run>;

export function createNetworks(model: Model, engine: Engine, options: NetworksOptions): Networks {
  const { source, vae, vaeSource, taesd } = model;
  const ownPlace = (role: WeightsReference["role"]): Place => ({ model: source.path, role });
  const own = (role: WeightsReference["role"]) => runnerOf(ownPlace(role), role, engine, options);
  const partPlace = ({ path }: Network): Place => ({ model: path, role: "part", pipeline: source.pipeline });
  const vaePlace = vaeSource && (vaeSource === source.vae ? ownPlace("vae") : partPlace(vaeSource));
  const autoencoder = (config: VaeConfig, network: Network, run: Run): Vae => {
    let codebook: Float32Array | undefined;
    const whole = plainVae(config, run, () => {
      codebook ??= readWeight(network, codebookWeight);
      return codebook;
    });
    return anySizeVae(whole, options.tiling);
  };
  const autoencoders = {
    ...(vae && {
      vae: autoencoder(vae, vaeSource!, runnerOf(vaePlace!, "vae", engine, options)),
    }),
    ...(taesd && {
      taesd: autoencoder(
        taesd.config,
        taesd.source,
        runnerOf(partPlace(taesd.source), "taesd", engine, options),
      ),
    }),
  };
  const prepare = async (signal?: AbortSignal): Promise<void> => {
    const sizes = ownSizes(model);
    const all: [Place, NetworkSpec][] = [
      ...sizes.textEncoders.map((spec, i): [Place, NetworkSpec] => [ownPlace(`text_encoder.${i}`), spec]),
      [ownPlace("unet"), sizes.unet],
      ...sizes.vae.map((spec): [Place, NetworkSpec] => [vaePlace!, spec]),
      ...sizes.taesd.map((spec): [Place, NetworkSpec] => [partPlace(taesd!.source), spec]),
    ];
    for (const [place, spec] of all) {
      signal?.throwIfAborted();
      const network = engine.network(requestOf(spec, place, options));
      await network.load({ onProgress: (done, total) => options.onLoad?.(spec.kind, done, total) });
      await network.unload();
    }
  };
  const encoders = model.textEncoders.map((config, i) => ({ config, run: own(`text_encoder.${i}`) }));
  const runUNet = own("unet");
  let known: Float32Array | undefined;
  const frequencies = () => {
    known ??= readWeight(source.unet, frequenciesWeight);
    return known;
  };
  const adapted = (adapters: Adapters): Networks => {
    const { words, pictures = [] } = adapters;
    const ofText = { loras: adapters.loras.filter(({ scales }) => scales.text !== 0), words };
    const ofUNet = {
      loras: adapters.loras.filter(({ scales }) => scales.unet !== 0),
      words: [],
      ...(pictures.length > 0 && { pictures }),
    };
    const withAdapters: Run = async (spec, inputs) => {
      const asked = spec.kind === "unet" ? (spec.size.pictures?.length ?? 0) : 0;
      if (asked > pictures.length)
        throw badInput("pictures", `at most ${pictures.length}, one for each IP-Adapter in use`, `${asked}`);
      return runUNet(spec, inputs, ofUNet);
    };
    return {
      textEncoders: encoders.map(({ config, run }, index) =>
        textEncoder(config, { adapters: ofText, index }, run),
      ),
      unet: unetOf(model.unet, withAdapters, frequencies),
      ...autoencoders,
      adapted,
      prepare,
    };
  };
  return adapted(noAdapters);
}

/** @param frequencies of the time embedding of K UNets, read when they are first needed */
function unetOf(unet: Model["unet"], run: Run, frequencies: () => Float32Array): UNet {
  const inputsOf = (x: UNetInput) => {
    switch (unet.kind) {
      case "unet":
        return unetInputs(unet.config, x);
      case "k_unet":
        return kUnetInputs(unet.config, x, frequencies());
      case "unconditional_unet":
        return unconditionalInputs(unet.config, x);
      default:
        return unet satisfies never;
    }
  };
  return {
    async runDeep(x, deep) {
      if (unet.kind !== "unet")
        throw new DiffusionError("MODEL_KIND", "DeepCache is for UNets that are conditioned on a prompt");
      const { config } = unet;
      const { inputs, size } = unetInputs(config, x);
      const spec: NetworkSpec = { kind: "unet", config, size: { ...size, deep: deep ? "in" : "out" } };
      if (deep) {
        const { batch, height, width } = size;
        inputs.deep = requireShape("deep", deep, [batch, height, width, config.levels[0]!.channels]);
        // What acts on the deep layers need not be sent.
        for (const name of Object.keys(inputs))
          if (/^(feature|residual)\./.test(name) && name !== "residual.0") delete inputs[name];
      }
      const outputs = await run(spec, inputs);
      return { sample: outputs.sample!, deep: deep ?? outputs.deep! };
    },
    async run(x) {
      const { inputs, size } = inputsOf(x);
      const { sample } = await run({ ...unet, size } as NetworkSpec, inputs);
      return sample!;
    },
  };
}

export type Place = Pick<WeightsReference, "model" | "role" | "pipeline">;

function readWeight(network: Network, name: string): Float32Array {
  const checkpoint = network.open();
  try {
    return checkpoint.readFloat32(name);
  } finally {
    checkpoint.close();
  }
}

/** A ControlNet from a folder or a file of its own, for the models that it was made for. */
export function createControlNet(
  control: AdapterNetwork<ControlNetConfig>,
  engine: Engine,
  options: NetworksOptions,
): ControlNet {
  const weights: Place = { model: control.place, role: "part" };
  return controlNet(control.config, runnerOf(weights, "controlnet", engine, options));
}

function requestOf(
  spec: NetworkSpec,
  weights: Place,
  { runtime, precision, cacheRoot, opening, sideBySide = false }: NetworksOptions,
): RunnerRequest {
  return { spec, weights: { ...weights, opening }, runtime, precision, cacheRoot, sideBySide };
}

const isAny = ({ loras, words, pictures }: Adapters): boolean =>
  loras.length > 0 || words.length > 0 || pictures !== undefined;

/** One network of a checkpoint, loaded at each size that it is called with, with and without adapters. `label` is for progress. */
export function runnerOf(
  place: Place,
  label: string,
  engine: Engine,
  options: NetworksOptions,
): AdaptedRun & { readonly unload: () => Promise<void> } {
  const { turns, onLoad } = options;
  const loaded = new Map<string, Map<string, RemoteNetwork>>();
  const stage = stageOf(label);
  const adaptedBy = new Map<RemoteNetwork, string>();
  const unload = async () => {
    const all = [...loaded.values()].flatMap((forms) => [...forms.values()]);
    loaded.clear();
    adaptedBy.clear();
    for (const network of all) await network.unload();
  };
  turns?.onLeave(stage, unload);
  /** Weights with adapters are in memory, so those of other adapters must go. */
  const leaveOthers = async (now: Adapters, used: RemoteNetwork) => {
    const name = JSON.stringify(now);
    for (const [network, adapters] of adaptedBy) {
      if (adapters === name) continue;
      adaptedBy.delete(network);
      if (network !== used) await network.unload();
    }
    if (isAny(now)) adaptedBy.set(used, name);
  };
  const run: AdaptedRun = async (spec, inputs, adapters = noAdapters) => {
    const { batch, deep, ...rest } = spec.size as UNetSize;
    const isAdapted = isAny(adapters);
    const key = `${spec.kind} ${JSON.stringify(rest)}`;
    const forms = loaded.get(key) ?? new Map<string, RemoteNetwork>();
    const form = `${batch} ${deep}`;
    const network = forms.get(form) ?? engine.network(requestOf(spec, place, options));
    forms.set(form, network);
    loaded.delete(key);
    loaded.set(key, forms);
    const [oldest] = loaded;
    if (loaded.size > SIZES_KEPT && oldest) {
      loaded.delete(oldest[0]);
      for (const old of oldest[1].values()) await old.unload();
    }
    await leaveOthers(adapters, network);
    await turns?.enter(stage);
    return network.run(inputs, {
      ...(isAdapted && { adapters }),
      onProgress: (done, total) => onLoad?.(label, done, total),
    });
  };
  return Object.assign(run, { unload });
}

function textEncoder(
  plain: TextEncoderConfig,
  { adapters, index }: { adapters: Adapters; index: number },
  run: AdaptedRun,
): TextEncoder {
  const ends = adapters.words.map(({ ids, vectors }) => ids[index]! + vectors);
  const config = { ...plain, vocabularySize: Math.max(plain.vocabularySize, ...ends) };
  return {
    config,
    async run({ ids, skip = 0 }) {
      const [batch, tokens] = [ids.length, ids[0]?.length ?? 0];
      if (batch === 0 || tokens === 0 || ids.some((row) => row.length !== tokens))
        throw badInput(
          "ids",
          "rows of equal length",
          `${batch} rows of lengths ${ids.map((row) => row.length)}`,
        );
      if (tokens > config.maxPositions)
        throw badInput("ids", `at most ${config.maxPositions} tokens`, `${tokens}`);
      const wrong = ids.flat().find((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabularySize);
      if (wrong !== undefined)
        throw badInput("ids", `whole numbers below ${config.vocabularySize}`, `${wrong}`);
      if (!Number.isInteger(skip) || skip < 0 || skip > config.layers)
        throw badInput("clip skip", `0 to ${config.layers}`, `${skip}`);
      // Where the end token is found by its id being the largest, added words would be taken for it.
      const known = ids.map((row) => row.map((id) => (id < plain.vocabularySize ? id : 0)));
      const outputs = await run(
        { kind: "text_encoder", config, size: { batch, tokens, skip } },
        {
          ids: { shape: [batch, tokens], data: Int32Array.from(ids.flat()) },
          pooledRows: { shape: [batch], data: Int32Array.from(pooledRows(known, config.eosTokenId)) },
        },
        adapters,
      );
      return outputs as unknown as TextEncoding;
    },
  };
}
