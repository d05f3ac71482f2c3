import type { Adapters } from "../adapters/adapted-checkpoint.js";
import { DiffusionError } from "../errors.js";
import { nameOfModel } from "../hub/cache.js";
import type { Size } from "../image/image.js";
import type { LatentSpace } from "../models/latent-space.js";
import { checkGenerationDefaults } from "../options/generation-defaults.js";
import type { ModelTraits } from "../options/resolved.js";
import type { Model } from "../runtime/model.js";
import type { Vae } from "../runtime/networks/autoencoder.js";
import type { Networks } from "../runtime/networks/networks.js";
import type { TextEncoder } from "../runtime/networks/text-encoder.js";
import type { SchedulerConfig } from "../schedulers/config.js";
import type { Tokenizer } from "../text/tokenizer.js";

/** A model in use: its configs, its networks, its tokenizers. */
export interface Loaded {
  readonly model: Model;
  readonly networks: Networks;
  /** One for each text encoder. */
  readonly tokenizers: readonly Tokenizer[];
  readonly traits: ModelTraits;
  /** Results are left to the VAE. */
  readonly taesdFor?: "previews";
}

/** The same with these adapters over its weights, and the tokenizers that know their words. */
export const withAdapters = (
  loaded: Loaded,
  { adapters, tokenizers }: { adapters: Adapters; tokenizers: readonly Tokenizer[] },
): Loaded => ({ ...loaded, tokenizers, networks: loaded.networks.adapted(adapters) });

/** What the UNet sees beside the latents, by how many channels that has. */
const seen = { 5: "mask", 4: "image", 3: "lowres" } as const;

/** Channels of the latents; of pictures, for models that work on pixels. */
const latentChannels = ({ vae, unet }: Model): number => vae?.latentChannels ?? unet.config.inChannels;

/**
 * What a model can do, and what its own settings are.
 *
 * @throws DiffusionError FILE_FORMAT for defaults of its own that cannot be
 */
export function traitsOf(model: Model): ModelTraits {
  const { generationDefaults: own } = model.source;
  const traits = traitsOfKind(model);
  return own ? { ...traits, defaults: checkGenerationDefaults(own.path, own.content, traits) } : traits;
}

function traitsOfKind(model: Model): ModelTraits {
  const { source, textEncoders, unet, factor } = model;
  const channels = latentChannels(model);
  return {
    name: nameOfModel(source.path),
    hasText: textEncoders.length > 0,
    textEncoders: textEncoders.length,
    sees:
      unet.kind === "k_unet"
        ? "lowres"
        : (seen[(unet.config.inChannels - channels) as keyof typeof seen] ?? "latents"),
    ...(unet.kind === "k_unet" && {
      // What it is shown is doubled first.
      latentUpscaling: { scale: 2, multiple: (factor * 2 ** (unet.config.levels.length - 1)) / 2 },
    }),
    ...(source.settings.requires_aesthetics_score === true && { isRefiner: true }),
    ...(ignoresWebuiClipSkip(model) && { ignoresWebuiClipSkip: true }),
    guidanceEmbedding: unet.kind === "unet" && unet.config.timeCondDim !== undefined,
    factor,
    channels,
    ...(model.vae?.kind === "kl" && { scaling: scalingInWords(model.vae) }),
    ...(source.lowResScheduler && { mostNoise: Number(source.settings.max_noise_level ?? 350) }),
    size: unet.config.sampleSize * factor,
    scheduler: source.scheduler as SchedulerConfig,
  };
}

/** Equal for models that understand each other's latents. A small decoder takes all of its family, and scales none. */
function scalingInWords({ scalingFactor, shiftFactor, latentsMean, latentsStd }: LatentSpace): string {
  return [
    `by ${scalingFactor}`,
    ...(shiftFactor === 0 ? [] : [`shifted by ${shiftFactor}`]),
    ...(latentsMean ? [`with the means ${latentsMean.join(", ")}`] : []),
    ...(latentsStd ? [`with the deviations ${latentsStd.join(", ")}`] : []),
  ].join(", ");
}

/** Only OpenAI's CLIP by itself is cut short there; XL's two, and OpenCLIP, which has another activation, are not. */
const ignoresWebuiClipSkip = ({ textEncoders, unet }: Model): boolean =>
  textEncoders.some(({ activation }) => activation !== "quick_gelu") ||
  (unet.kind === "unet" && unet.config.added !== undefined);

/** [1, h, w, C] of the latents of one picture. */
export const latentShape = (
  { traits: { factor, channels } }: Pick<Loaded, "traits">,
  { width, height }: Size,
): number[] => [1, height / factor, width / factor, channels];

export function vaeOf({ traits, networks }: Loaded): Vae {
  if (networks.vae) return networks.vae;
  throw new DiffusionError("MODEL_KIND", `${traits.name} works on pixels and has no VAE`);
}

export function textEncodersOf({ traits, networks: { textEncoders } }: Loaded): readonly TextEncoder[] {
  if (textEncoders.length > 0) return textEncoders;
  throw new DiffusionError("MODEL_KIND", `${traits.name} is unconditional and has no text encoder`);
}
