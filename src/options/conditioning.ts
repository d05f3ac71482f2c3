import type { Values } from "../latents/latents.js";

/** What a prompt becomes before it reaches the UNet. */
export interface Conditioning {
  /** [1, T, D] */
  readonly context: Values;
  /** SDXL and latent upscalers: [1, P]. */
  readonly pooled?: Values;
}
