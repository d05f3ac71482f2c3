import type { Values } from "../../latents/latents.js";
import { quantise } from "../../latents/quantise.js";
import type { VaeSize } from "../../models/latent-space.js";
import type { SpecOf } from "../../models/registry.js";
import type { VaeConfig } from "../../models/vae-config.js";
import type { Run } from "../runner.js";
import { imageShape } from "./inputs.js";

/** A normal distribution in each latent value [B, h, w, C], unscaled. */
export interface Posterior {
  readonly mean: Values;
  /** -Infinity where the autoencoder gives a point (VQ models, TAESD). */
  readonly logvar: Values;
}

export interface VaeOptions {
  /** Works tile by tile, or never does; by default where the whole would take too much memory. */
  readonly tiling?: boolean;
  readonly onTile?: (done: number, total: number) => void;
  /** Stops between tiles. */
  readonly signal?: AbortSignal;
}

export interface Vae {
  readonly config: VaeConfig;
  /** Image [B, H, W, 3] in [-1, 1] to the posterior [B, H / f, W / f, C]; sides are continued to multiples of f. */
  encode(image: Values, options?: VaeOptions): Promise<Posterior>;
  /** Unscaled latents [B, h, w, C] to an image [B, h * f, w * f, 3], about [-1, 1]. */
  decode(latents: Values, options?: VaeOptions): Promise<Values>;
}

/** A VAE that works in one piece, at the size that it is given. */
export interface PlainVae {
  readonly config: VaeConfig;
  encode(image: Values): Promise<Posterior>;
  decode(latents: Values): Promise<Values>;
}

/** @param codebook of VQ models, read when it is first needed */
export function plainVae(config: VaeConfig, run: Run, codebook: () => Float32Array): PlainVae {
  return {
    config,
    async encode(image) {
      const [batch, height, width] = imageShape("image", image, config.inChannels);
      const encoded = await run(encoderSpec(config, { batch, height, width }), { image });
      if ("mean" in encoded) return encoded;
      const { shape, data } = encoded.latents;
      return {
        mean: encoded.latents,
        logvar: { shape, data: new Float32Array(data.length).fill(-Infinity) },
      };
    },
    async decode(latents) {
      const [batch, height, width] = imageShape("latents", latents, config.latentChannels);
      const given = config.kind === "vq" ? quantise(latents, codebook()) : latents;
      const { image } = await run(decoderSpec(config, { batch, height, width }), { latents: given });
      return image;
    },
  };
}

type Encoder = "vae_encoder" | "vq_encoder" | "taesd_encoder";

const encoderSpec = (config: VaeConfig, size: VaeSize): SpecOf<Encoder> =>
  config.kind === "kl"
    ? { kind: "vae_encoder", config, size }
    : config.kind === "vq"
      ? { kind: "vq_encoder", config, size }
      : { kind: "taesd_encoder", config, size };

type Decoder = "vae_decoder" | "vq_decoder" | "taesd_decoder";

const decoderSpec = (config: VaeConfig, size: VaeSize): SpecOf<Decoder> =>
  config.kind === "kl"
    ? { kind: "vae_decoder", config, size }
    : config.kind === "vq"
      ? { kind: "vq_decoder", config, size }
      : { kind: "taesd_decoder", config, size };
