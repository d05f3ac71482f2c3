import { DiffusionError } from "../errors.js";
import { depths } from "./fade.js";
import { channelsOf, type Image, type Mask } from "./image.js";

/** Differences of this many levels count half, larger ones soon nothing: then the picture shows something else. */
const DOUBT = 40;

/** Pixels from the kept part over which the change fades: farther away nothing shows that colours are off. */
const REACH = 64;

/** Cells of 2^FINEST pixels a side are the finest that the unknown part is filled from, so that it gets no streaks. */
const FINEST = 2;

/** Red, green, blue. */
type Triple = [number, number, number];

interface Level {
  readonly width: number;
  readonly height: number;
  /** Three a cell. */
  readonly values: Float32Array;
  /** 0 (unknown) to 1. */
  readonly weights: Float32Array;
}

/**
 * Models paint in colours that are a little off: what they make of the part of a picture that is kept shows by how
 * much. This difference is continued into the part that is new, smoothly, and taken away there, less and less with the
 * distance: the pull-push interpolation of Gortler et al. 1996 (The Lumigraph, section 3.4). Where the kept part came
 * out as something else altogether it tells little.
 *
 * @param painted all of the picture as the model made it, RGB
 * @param original what is kept of it counts, where `mask` is 0; RGB of the same size
 * @returns `painted` with its colours brought to those of `original`
 */
export function matchColours(painted: Image, original: Image, mask: Mask): Image {
  const { width, height } = painted;
  for (const other of [original, mask])
    if (other.width !== width || other.height !== height)
      throw new DiffusionError(
        "BAD_IMAGE",
        `expected pictures of one size, got ${width}x${height} and ${other.width}x${other.height}`,
      );
  const [step, from] = [channelsOf(painted), channelsOf(original)];
  const differences = new Float32Array(width * height * 3);
  const weights = new Float32Array(width * height);
  for (let i = 0; i < weights.length; i++) {
    if (mask.data[i] !== 0) continue;
    let largest = 0;
    for (let c = 0; c < 3; c++) {
      const difference = original.data[i * from + c]! - painted.data[i * step + c]!;
      differences[i * 3 + c] = difference;
      largest = Math.max(largest, Math.abs(difference));
    }
    weights[i] = 1 / (1 + (largest / DOUBT) ** 4);
  }
  const shift = filled({ width, height, values: differences, weights });
  const depth = depths(mask);
  const data = painted.data.slice();
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      const share = Math.max(0, 1 - depth[i]! / REACH);
      if (share === 0) continue;
      const at = shift(x, y);
      for (let c = 0; c < 3; c++) data[i * step + c] = clamped(data[i * step + c]! + share * at[c]!);
    }
  return { width, height, data };
}

const clamped = (value: number): number => Math.min(255, Math.max(0, Math.round(value)));

/** The differences everywhere: coarser and coarser averages of what is known, then back to finer cells. */
function filled(finest: Level): (x: number, y: number) => Triple {
  const levels = [finest];
  for (let level = finest; level.width > 1 || level.height > 1; levels.push(level)) level = halved(level);
  let known = levels.at(-1)!;
  for (const level of levels.slice(FINEST, -1).reverse()) known = completed(level, known);
  const cell = 2 ** Math.min(FINEST, levels.length - 1);
  const at: Triple = [0, 0, 0];
  return (x, y) => sample(known, x / cell, y / cell, 0.5 / cell, at);
}

/** Weighted means of two by two cells. */
function halved({ width, height, values, weights }: Level): Level {
  const [w, h] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const out = { width: w, height: h, values: new Float32Array(w * h * 3), weights: new Float32Array(w * h) };
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const [from, to] = [y * width + x, (y >> 1) * w + (x >> 1)];
      const weight = weights[from]!;
      out.weights[to]! += weight;
      for (let c = 0; c < 3; c++) out.values[to * 3 + c]! += weight * values[from * 3 + c]!;
    }
  for (let i = 0; i < out.weights.length; i++) {
    const sum = out.weights[i]!;
    if (sum > 0) for (let c = 0; c < 3; c++) out.values[i * 3 + c]! /= sum;
    out.weights[i] = Math.min(1, sum);
  }
  return out;
}

/** Cells that know little take the rest from the level above. */
function completed(level: Level, coarser: Level): Level {
  const { width, height, weights } = level;
  const values = level.values.slice();
  const around: Triple = [0, 0, 0];
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) {
      const known = weights[i]!;
      if (known === 1) continue;
      sample(coarser, x / 2, y / 2, 0.25, around);
      for (let c = 0; c < 3; c++) values[i * 3 + c] = known * values[i * 3 + c]! + (1 - known) * around[c]!;
    }
  return { width, height, values, weights };
}

/**
 * Bilinear, at a corner in cells plus `centre`, both of cells whose centres lie at one half.
 *
 * @param out is filled and returned: this runs for every pixel
 */
function sample({ width, height, values }: Level, x: number, y: number, centre: number, out: Triple): Triple {
  const [px, py] = [x + centre - 0.5, y + centre - 0.5];
  const [left, top] = [Math.floor(px), Math.floor(py)];
  const [dx, dy] = [px - left, py - top];
  const column = Math.max(0, left) * 3;
  const right = Math.min(width - 1, left + 1) * 3;
  const upper = Math.max(0, top) * width * 3;
  const lower = Math.min(height - 1, top + 1) * width * 3;
  for (let c = 0; c < 3; c++) {
    const above = values[upper + column + c]! * (1 - dx) + values[upper + right + c]! * dx;
    const below = values[lower + column + c]! * (1 - dx) + values[lower + right + c]! * dx;
    out[c] = above * (1 - dy) + below * dy;
  }
  return out;
}
