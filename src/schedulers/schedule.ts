import type { Settings } from "./config.js";
import { f32 } from "./vector.js";

/** The noise of the forward process at every training timestep, in float32 as PyTorch keeps it. */
export interface NoiseSchedule {
  /** alpha bar: the part of the clean image's variance that is left at timestep t, falling from near 1 to near 0. */
  readonly alphas: Float32Array;
  /** sigma = sqrt((1 - alpha bar) / alpha bar), the noise level in units of the clean image, rising. */
  readonly sigmas: Float32Array;
}

/**
 * @param terminal what replaces an alpha bar of exactly 0 at the last timestep (zero terminal SNR). The rules that
 * work on sigmas take 2^-24, so that sigma stays finite (4096); the others keep the 0.
 * @param root the square root of float32 numbers, for levels that need PyTorch's (see `torch-functions.ts`)
 */
export function noiseSchedule(c: Settings, terminal = 0, root = Math.sqrt): NoiseSchedule {
  const betas = c.rescale_betas_zero_snr ? zeroTerminalSnr(trainingBetas(c), root) : trainingBetas(c);
  const alphas = cumulativeAlphas(betas);
  if (c.rescale_betas_zero_snr && terminal > 0) alphas[alphas.length - 1] = terminal;
  return { alphas, sigmas: alphas.map((a) => root(f32(f32(1 - a) / a))) };
}

function trainingBetas(c: Settings): Float32Array {
  const n = c.num_train_timesteps;
  if (c.trained_betas) return Float32Array.from(c.trained_betas);
  switch (c.beta_schedule) {
    case "linear":
      return torchLinspace(c.beta_start, c.beta_end, n);
    case "scaled_linear":
      return torchLinspace(Math.sqrt(c.beta_start), Math.sqrt(c.beta_end), n).map((root) => root * root);
    case "sigmoid":
      return torchLinspace(-6, 6, n).map(
        (x) => f32(f32(1 / (1 + Math.exp(-x))) * f32(c.beta_end - c.beta_start)) + f32(c.beta_start),
      );
    case "squaredcos_cap_v2":
      return betasFor((t) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2, n);
    case "laplace":
      return betasFor(laplace, n);
    case "exp":
      return betasFor((t) => Math.exp(-12 * t), n);
  }
}

/** Nichol and Dhariwal 2021 (arXiv:2102.09672), eq. 17: betas from a function for alpha bar, at most 0.999. */
function betasFor(alphaBar: (t: number) => number, n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) =>
    Math.min(1 - alphaBar((i + 1) / n) / alphaBar(i / n), 0.999),
  );
}

/** Hang and Gu 2024 (arXiv:2407.03297): Laplace distributed log SNR, here with location 0 and scale 0.5. */
function laplace(t: number): number {
  const lambda = -0.5 * (t > 0.5 ? -1 : 1) * Math.log(1 - 2 * Math.abs(0.5 - t) + 1e-6);
  const snr = Math.exp(lambda);
  return Math.sqrt(snr / (1 + snr));
}

/** Lin et al. 2023 (arXiv:2305.08891), algorithm 1: shifts and scales sqrt(alpha bar) so that it ends in 0. */
function zeroTerminalSnr(betas: Float32Array, root: (x: number) => number): Float32Array {
  const roots = cumulativeAlphas(betas).map(root);
  const [first, last] = [roots[0]!, roots.at(-1)!];
  const scale = f32(first / f32(first - last));
  const bars = roots.map((r) => f32(f32(r - last) * scale) ** 2);
  return bars.map((bar, i) => 1 - f32(i === 0 ? bar : bar / bars[i - 1]!));
}

/** torch.cumprod multiplies in double precision and rounds each result. */
function cumulativeAlphas(betas: Float32Array): Float32Array {
  let running = 1;
  return betas.map((beta) => {
    running *= f32(1 - beta);
    return running;
  });
}

/** torch.linspace in float32: from both ends towards the middle, each value a fused multiply and add. */
export function torchLinspace(start: number, end: number, n: number): Float32Array {
  const [a, b] = [f32(start), f32(end)];
  if (n === 1) return Float32Array.of(a);
  const step = f32(f32(b - a) / (n - 1));
  return Float32Array.from({ length: n }, (_, i) =>
    i < Math.floor(n / 2) ? a + step * i : b - step * (n - 1 - i),
  );
}
