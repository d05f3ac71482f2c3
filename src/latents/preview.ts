import { DiffusionError } from "../errors.js";
import { axesOf } from "./channels.js";
import type { Latents, Values } from "./latents.js";

/** A linear map from latent channels to RGB in [-1, 1]: `weights[channel][colour]` and a constant per colour. */
export interface PreviewMap {
  readonly weights: readonly (readonly number[])[];
  readonly bias: readonly number[];
}

/** Stable Diffusion 1's latents (scaled), as in diffusers' guide to callbacks. */
export const sd1Preview: PreviewMap = {
  weights: [
    [0.298, 0.207, 0.208],
    [0.187, 0.286, 0.173],
    [-0.158, 0.189, 0.264],
    [-0.184, -0.271, -0.473],
  ],
  bias: [0, 0, 0],
};

/** Latents as a small picture without the VAE: [B, h, w, C] to [B, h, w, 3] in [-1, 1]. */
export function previewRgb(latents: Latents, { weights, bias }: PreviewMap = sd1Preview): Values {
  const { batch, height, width, channels } = axesOf(latents);
  if (channels !== weights.length)
    throw new DiffusionError(
      "LAYER_SHAPE",
      `this preview is for ${weights.length} channels, got ${channels}`,
    );
  const data = new Float32Array(batch * height * width * 3);
  for (let cell = 0; cell < batch * height * width; cell++)
    for (let colour = 0; colour < 3; colour++) {
      let sum = bias[colour]!;
      for (let c = 0; c < channels; c++) sum += latents.data[cell * channels + c]! * weights[c]![colour]!;
      data[cell * 3 + colour] = Math.max(-1, Math.min(1, sum));
    }
  return { shape: [batch, height, width, 3], data };
}

/**
 * The map that fits a VAE best in the least-squares sense, from latents (scaled) and what the VAE decodes them
 * to: [B, h, w, C] and [B, h * factor, w * factor, 3] in [-1, 1]. Each cell is compared with the mean of its
 * pixels. Needs at least C + 1 cells that differ.
 */
export function fitPreview(latents: Latents, decoded: Values): PreviewMap {
  const { batch, height, width, channels } = axesOf(latents);
  const colours = cellMeans(decoded, height, width).data;
  const terms = channels + 1; // the last one is the constant
  const normal = Array.from({ length: terms }, () => new Float64Array(terms + 3));
  const row = new Float64Array(terms);
  for (let cell = 0; cell < batch * height * width; cell++) {
    row.set(latents.data.subarray(cell * channels, (cell + 1) * channels));
    row[channels] = 1;
    for (let a = 0; a < terms; a++) {
      for (let b = 0; b < terms; b++) normal[a]![b]! += row[a]! * row[b]!;
      for (let c = 0; c < 3; c++) normal[a]![terms + c]! += row[a]! * colours[cell * 3 + c]!;
    }
  }
  const solution = solve(normal);
  return { weights: solution.slice(0, channels), bias: solution[channels]! };
}

/** The mean over the pixels of each cell: [B, h * factor, w * factor, 3] to [B, h, w, 3]. */
function cellMeans(image: Values, height: number, width: number): Values {
  const axes = axesOf(image);
  const [tall, wide] = [axes.height / height, axes.width / width];
  if (!Number.isInteger(tall) || !Number.isInteger(wide) || axes.channels !== 3)
    throw new DiffusionError(
      "LAYER_SHAPE",
      `expected pictures of a multiple of ${width}x${height} and 3 channels, got [${image.shape.join(", ")}]`,
    );
  const data = new Float32Array(axes.batch * height * width * 3);
  for (let i = 0; i < image.data.length; i++) {
    const pixel = Math.floor(i / 3);
    const x = Math.floor((pixel % axes.width) / wide);
    const y = Math.floor(Math.floor(pixel / axes.width) / tall); // rows of the whole batch
    data[(y * width + x) * 3 + (i % 3)]! += image.data[i]! / (tall * wide);
  }
  return { shape: [axes.batch, height, width, 3], data };
}

/** Gauss-Jordan elimination with pivoting on rows of n coefficients and 3 right-hand sides; gives n rows of 3. */
function solve(rows: Float64Array[]): number[][] {
  const n = rows.length;
  for (let i = 0; i < n; i++) {
    let pivot = i;
    for (let r = i + 1; r < n; r++) if (Math.abs(rows[r]![i]!) > Math.abs(rows[pivot]![i]!)) pivot = r;
    [rows[i], rows[pivot]] = [rows[pivot]!, rows[i]!];
    const lead = rows[i]![i]!;
    if (Math.abs(lead) < 1e-9)
      throw new DiffusionError("BAD_OPTION", "these latents are too much alike to fit a preview", {
        hint: "Use more cells, or latents of different pictures.",
      });
    for (let k = i; k < n + 3; k++) rows[i]![k]! /= lead;
    for (let r = 0; r < n; r++) {
      const factor = rows[r]![i]!;
      if (r !== i && factor !== 0) for (let k = i; k < n + 3; k++) rows[r]![k]! -= factor * rows[i]![k]!;
    }
  }
  return rows.map((row) => [...row.subarray(n)]);
}
