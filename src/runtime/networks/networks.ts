import { type Adapters, adaptedPlaces, encoderNames, noAdapters } from "../../adapters/adapted-checkpoint.js";
import { frequenciesWeight } from "../../models/k-unet.js";
import type { NetworkSpec } from "../../models/registry.js";
import type { UNetSize } from "../../models/unet.js";
import type { VaeConfig } from "../../models/vae-config.js";
import { codebookWeight } from "../../models/vq.js";
import type { Component } from "../../weights/component.js";
import { type Model, ownSizes } from "../model.js";
import type { Engine } from "../process/engine.js";
import type { Run, WeightsReference } from "../runner.js";
import { plainVae, type Vae } from "./autoencoder.js";
import { badInput } from "./inputs.js";
import { type NetworksOptions, referenceTo, requestOf, runnerOf } from "./network-runner.js";
import { type TextEncoder, textEncoder } from "./text-encoder.js";
import { anySizeVae } from "./tiled-vae.js";
import { type UNet, unetOf } from "./unet.js";

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

export function createNetworks(model: Model, engine: Engine, options: NetworksOptions): Networks {
  const { source, vae, vaeSource, taesd } = model;
  const [places, names] = [adaptedPlaces(source), encoderNames(source)];
  const ofModel = (role: string, { weights }: Component): WeightsReference => ({
    label: `${source.path} ${role}`,
    weights,
  });
  const encoderAt = (i: number): WeightsReference => ({
    ...ofModel(`text_encoder.${i}`, source.textEncoders[i]!),
    adapted: { network: names[i]!, places },
  });
  const unetAt: WeightsReference = { ...ofModel("unet", source.unet), adapted: { network: "unet", places } };
  const vaeAt = vaeSource && (vaeSource === source.vae ? ofModel("vae", vaeSource) : referenceTo(vaeSource));
  const autoencoder = (config: VaeConfig, network: Component, run: Run): Vae => {
    let codebook: Float32Array | undefined;
    const whole = plainVae(config, run, () => {
      codebook ??= readWeight(network, codebookWeight);
      return codebook;
    });
    return anySizeVae(whole, options.tiling);
  };
  const autoencoders = {
    ...(vae && {
      vae: autoencoder(vae, vaeSource!, runnerOf(vaeAt!, "vae", engine, options)),
    }),
    ...(taesd && {
      taesd: autoencoder(
        taesd.config,
        taesd.source,
        runnerOf(referenceTo(taesd.source), "taesd", engine, options),
      ),
    }),
  };
  const prepare = async (signal?: AbortSignal): Promise<void> => {
    const sizes = ownSizes(model);
    const all: [WeightsReference, NetworkSpec][] = [
      ...sizes.textEncoders.map((spec, i): [WeightsReference, NetworkSpec] => [encoderAt(i), spec]),
      [unetAt, sizes.unet],
      ...sizes.vae.map((spec): [WeightsReference, NetworkSpec] => [vaeAt!, spec]),
      ...sizes.taesd.map((spec): [WeightsReference, NetworkSpec] => [referenceTo(taesd!.source), spec]),
    ];
    for (const [reference, spec] of all) {
      signal?.throwIfAborted();
      const network = engine.runner(requestOf(spec, reference, options));
      await network.load({ onProgress: (done, total) => options.onLoad?.(spec.kind, done, total) });
      await network.unload();
    }
  };
  const encoders = model.textEncoders.map((config, i) => ({
    config,
    run: runnerOf(encoderAt(i), `text_encoder.${i}`, engine, options),
  }));
  const runUNet = runnerOf(unetAt, "unet", engine, options);
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
      const asked = (spec.size as Partial<UNetSize>).pictures?.length ?? 0;
      if (asked > pictures.length)
        throw badInput("pictures", `at most ${pictures.length}, one for each IP-Adapter in use`, `${asked}`);
      return runUNet(spec, inputs, ofUNet);
    };
    return {
      textEncoders: encoders.map(({ config, run }, index) =>
        textEncoder(config, { adapters: ofText, index }, run),
      ),
      unet: unetOf(model.unet, withAdapters, frequencies, options.sideBySide),
      ...autoencoders,
      adapted,
      prepare,
    };
  };
  return adapted(noAdapters);
}

function readWeight(network: Component, name: string): Float32Array {
  const checkpoint = network.open();
  try {
    return checkpoint.readFloat32(name);
  } finally {
    checkpoint.close();
  }
}
