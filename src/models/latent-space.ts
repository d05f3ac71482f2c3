import type { Tensor } from "../ops/ops.js";

/** What those who use an autoencoder must know of it, whatever its kind. */
export interface LatentSpace {
  readonly inChannels: number; // 3
  readonly outChannels: number; // 3
  readonly latentChannels: number; // 4
  /** Pixels per latent cell in each direction. */
  readonly factor: number; // 8
  /** Side in pixels of the pictures that it was trained on, and of a tile. */
  readonly sampleSize: number; // 512
  readonly scalingFactor: number; // 0.18215
  readonly shiftFactor: number; // 0
  /** Per channel, for models that normalise their latents. */
  readonly latentsMean?: readonly number[];
  readonly latentsStd?: readonly number[];
}

/** Height and width are pixels for the encoder, latent cells for the decoder. */
export interface VaeSize {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
}

/** A picture: [B, H, W, 3] in [-1, 1] going in, about [-1, 1] coming out. */
export type OfImage = { readonly image: Tensor };

/** Latents [B, H / f, W / f, C]. */
export type OfLatents = { readonly latents: Tensor };
