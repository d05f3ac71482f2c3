import type { Region } from "../../image/image.js";
import type { Values } from "../../latents/latents.js";
import {
  createTileBlend,
  cutTile,
  joinVaeTiles,
  padToMultiple,
  planTiles,
  planVaeTiles,
} from "../../latents/tiles.js";
import type { VaeConfig } from "../../models/vae-config.js";
import type { PlainVae, Posterior, Vae, VaeOptions } from "./autoencoder.js";
import { imageShape } from "./inputs.js";

/**
 * What the layers at full resolution may hold before tiles are used. 1024x1024 pixels of a VAE with Stable
 * Diffusion's channels stay below, so models of the SDXL kind give diffusers' pictures at their own size.
 */
const MOST_BYTES = 2.75 * 2 ** 30;

/**
 * The same for one tile, whose peak is two to three times as much. 2048x2048 pixels of Stable Diffusion's VAE are decoded
 * in 16, with an eighth more cells; in nine larger ones they took 3.9 GB.
 */
const TILE_BYTES = 0.8 * 2 ** 30;

/** Latent cells that neighbouring tiles share, at least; diffusers' tiles share a quarter. */
const SHARED_CELLS = 5;
const SHARED = 0.25;

/**
 * A VAE for pictures of any size: sides that the factor does not divide are continued by mirroring, and large
 * pictures are worked on in tiles that fade into each other, so that the memory needed does not grow with the
 * picture. Tiles are as few as memory allows; those that are asked for are the ones of diffusers' `enable_vae_tiling`.
 *
 * @param tiling for calls that do not say
 */
export function anySizeVae(vae: PlainVae, tiling?: boolean): Vae {
  const { config } = vae;
  const { factor } = config;
  return {
    config,
    async encode(given, options = {}) {
      imageShape("image", given, config.inChannels);
      const image = padToMultiple(given, factor);
      const wanted = options.tiling ?? tiling;
      if (wanted) return encodeAsDiffusers(vae, image, options);
      return wanted === undefined && isLarge(config, image, 1)
        ? encodeInTiles(vae, image, options)
        : vae.encode(image);
    },
    async decode(latents, options = {}) {
      imageShape("latents", latents, config.latentChannels);
      const wanted = options.tiling ?? tiling;
      if (wanted) return decodeAsDiffusers(vae, latents, options);
      return wanted === undefined && isLarge(config, latents, factor)
        ? decodeInTiles(vae, latents, options)
        : vae.decode(latents);
    },
  };
}

async function decodeInTiles(vae: PlainVae, latents: Values, options: VaeOptions): Promise<Values> {
  const { factor } = vae.config;
  const plan = planFor(vae.config, latents, 1);
  const blend = createTileBlend(plan, { scale: factor });
  await eachTile(plan.tiles, options, async (tile, i) =>
    blend.add(i, await vae.decode(cutTile(latents, tile))),
  );
  return blend.values();
}

async function encodeInTiles(vae: PlainVae, image: Values, options: VaeOptions): Promise<Posterior> {
  const { factor } = vae.config;
  const plan = planFor(vae.config, image, factor);
  const [mean, logvar] = [createTileBlend(plan), createTileBlend(plan)];
  await eachTile(plan.tiles, options, async (tile, i) => {
    const posterior = await vae.encode(cutTile(image, scaled(tile, factor)));
    mean.add(i, posterior.mean);
    logvar.add(i, posterior.logvar);
  });
  return { mean: mean.values(), logvar: logvar.values() };
}

/** Tiles of latent cells. `factor`: pixels of `values` per cell. */
function planFor(config: VaeConfig, { shape }: Values, factor: number) {
  const pixels = Math.sqrt(TILE_BYTES / (bytesPerPixel(config) * shape[0]!));
  const tile = Math.max(2 * SHARED_CELLS, Math.floor(pixels / config.factor));
  const size = { width: shape[2]! / factor, height: shape[1]! / factor };
  return planTiles(size, { tile, overlap: SHARED_CELLS });
}

const scaled = ({ left, top, right, bottom }: Region, by: number): Region => ({
  ...{ left: left * by, top: top * by, right: right * by, bottom: bottom * by },
});

async function decodeAsDiffusers(vae: PlainVae, latents: Values, options: VaeOptions): Promise<Values> {
  const plan = diffusersPlan(vae.config, latents, "decode");
  const tiles: Values[] = [];
  await eachTile(plan.tiles, options, async (tile) => {
    tiles.push(await vae.decode(cutTile(latents, tile)));
  });
  return joinVaeTiles(plan, tiles);
}

async function encodeAsDiffusers(vae: PlainVae, image: Values, options: VaeOptions): Promise<Posterior> {
  const plan = diffusersPlan(vae.config, image, "encode");
  const tiles: Posterior[] = [];
  await eachTile(plan.tiles, options, async (tile) => {
    tiles.push(await vae.encode(cutTile(image, tile)));
  });
  const join = (part: keyof Posterior) =>
    joinVaeTiles(
      plan,
      tiles.map((tile) => tile[part]),
    );
  return { mean: join("mean"), logvar: join("logvar") };
}

function diffusersPlan({ factor, sampleSize }: VaeConfig, { shape }: Values, direction: "encode" | "decode") {
  // Whole quarters of whole cells, so that tiles meet exactly.
  const unit = 4 * factor;
  const side = Math.max(unit, sampleSize - (sampleSize % unit));
  const size = { width: shape[2]!, height: shape[1]! };
  return planVaeTiles(size, direction, { sampleSize: side, factor, overlap: SHARED });
}

async function eachTile(
  tiles: readonly Region[],
  { onTile, signal }: VaeOptions,
  work: (tile: Region, index: number) => Promise<void>,
): Promise<void> {
  for (const [i, tile] of tiles.entries()) {
    signal?.throwIfAborted();
    await work(tile, i);
    onTile?.(i + 1, tiles.length);
  }
}

/** `factor`: pixels per cell of `values`. */
const isLarge = (config: VaeConfig, { shape }: Values, factor: number): boolean =>
  shape[0]! * shape[1]! * shape[2]! * factor ** 2 * bytesPerPixel(config) > MOST_BYTES;

/** Of the layers at full resolution that are in memory at once: a ResNet's input, its norm, its output. */
function bytesPerPixel(config: VaeConfig): number {
  if (config.kind === "tiny") return 4 * 3 * config.decoder.width;
  const [first, second = first] = config.blockOutChannels;
  return 4 * (2 * second! + first!);
}
