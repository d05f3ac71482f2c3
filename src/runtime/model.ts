import { existsSync } from "node:fs";
import { join } from "node:path";
import { DiffusionError } from "../errors.js";
import type { TextEncoderConfig } from "../models/clip.js";
import { parseTextEncoderConfig } from "../models/clip-config.js";
import { frequenciesWeight, type KUNetConfig } from "../models/k-unet.js";
import { hasKBlocks, parseKUNetConfig } from "../models/k-unet-config.js";
import type { NetworkSpec } from "../models/registry.js";
import type { UNet2DConfig } from "../models/unconditional.js";
import { parseUNet2DConfig } from "../models/unconditional-config.js";
import { parseUNetConfig, type UNetConfig } from "../models/unet-config.js";
import { parseVaeConfig, type VaeConfig } from "../models/vae-config.js";
import { codebookWeight } from "../models/vq.js";
import type { Shape } from "../ops/ops.js";
import { type Component, isDecoderOnly, type ModelSource } from "../weights/component.js";
import { checkWeights, requirements } from "./requirements.js";

/** A model whose configs are read and whose weights are known to fit them; no weight is loaded yet. */
export interface Model {
  readonly source: ModelSource;
  readonly textEncoders: readonly TextEncoderConfig[];
  readonly unet:
    | { readonly kind: "unet"; readonly config: UNetConfig }
    | { readonly kind: "k_unet"; readonly config: KUNetConfig }
    | { readonly kind: "unconditional_unet"; readonly config: UNet2DConfig };
  readonly vae?: VaeConfig;
  /** Where its VAE is: the model's own, or the one taken in its place. */
  readonly vaeSource?: Component;
  /** A small decoder for results and previews. */
  readonly taesd?: { readonly config: VaeConfig; readonly source: Component };
  /** Pixels per latent cell in each direction; 1 without a VAE. */
  readonly factor: number;
}

/** Autoencoders from elsewhere. */
export interface Replacements {
  /** In place of the model's VAE. */
  readonly vae?: Component;
  /** Decodes in its place. */
  readonly taesd?: Component;
}

/**
 * Reads the configs of a model and checks its weights against them.
 *
 * @throws DiffusionError MODEL_KIND for configs that cannot be used, WEIGHT_MISSING, WEIGHT_SHAPE, WEIGHT_UNUSED
 */
export function readModel(source: ModelSource, own: Replacements = {}): Model {
  const model = readConfigs(source, own);
  for (const check of weightChecks(model)) check();
  return model;
}

/** `readModel` without a look at the weights, for those who have something to do before `weightChecks`. */
export function readConfigs(source: ModelSource, own: Replacements = {}): Model {
  const textEncoders = source.textEncoders.map((network) =>
    parseTextEncoderConfig(network.config, fileOf(network)),
  );
  if (own.vae && isDecoderOnly(own.vae))
    throw new DiffusionError("UNSUPPORTED", `${own.vae.weights.path} only decodes, and is no whole VAE`, {
      hint: "give it as taesd; in place of the VAE, both halves are needed (a folder of AutoencoderTiny)",
    });
  const vae = own.vae ? readReplacement(source, own.vae) : readOwnVae(source);
  const vaeSource = own.vae ?? source.vae;
  return {
    source,
    textEncoders,
    unet: readUNet(source.unet),
    factor: vae?.factor ?? 1,
    ...(vae && { vae }),
    ...(vaeSource && { vaeSource }),
    ...(own.taesd && { taesd: { config: readReplacement(source, own.taesd), source: own.taesd } }),
  };
}

/** Checks of all weights of a model, network by network: each throws as `readModel`. */
export function weightChecks({ source, textEncoders, unet, vae, vaeSource, taesd }: Model): (() => void)[] {
  const frequencies: [string, Shape][] =
    unet.kind === "k_unet" ? [[frequenciesWeight, [unet.config.timeWidth / 2]]] : [];
  return [
    ...source.textEncoders.map((network, i) => () => check(network, [smallestTextEncoder(textEncoders[i]!)])),
    () => check(source.unet, [smallestUNet(unet)], frequencies),
    ...(vae ? [() => checkVae(vaeSource!, vae)] : []),
    ...(taesd ? [() => check(taesd.source, taesdSpecs(taesd, 2))] : []),
  ];
}

function readUNet(network: Component): Model["unet"] {
  const { config, className } = network;
  if (className === "UNet2DModel")
    return { kind: "unconditional_unet", config: parseUNet2DConfig(config, fileOf(network)) };
  if (hasKBlocks(config)) return { kind: "k_unet", config: parseKUNetConfig(config, fileOf(network)) };
  return { kind: "unet", config: parseUNetConfig(config, fileOf(network)) };
}

/** As small as the levels allow, for those who only look at weights. */
function smallestUNet(unet: Model["unet"]): NetworkSpec {
  const edge = 2 ** unet.config.levels.length;
  const size = { batch: 1, height: edge, width: edge };
  return unet.kind === "unconditional_unet"
    ? { kind: unet.kind, config: unet.config, size }
    : ({ kind: unet.kind, config: unet.config, size: { ...size, tokens: 1 } } as NetworkSpec);
}

const smallestTextEncoder = (config: TextEncoderConfig): NetworkSpec => ({
  kind: "text_encoder",
  config,
  size: { batch: 1, tokens: config.maxPositions, skip: 0 },
});

/** An autoencoder's two networks, for square latents. */
function vaeSpecs(config: VaeConfig, edge: number): NetworkSpec[] {
  const small = { batch: 1, height: edge, width: edge };
  const large = { batch: 1, height: edge * config.factor, width: edge * config.factor };
  if (config.kind === "kl")
    return [
      { kind: "vae_encoder", config, size: large },
      { kind: "vae_decoder", config, size: small },
    ];
  if (config.kind === "tiny")
    return [
      { kind: "taesd_encoder", config, size: large },
      { kind: "taesd_decoder", config, size: small },
    ];
  return [
    { kind: "vq_encoder", config, size: large },
    { kind: "vq_decoder", config, size: small },
  ];
}

/** Those of its networks that its file holds; what decodes in the VAE's place need not encode. */
function taesdSpecs({ config, source }: NonNullable<Model["taesd"]>, edge: number): NetworkSpec[] {
  const all = vaeSpecs(config, edge);
  return isDecoderOnly(source) ? all.filter(({ kind }) => kind.endsWith("_decoder")) : all;
}

function readOwnVae({ vae, pipeline }: ModelSource): VaeConfig | undefined {
  if (!vae) return undefined;
  // Its UNet works on the codes as they are, whatever the config says.
  const unscaled = pipeline === "LDMSuperResolutionPipeline" && { scalingFactor: 1 };
  return { ...readVae(vae), ...unscaled };
}

function readReplacement({ vae, path }: ModelSource, network: Component): VaeConfig {
  if (!vae) throw new DiffusionError("BAD_OPTION", `${path} works on pixels and takes no VAE`);
  const { latentChannels, factor } = parseVaeConfig(vae.config, vae.className, fileOf(vae));
  const config = readVae(network);
  if (config.latentChannels === latentChannels && config.factor === factor) return config;
  throw new DiffusionError(
    "MODEL_KIND",
    `${placeOf(network)} has latents of ${config.latentChannels} channels and ${config.factor} pixels a cell, ${path} of ${latentChannels} and ${factor}`,
    { hint: "take an autoencoder that was made for this kind of model" },
  );
}

/** An autoencoder's config, of whatever kind. */
export const readVae = (network: Component): VaeConfig =>
  parseVaeConfig(network.config, network.className, fileOf(network));

/** Throws as `readModel`. */
function checkVae(network: Component, config: VaeConfig): void {
  const codebook: (readonly [string, Shape])[] =
    config.kind === "vq" ? [[codebookWeight, [config.codes, config.latentChannels]]] : [];
  check(network, vaeSpecs(config, 2), codebook);
}

/** The folder of a network's config and weights. */
export const folderOf = (network: Component): string => join(network.weights.path, "..");

/** Where its config stands, for errors: config.json, or the file whose tensors it was read off. */
export const fileOf = (network: Component): string =>
  isFolder(network) ? configFile(network) : network.weights.path;

/** What people call it: its folder, or the file that it has to itself. */
export const placeOf = (network: Component): string =>
  isFolder(network) ? folderOf(network) : network.weights.path;

const configFile = (network: Component): string => join(folderOf(network), "config.json");

const isFolder = (network: Component): boolean =>
  network.weights.layout.by === "diffusers" && existsSync(configFile(network));

/** Throws unless a network's weights are those of all networks that share them. */
export function check(
  network: Component,
  specs: readonly NetworkSpec[],
  others: readonly (readonly [string, Shape])[] = [],
): void {
  const checkpoint = network.open();
  try {
    checkWeights(checkpoint, specs, others);
  } finally {
    checkpoint.close();
  }
}

/**
 * The networks as a picture of the model's own size uses them, with guidance: for those who convert ahead of time.
 * Which form a weight is stored in can depend on the size.
 */
export function ownSizes({ textEncoders, unet, vae, taesd }: Model): {
  readonly textEncoders: readonly NetworkSpec[];
  readonly unet: NetworkSpec;
  readonly vae: readonly NetworkSpec[];
  readonly taesd: readonly NetworkSpec[];
} {
  const edge = unet.config.sampleSize;
  const size = { batch: 2, height: edge, width: edge };
  const tokens = textEncoders[0]?.maxPositions ?? 77;
  return {
    textEncoders: textEncoders.map((config) => ({
      kind: "text_encoder",
      config,
      size: { batch: 2, tokens: config.maxPositions, skip: 0 },
    })),
    unet:
      unet.kind === "unconditional_unet"
        ? { ...unet, size: { ...size, batch: 1 } }
        : ({ ...unet, size: { ...size, tokens } } as NetworkSpec),
    vae: vae ? vaeSpecs(vae, edge) : [],
    taesd: taesd ? taesdSpecs(taesd, edge) : [],
  };
}

/** Operations for one sample up to which a UNet's layers are too short to be shared between threads (bench/NOTES.md). */
const MOST_SHORT_FLOPS = 50e9;

/** Whether the samples of a batch are better computed side by side. */
export function isSmall({ unet }: Model): boolean {
  const edge = unet.config.sampleSize;
  const size = { batch: 1, height: edge, width: edge };
  const spec: NetworkSpec =
    unet.kind === "unconditional_unet" ? { ...unet, size } : { ...unet, size: { ...size, tokens: 77 } };
  return requirements(spec).flops < MOST_SHORT_FLOPS;
}
