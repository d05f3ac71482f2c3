import type { Settings } from "../config.js";
import { type Plan, type Run, rangeOf } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid, sigmaToTimestep } from "../sigmas.js";
import { f32, linear } from "../vector.js";
import { towards } from "./euler.js";
import { ancestral } from "./euler-ancestral.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/**
 * DPM++ SDE: DPM-Solver++ (arXiv:2211.01095) as a stochastic solver with two evaluations per step; k-diffusion's
 * `sample_dpmpp_sde`. Its noise is meant to come from one Brownian path: both portions of a step overlap.
 */
export function dpmppSde(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first, schedule } = pointGrid(c, run);
  const clean = ({ sample, output }: Answer, sigma: number) =>
    denoised(c.prediction_type, sample, output, sigma);

  const plan = stagedPlan(c, sigmas, function* (sample): Sampler {
    for (let i = first; i < timesteps.length; i++) {
      const [sigma, next] = [sigmas[i]!, sigmas[i + 1]!];
      const answer = yield { sample, timestep: timesteps[i]!, sigma };
      const image = clean(answer, sigma);
      if (next === 0) return towards(answer.sample, image, sigma, next);
      const [t, end] = [timeOf(sigma), timeOf(next)];
      const halfway = f32(t + f32(f32(end - t) * 0.5));
      const middle = sigmaOf(halfway);
      sample = exponentialStep(answer, answer.sample, image, t, halfway, run.eta);
      const timestep = sigmaToTimestep(middle, schedule.sigmas);
      const second = yield { sample, timestep, sigma: middle, level: next };
      sample = exponentialStep(second, answer.sample, clean(second, middle), t, end, run.eta);
    }
    return sample;
  });
  return { ...plan, brownian: rangeOf(sigmas) };
}

/** k-diffusion's time of DPM-Solver: t = -log sigma. */
export const timeOf = (sigma: number): number => -f32(Math.log(sigma));
export const sigmaOf = (t: number): number => f32(Math.exp(-t));

/** Exact step from t to `end` for a constant clean image, with ancestral noise. */
export function exponentialStep(
  { noise }: Answer,
  sample: Float32Array,
  image: Float32Array,
  t: number,
  end: number,
  eta = 1,
): Float32Array {
  const [from, to] = [sigmaOf(t), sigmaOf(end)];
  const { down, up } = ancestral(from, to, eta);
  const lower = timeOf(down);
  return linear(
    [f32(sigmaOf(lower) / from), sample],
    [-f32(Math.expm1(f32(t - lower))), image],
    [up, noise(from, to)],
  );
}
