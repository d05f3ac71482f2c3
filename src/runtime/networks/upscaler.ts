import type { Values } from "../../latents/latents.js";
import { createTileBlend, cutTile, padToMultiple, planTiles } from "../../latents/tiles.js";
import { type UpscalerConfig, upscalerConfig } from "../../models/upscaler-config.js";
import { openWeights, type WeightsPlace } from "../../weights/component.js";
import type { Engine } from "../process/engine.js";
import { checkWeights } from "../requirements.js";
import type { Run } from "../runner.js";
import { imageShape } from "./inputs.js";
import { type NetworksOptions, runnerOf } from "./network-runner.js";
import { unshuffled } from "./t2i-adapter.js";

/** A network that enlarges pictures: ESRGAN or SRVGGNetCompact. */
export interface Upscaler {
  readonly config: UpscalerConfig;
  /** Picture [B, H, W, 3] in [0, 1] to [B, H * scale, W * scale, 3], about [0, 1]. Large ones are worked on in tiles. */
  run(image: Values, options?: EnlargeOptions): Promise<Values>;
  /** Gives the memory of the network back; the next run loads it again. */
  unload(): Promise<void>;
}

export interface EnlargeOptions {
  readonly onTile?: (done: number, total: number) => void;
  /** Stops between tiles. */
  readonly signal?: AbortSignal;
}

/** An upscaler's file, whose weights are known to fit the network that they are read as. */
export interface UpscalerFile {
  readonly weights: WeightsPlace;
  readonly config: UpscalerConfig;
}

/** @throws DiffusionError FILE_MISSING, FILE_FORMAT, MODEL_KIND, UNSUPPORTED, WEIGHT_MISSING, WEIGHT_SHAPE, WEIGHT_UNUSED */
export function readUpscaler(path: string): UpscalerFile {
  const weights: WeightsPlace = { path, layout: { by: "original", network: "upscaler" } };
  const checkpoint = openWeights(weights);
  try {
    const config = upscalerConfig(checkpoint.tensors, path);
    const edge = config.kind === "rrdb" ? config.shuffle : 1;
    const size = { batch: 1, height: edge, width: edge };
    checkWeights(checkpoint, [
      config.kind === "rrdb" ? { kind: "rrdb", config, size } : { kind: "srvgg", config, size },
    ]);
    return { weights, config };
  } finally {
    checkpoint.close();
  }
}

/** Bytes that the largest layers of one tile may hold: 256x256 pixels of an ESRGAN x4, or more of smaller networks. */
const TILE_BYTES = 0.5 * 2 ** 30;
/** No picture that is seen gains by larger tiles than these. */
const LARGEST_TILE = 1024;
/** Pixels over which neighbouring tiles fade into each other. */
const FADE = 16;
/** Of ESRGAN's, pixels beside an inner edge that are thrown away: what lies further off has little say in them. */
const RRDB_MARGIN = 8;

export function createUpscaler(
  { weights, config }: UpscalerFile,
  engine: Engine,
  options: NetworksOptions,
  tile = largestTile(config),
): Upscaler {
  const run = runnerOf({ label: `${weights.path} upscaler`, weights }, "upscaler", engine, options);
  const margin = config.kind === "srvgg" ? config.convolutions + 2 : RRDB_MARGIN;
  const multiple = config.kind === "rrdb" ? config.shuffle : 1;
  return {
    config,
    async run(given, { onTile, signal } = {}) {
      const [, height, width] = imageShape("image", given, 3);
      const image = padToMultiple(given, multiple);
      const size = { width: image.shape[2]!, height: image.shape[1]! };
      const plan = planTiles(size, { tile, overlap: FADE + 2 * margin, multiple });
      const blend = createTileBlend(plan, { scale: config.scale, margin });
      for (const [i, region] of plan.tiles.entries()) {
        signal?.throwIfAborted();
        blend.add(i, await enlarge(config, cutTile(image, region), run));
        onTile?.(i + 1, plan.tiles.length);
      }
      const [bottom, right] = [height * config.scale, width * config.scale];
      return image === given ? blend.values() : cutTile(blend.values(), { left: 0, top: 0, right, bottom });
    },
    unload: run.unload,
  };
}

/** Side of the largest tile, in pixels of the picture that is enlarged. */
export function largestTile({ features, scale, kind }: UpscalerConfig): number {
  const bytesPerPixel = 4 * features * 2 * (kind === "rrdb" ? scale ** 2 : 1);
  return Math.min(LARGEST_TILE, Math.floor(Math.sqrt(TILE_BYTES / bytesPerPixel)));
}

async function enlarge(config: UpscalerConfig, image: Values, run: Run): Promise<Values> {
  const [batch, height, width] = image.shape as [number, number, number, number];
  const size = { batch, height, width };
  if (config.kind === "rrdb") {
    const squares = unshuffled(image, config.shuffle);
    return (await run({ kind: "rrdb", config, size }, { squares })).image;
  }
  const { squares } = await run({ kind: "srvgg", config, size }, { image });
  return onEnlargement(image, squares, config.scale);
}

/** The nearest-neighbour enlargement of a picture, and on it squares of channels in the order of PixelShuffle. */
function onEnlargement({ shape, data }: Values, squares: Values, scale: number): Values {
  const [batch, height, width, colours] = shape as [number, number, number, number];
  const out = new Float32Array(data.length * scale ** 2);
  let from = 0;
  for (let b = 0; b < batch; b++)
    for (let row = 0; row < height; row++)
      for (let column = 0; column < width; column++) {
        const pixel = ((b * height + row) * width + column) * colours;
        for (let c = 0; c < colours; c++)
          for (let y = 0; y < scale; y++)
            for (let x = 0; x < scale; x++) {
              const line = (b * height + row) * scale + y;
              const to = (line * width * scale + column * scale + x) * colours + c;
              out[to] = data[pixel + c]! + squares.data[from++]!;
            }
      }
  return { shape: [batch, height * scale, width * scale, colours], data: out };
}
