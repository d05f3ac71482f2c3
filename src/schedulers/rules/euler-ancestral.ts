import type { Settings } from "../config.js";
import { type Plan, type Run, sigmaFrame } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid } from "../sigmas.js";
import { f32, linear } from "../vector.js";
import { towards } from "./euler.js";

/** Euler with ancestral noise: k-diffusion's `sample_euler_ancestral`. */
export function eulerAncestral(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = pointGrid(c, run);
  return {
    ...sigmaFrame(c, timesteps, sigmas, first),
    start: () => (output, evaluation, sample, noise) => {
      const [from, to] = [sigmas[evaluation]!, sigmas[evaluation + 1]!];
      const clean = denoised(c.prediction_type, sample, output, from);
      const { down, up } = ancestral(from, to, run.eta);
      return linear([1, towards(sample, clean, from, down)], [up, noise(from, to)]);
    },
  };
}

/**
 * Splits a step from one level to another into a deterministic part down to `down` and fresh noise of standard
 * deviation `up`, so that down^2 + up^2 = to^2. `eta` 0 adds no noise, 1 as much as DDPM.
 */
export function ancestral(from: number, to: number, eta = 1): { down: number; up: number } {
  const square = (x: number) => f32(x * x);
  const full = f32(Math.sqrt(f32(f32(square(to) * f32(square(from) - square(to))) / square(from))));
  const up = Math.min(to, f32(f32(eta) * full));
  return { down: f32(Math.sqrt(Math.max(f32(square(to) - square(up)), 0))), up };
}
