import { DiffusionError } from "../errors.js";
import type { Settings } from "./config.js";
import { divided, f32, linear, quotient } from "./vector.js";

type Prediction = Settings["prediction_type"];

/**
 * The clean image that the network's output means, where sample = alpha * clean + sigma * noise.
 * v = alpha * noise - sigma * clean: Salimans and Ho 2022 (arXiv:2202.00512).
 */
export function cleanOf(
  type: Prediction,
  sample: Float32Array,
  output: Float32Array,
  alpha: number,
  sigma: number,
): Float32Array {
  if (type === "epsilon") return quotient(sample, sigma, output, alpha);
  if (type === "v_prediction") return linear([alpha, sample], [-sigma, output]);
  return output;
}

/**
 * The same where sample = signal * clean + noise * noise with any factors. Where nothing of the clean image is left, a
 * prediction of the noise says nothing about it: then the sample itself.
 */
export function cleanIn(
  type: Prediction,
  sample: Float32Array,
  output: Float32Array,
  [signal, noise]: readonly [signal: number, noise: number],
): Float32Array {
  if (signal === 0 && type === "epsilon") return sample;
  const norm = f32(Math.hypot(signal, noise));
  return cleanOf(type, divided(sample, norm), output, f32(signal / norm), f32(noise / norm));
}

/** The noise that the network's output means, where sample = alpha * clean + sigma * noise. */
export function noiseOf(
  type: Prediction,
  sample: Float32Array,
  output: Float32Array,
  alpha: number,
  sigma: number,
): Float32Array {
  if (type === "epsilon") return output;
  if (type === "v_prediction") return linear([alpha, output], [sigma, sample]);
  return quotient(sample, alpha, output, sigma);
}

/** The clean image where sample = clean + sigma * noise (Karras et al. 2022, arXiv:2206.00364). */
export function denoised(
  type: Prediction,
  sample: Float32Array,
  output: Float32Array,
  sigma: number,
): Float32Array {
  if (type === "epsilon") return linear([1, sample], [-sigma, output]);
  if (type !== "v_prediction") return output;
  const variance = f32(f32(sigma * sigma) + 1);
  return linear([-sigma / f32(Math.sqrt(variance)), output], [1, divided(sample, variance)]);
}

/** v for training and tests: sqrt(alpha bar) * noise - sqrt(1 - alpha bar) * sample. */
export const velocity = (alphaBar: number, sample: Float32Array, noise: Float32Array): Float32Array =>
  linear([f32(Math.sqrt(alphaBar)), noise], [-f32(Math.sqrt(f32(1 - alphaBar))), sample]);

/** The predicted clean image, kept in range: see `restrained`. */
export function predictedClean(
  c: Settings,
  sample: Float32Array,
  output: Float32Array,
  alpha: number,
  sigma: number,
  batch: number,
): Float32Array {
  const limit = c.clip_sample_range;
  // At zero terminal SNR a noise prediction says nothing about the image: it is infinite, and clipping bounds it.
  if (alpha === 0 && c.prediction_type === "epsilon" && c.clip_sample && !c.thresholding)
    return linear([1, sample], [-sigma, output]).map((x) => Math.sign(x) * limit);
  return restrained(cleanOf(c.prediction_type, sample, output, alpha, sigma), c, batch);
}

/**
 * Keeps a predicted clean image in range: dynamic thresholding image by image (Saharia et al. 2022,
 * arXiv:2205.11487, section 2.3), else clipping, else nothing.
 */
export function restrained(clean: Float32Array, c: Settings, batch: number): Float32Array {
  if (c.thresholding) {
    const out = new Float32Array(clean.length);
    const size = clean.length / batch;
    for (let start = 0; start < clean.length; start += size) {
      const image = clean.subarray(start, start + size);
      const quantile = quantileOf(magnitudes(image), c.dynamic_thresholding_ratio);
      const s = f32(Math.min(Math.max(quantile, 1), c.sample_max_value));
      for (let i = 0; i < size; i++) out[start + i] = Math.min(Math.max(image[i]!, -s), s) / s;
    }
    return out;
  }
  if (!c.clip_sample) return clean;
  const limit = c.clip_sample_range;
  return clean.map((x) => Math.min(Math.max(x, -limit), limit));
}

function magnitudes(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = Math.abs(values[i]!);
  return out;
}

/** torch.quantile: linear between the two neighbouring order statistics. Reorders `values`. */
function quantileOf(values: Float32Array, ratio: number): number {
  const rank = f32(f32(ratio) * (values.length - 1));
  const below = Math.floor(rank);
  const low = select(values, below);
  let high = rank > below ? Number.POSITIVE_INFINITY : low;
  if (rank > below) for (let i = below + 1; i < values.length; i++) high = Math.min(high, values[i]!);
  return low + (high - low) * (rank - below);
}

/** Quickselect: puts the k-th smallest value at index k, smaller ones before it, larger ones behind it. */
function select(values: Float32Array, k: number): number {
  let [left, right] = [0, values.length - 1];
  while (left < right) {
    const pivot = values[(left + right) >> 1]!;
    let [i, j] = [left, right];
    while (i <= j) {
      while (values[i]! < pivot) i++;
      while (values[j]! > pivot) j--;
      if (i <= j) {
        const swapped = values[i]!;
        values[i] = values[j]!;
        values[j] = swapped;
        i++;
        j--;
      }
    }
    if (k <= j) right = j;
    else if (k >= i) left = i;
    else break;
  }
  return values[k]!;
}

/**
 * Takes apart the output of a network that also predicts the variance: twice the channels, NHWC.
 * @throws {DiffusionError} BAD_OPTION when it is neither as long as the sample nor twice as long.
 */
export function splitVariance(
  output: Float32Array,
  length: number,
  channels: number | undefined,
): { output: Float32Array; variance?: Float32Array } {
  if (output.length === length) return { output };
  if (output.length !== 2 * length || !channels)
    throw new DiffusionError(
      "BAD_OPTION",
      `scheduler: an output of ${output.length} numbers does not fit a sample of ${length}`,
      {
        hint: "a network that also predicts the variance needs `shape`, the latents' NHWC shape, in the run options",
      },
    );
  const [mean, variance] = [new Float32Array(length), new Float32Array(length)];
  for (let i = 0; i < length; i++) {
    const source = Math.floor(i / channels) * 2 * channels + (i % channels);
    mean[i] = output[source]!;
    variance[i] = output[source + channels]!;
  }
  return { output: mean, variance };
}
