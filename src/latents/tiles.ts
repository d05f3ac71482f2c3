import { DiffusionError, internal } from "../errors.js";
import { axesOf } from "./channels.js";
import { checkSize, mirror, type Region, type Size } from "./extent.js";
import type { Values } from "./latents.js";

/** The part of [B, H, W, C] inside `region`. */
export function cutTile(values: Values, { left, top, right, bottom }: Region): Values {
  const { batch, height, width, channels } = axesOf(values);
  if (left < 0 || top < 0 || right > width || bottom > height || left >= right || top >= bottom)
    throw internal(`tile ${left},${top} to ${right},${bottom} is not inside ${width}x${height}`);
  const row = (right - left) * channels;
  const data = new Float32Array(batch * (bottom - top) * row);
  let to = 0;
  for (let b = 0; b < batch; b++)
    for (let y = top; y < bottom; y++, to += row) {
      const from = ((b * height + y) * width + left) * channels;
      data.set(values.data.subarray(from, from + row), to);
    }
  return { shape: [batch, bottom - top, right - left, channels], data };
}

/** Continues [B, H, W, C] to multiples of `multiple` at the right and the bottom by mirroring; `cutTile` undoes it. */
export function padToMultiple(values: Values, multiple: number): Values {
  const { batch, height, width, channels } = axesOf(values);
  const up = (n: number): number => Math.ceil(n / multiple) * multiple;
  const [outHeight, outWidth] = [up(height), up(width)];
  if (outHeight === height && outWidth === width) return values;
  const data = new Float32Array(batch * outHeight * outWidth * channels);
  let to = 0;
  for (let b = 0; b < batch; b++)
    for (let y = 0; y < outHeight; y++)
      for (let x = 0; x < outWidth; x++) {
        const from = ((b * height + mirror(y, height)) * width + mirror(x, width)) * channels;
        for (let c = 0; c < channels; c++) data[to++] = values.data[from + c]!;
      }
  return { shape: [batch, outHeight, outWidth, channels], data };
}

/** Tiles of a VAE, row by row, and how their results are joined (`blend` and `keep` in cells of the output). */
export interface VaeTilePlan {
  readonly tiles: readonly Region[];
  readonly columns: number;
  readonly blend: number;
  readonly keep: number;
}

/**
 * The tiles of diffusers' AutoencoderKL (`tiled_encode`, `tiled_decode`). `sampleSize` is the side of a tile in
 * pixels (the VAE's `sample_size`), `factor` its pixels per latent cell, `size` the size of the input: pixels to
 * encode, latent cells to decode. diffusers tiles only what is larger than one tile on either side.
 */
export function planVaeTiles(
  size: Size,
  direction: "encode" | "decode",
  { sampleSize, factor, overlap = 0.25 }: { sampleSize: number; factor: number; overlap?: number },
): VaeTilePlan {
  checkSize(size, "what is tiled");
  const latentSize = Math.trunc(sampleSize / factor);
  if (!(overlap >= 0 && overlap < 1) || latentSize < 1)
    throw new DiffusionError(
      "BAD_OPTION",
      `tiles need an overlap from 0 to below 1 and at least one latent cell, got overlap ${overlap}, ${sampleSize} pixels`,
    );
  const [inTile, outTile] = direction === "encode" ? [sampleSize, latentSize] : [latentSize, sampleSize];
  const step = Math.max(1, Math.trunc(inTile * (1 - overlap)));
  const blend = Math.trunc(outTile * overlap);
  const starts = (length: number): number[] =>
    Array.from({ length: Math.ceil(length / step) }, (_, i) => i * step);
  const tiles = starts(size.height).flatMap((top) =>
    starts(size.width).map((left) => ({
      left,
      top,
      right: Math.min(left + inTile, size.width),
      bottom: Math.min(top + inTile, size.height),
    })),
  );
  return { tiles, columns: starts(size.width).length, blend, keep: outTile - blend };
}

/**
 * Joins what the VAE made of the tiles of a plan, as diffusers does: each tile fades in over the last `blend`
 * rows of the one above and columns of the one to its left (already faded themselves), then its first `keep`
 * rows and columns count.
 */
export function joinVaeTiles({ columns, blend, keep }: VaeTilePlan, outputs: readonly Values[]): Values {
  const done: Values[] = [];
  for (const [i, output] of outputs.entries()) {
    const tile = { shape: output.shape, data: output.data.slice() };
    if (i >= columns) fadeIn(done[i - columns]!, tile, blend, "down");
    if (i % columns > 0) fadeIn(done[i - 1]!, tile, blend, "right");
    done.push(tile);
  }
  const kept = done.map((tile) => {
    const { width, height } = axesOf(tile);
    return cutTile(tile, { left: 0, top: 0, right: Math.min(keep, width), bottom: Math.min(keep, height) });
  });
  return joinGrid(kept, columns);
}

/** The first rows (columns) of `tile` become a linear mix with the last ones of the tile `before` it. */
function fadeIn(before: Values, tile: Values, blend: number, direction: "down" | "right"): void {
  const [a, b] = [axesOf(before), axesOf(tile)];
  const down = direction === "down";
  const extent = Math.min(blend, down ? a.height : a.width, down ? b.height : b.width);
  const [rows, columns] = down
    ? [extent, Math.min(a.width, b.width)]
    : [Math.min(a.height, b.height), extent];
  const [shiftY, shiftX] = down ? [a.height - extent, 0] : [0, a.width - extent];
  for (let n = 0; n < b.batch; n++)
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const share = (down ? y : x) / extent;
        const from = ((n * a.height + y + shiftY) * a.width + x + shiftX) * a.channels;
        const to = ((n * b.height + y) * b.width + x) * b.channels;
        for (let c = 0; c < b.channels; c++)
          tile.data[to + c] = before.data[from + c]! * (1 - share) + tile.data[to + c]! * share;
      }
}

/** Tiles laid side by side, row by row. */
function joinGrid(tiles: readonly Values[], columns: number): Values {
  const axes = tiles.map(axesOf);
  const { batch, channels } = axes[0]!;
  const width = axes.slice(0, columns).reduce((sum, a) => sum + a.width, 0);
  const height = axes.filter((_, i) => i % columns === 0).reduce((sum, a) => sum + a.height, 0);
  const data = new Float32Array(batch * height * width * channels);
  let [left, top] = [0, 0];
  for (const [i, tile] of tiles.entries()) {
    const own = axes[i]!;
    const row = own.width * channels;
    for (let b = 0; b < batch; b++)
      for (let y = 0; y < own.height; y++) {
        const from = (b * own.height + y) * row;
        data.set(tile.data.subarray(from, from + row), ((b * height + top + y) * width + left) * channels);
      }
    left += own.width;
    if (i % columns === columns - 1) [left, top] = [0, top + own.height];
  }
  return { shape: [batch, height, width, channels], data };
}

/** Tiles of equal size that cover everything, row by row, for processing with `createTileBlend`. */
export interface TilePlan {
  readonly size: Size;
  readonly tiles: readonly Region[];
  readonly overlap: number;
}

/**
 * Tiles of at most `tile` cells a side, of equal sizes and spread evenly so that neighbours share at least `overlap`
 * cells and none hangs over the edge; as small as their number allows, so that no cell is done more often than
 * needed. Starts and sizes are multiples of `multiple`, as far as the size is.
 */
export function planTiles(
  size: Size,
  { tile, overlap, multiple = 1 }: { tile: number; overlap: number; multiple?: number },
): TilePlan {
  checkSize(size, "what is tiled");
  checkSize({ width: tile, height: multiple }, "a tile");
  if (!Number.isSafeInteger(overlap) || overlap < 0 || overlap + multiple > tile)
    throw new DiffusionError(
      "BAD_OPTION",
      `the overlap of tiles must be a whole number from 0 to ${tile - multiple}, got ${overlap}`,
    );
  const spread = (length: number, side: number, count: number): [number, number][] => {
    const last = Math.ceil((length - side) / multiple) * multiple;
    return Array.from({ length: count }, (_, i) => {
      const start = Math.floor((i * last) / (count - 1) / multiple) * multiple;
      return [start, Math.min(start + side, length)];
    });
  };
  const overlapping = (spans: readonly [number, number][]): boolean =>
    spans.every(([, end], i) => i === spans.length - 1 || end - spans[i + 1]![0] >= overlap);
  const spans = (length: number): [number, number][] => {
    if (length <= tile) return [[0, length]];
    const step = tile - overlap - ((tile - overlap) % multiple);
    const count = Math.ceil((Math.ceil((length - tile) / multiple) * multiple) / step) + 1;
    let side = Math.ceil((length + (count - 1) * overlap) / count / multiple) * multiple;
    while (side < tile && !overlapping(spread(length, side, count))) side += multiple;
    return spread(length, Math.min(side, tile), count);
  };
  const tiles = spans(size.height).flatMap(([top, bottom]) =>
    spans(size.width).map(([left, right]) => ({ left, top, right, bottom })),
  );
  return { size, tiles, overlap };
}

/**
 * Adds up processed tiles, each weighted by a ramp over its overlaps; the weights of all tiles sum to one in
 * every cell. `scale` is output cells per input cell (4 for an x4 upscaler, 8 to decode, 1/8 to encode).
 *
 * @param margin input cells beside the inner edges of a tile that do not count, less than half of the overlap
 */
export function createTileBlend(
  plan: TilePlan,
  { scale = 1, margin = 0 }: { scale?: number; margin?: number } = {},
) {
  const size = { width: Math.round(plan.size.width * scale), height: Math.round(plan.size.height * scale) };
  const spans = (from: "left" | "top", to: "right" | "bottom"): [number, number][] =>
    plan.tiles.map((tile) => [Math.round(tile[from] * scale), Math.round(tile[to] * scale)]);
  const dropped = margin * scale;
  const ramp = Math.max(1, plan.overlap * scale - 2 * dropped);
  const columns = spans("left", "right");
  const rows = spans("top", "bottom");
  const columnWeights = weightsOf(columns, size.width, { ramp, dropped });
  const rowWeights = weightsOf(rows, size.height, { ramp, dropped });
  let result: Values | undefined;

  return {
    /** Adds the result for tile `index` of the plan, [B, h, w, C] with h and w `scale` times the tile's. */
    add(index: number, values: Values): void {
      const { batch, height, width, channels } = axesOf(values);
      const [left, top] = [columns[index]![0], rows[index]![0]];
      if (width !== columns[index]![1] - left || height !== rows[index]![1] - top)
        throw internal(`tile ${index} came back as ${width}x${height}, which does not fit its place`);
      result ??= {
        shape: [batch, size.height, size.width, channels],
        data: new Float32Array(batch * size.height * size.width * channels),
      };
      let from = 0;
      for (let b = 0; b < batch; b++)
        for (let y = 0; y < height; y++) {
          let to = ((b * size.height + top + y) * size.width + left) * channels;
          for (let x = 0; x < width; x++) {
            const weight = rowWeights[index]![y]! * columnWeights[index]![x]!;
            for (let c = 0; c < channels; c++) result.data[to++]! += weight * values.data[from++]!;
          }
        }
    },
    /** The sum so far; complete once every tile has been added once. */
    values(): Values {
      if (!result) throw internal("no tile has been added");
      return result;
    },
  };
}

/** Per tile the weight of each of its cells along one axis; tiles over the same span share the weights. */
function weightsOf(
  spans: readonly [number, number][],
  length: number,
  { ramp, dropped }: { readonly ramp: number; readonly dropped: number },
): Float64Array[] {
  const raw = new Map<string, { start: number; weights: Float64Array }>();
  const sums = new Float64Array(length);
  for (const [start, end] of spans) {
    if (raw.has(`${start} ${end}`)) continue;
    const weights = Float64Array.from({ length: end - start }, (_, i) => {
      const fromStart = start === 0 ? ramp : i + 0.5 - dropped;
      const fromEnd = end === length ? ramp : end - start - i - 0.5 - dropped;
      return Math.max(0, Math.min(ramp, fromStart, fromEnd)) / ramp;
    });
    raw.set(`${start} ${end}`, { start, weights });
    for (const [i, weight] of weights.entries()) sums[start + i]! += weight;
  }
  for (const { start, weights } of raw.values())
    for (let i = 0; i < weights.length; i++) weights[i]! /= sums[start + i]!;
  return spans.map(([start, end]) => raw.get(`${start} ${end}`)!.weights);
}
