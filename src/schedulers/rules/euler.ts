import type { Settings } from "../config.js";
import { type Plan, type Run, sigmaFrame } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid } from "../sigmas.js";
import { f32, linear, quotient } from "../vector.js";

/** Euler: Karras et al. 2022 (arXiv:2206.00364), algorithm 2 without the second-order correction. */
export function euler(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = pointGrid(c, run);
  const continuous = c.timestep_type === "continuous" && c.prediction_type === "v_prediction";
  const shown = continuous ? sigmas.slice(0, -1).map((s) => f32(0.25 * f32(Math.log(s)))) : timesteps;
  return {
    ...sigmaFrame(c, shown, sigmas, first),
    start: () => (output, evaluation, sample, noise) => {
      const sigma = sigmas[evaluation]!;
      const churned = churn(run.churn, sigma, sigmas.length - 1);
      const noisy =
        churned > sigma
          ? linear([1, sample], [widening(sigma, churned) * (run.churn?.noise ?? 1), noise(sigma, churned)])
          : sample;
      const level = c.prediction_type === "v_prediction" ? sigma : churned;
      const clean = denoised(c.prediction_type, noisy, output, level);
      return towards(noisy, clean, churned, sigmas[evaluation + 1]!);
    },
  };
}

/** One Euler step of dx/dsigma = (x - clean) / sigma from level to level. */
export const towards = (sample: Float32Array, clean: Float32Array, from: number, to: number): Float32Array =>
  linear([1, sample], [f32(to - from), quotient(sample, 1, clean, from)]);

/** The level that the churn raises a sigma to. */
export function churn(options: Run["churn"], sigma: number, steps: number): number {
  const { amount = 0, min = 0, max = Number.POSITIVE_INFINITY } = options ?? {};
  const gamma = sigma >= min && sigma <= max ? Math.min(amount / steps, Math.SQRT2 - 1) : 0;
  return f32(sigma * f32(gamma + 1));
}

/** Standard deviation of the noise that raises one level to another. */
export const widening = (from: number, to: number): number =>
  f32(Math.sqrt(f32(f32(to * to) - f32(from * from))));
