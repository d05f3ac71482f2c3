import type { Settings } from "../config.js";
import type { Level } from "../plan.js";
import { cleanOf, noiseOf, predictedClean, restrained } from "../prediction.js";
import { f32, linear, type Term } from "../vector.js";

type Algorithm = Settings["algorithm_type"];

/** What DPM-Solver integrates: the clean image for the ++ variants, the noise for the others. */
export function converted(
  c: Settings,
  algorithm: Algorithm,
  level: Level,
  sample: Float32Array,
  output: Float32Array,
  batch: number,
): Float32Array {
  const { alpha, sigma } = level;
  if (algorithm.endsWith("++")) return predictedClean(c, sample, output, alpha, sigma, batch);
  const epsilon = noiseOf(c.prediction_type, sample, output, alpha, sigma);
  if (!c.thresholding) return epsilon;
  return noiseOf(
    "sample",
    sample,
    restrained(cleanOf("epsilon", sample, epsilon, alpha, sigma), c, batch),
    alpha,
    sigma,
  );
}

/**
 * The coefficients of one step from level s to level t over h = lambda_t - lambda_s: Lu et al. 2022
 * (arXiv:2206.00927; ++: arXiv:2211.01095, with the SDE forms of its appendix).
 * x_t = sample * x_s + d0 * D0 + d1 * D1 + d2 * D2 + noise * z, with D the divided differences of the outputs.
 */
export interface Coefficients {
  readonly sample: number;
  readonly d0: number;
  /** Midpoint form of the first difference. */
  readonly d1Midpoint: number;
  /** Taylor ("heun") form of the first difference, also used by the third-order steps. */
  readonly d1: number;
  readonly d2: number;
  readonly noise: number;
}

export function coefficients(c: Settings, algorithm: Algorithm, s: Level, t: Level): Coefficients {
  const h = f32(t.lambda - s.lambda);
  const exp = (x: number) => f32(Math.exp(f32(x)));
  switch (algorithm) {
    case "dpmsolver":
    case "sde-dpmsolver": {
      const twice = algorithm === "sde-dpmsolver" ? 2 : 1;
      const phi1 = f32(exp(h) - 1);
      return {
        sample: f32(t.alpha / s.alpha),
        d0: -f32(twice * f32(t.sigma * phi1)),
        d1Midpoint: -f32((twice / 2) * f32(t.sigma * phi1)),
        d1: -f32(twice * f32(t.sigma * f32(f32(phi1 / h) - 1))),
        d2: -f32(t.sigma * f32(f32(f32(phi1 - h) / f32(h * h)) - 0.5)),
        noise: twice === 2 ? f32(t.sigma * f32(Math.sqrt(f32(exp(2 * h) - 1)))) : 0,
      };
    }
    case "sde-dpmsolver++": {
      const k = f32(2 * h);
      const phi1 = f32(1 - exp(-k));
      // The series needs + 1/2 here, as k-diffusion has it; diffusers subtracts it.
      const half = c.dialect === "k-diffusion" ? 0.5 : -0.5;
      return {
        sample: f32(f32(t.sigma / s.sigma) * exp(-h)),
        d0: f32(t.alpha * phi1),
        d1Midpoint: f32(0.5 * f32(t.alpha * phi1)),
        d1: f32(t.alpha * f32(f32(phi1 / -k) + 1)),
        d2: f32(t.alpha * f32(f32(f32(phi1 - k) / f32(k * k)) + half)),
        noise: f32(t.sigma * f32(Math.sqrt(phi1))),
      };
    }
    default: {
      const phi1 = f32(exp(-h) - 1);
      return {
        sample: f32(t.sigma / s.sigma),
        d0: -f32(t.alpha * phi1),
        d1Midpoint: -f32(0.5 * f32(t.alpha * phi1)),
        d1: f32(t.alpha * f32(f32(phi1 / h) + 1)),
        d2: -f32(t.alpha * f32(f32(f32(phi1 + h) / f32(h * h)) - 0.5)),
        noise: 0,
      };
    }
  }
}

/** x_t of `Coefficients`, up to the differences that are given. */
export function solved(
  k: Coefficients,
  sample: Float32Array,
  differences: readonly Term[],
  noise: Float32Array | undefined,
): Float32Array {
  return linear([k.sample, sample], ...differences, ...(noise ? [[k.noise, noise] as const] : []));
}
