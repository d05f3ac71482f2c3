import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { denoised, restrained } from "../prediction.js";
import { pointGrid } from "../sigmas.js";
import { f32, linear, quotient } from "../vector.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/** Heun: Karras et al. 2022 (arXiv:2206.00364), algorithm 1. Two evaluations per step, one for the last: 2N - 1. */
export function heun(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = pointGrid(c, run);
  const slope = ({ sample, output }: Answer, sigma: number): Float32Array =>
    quotient(sample, 1, restrained(denoised(c.prediction_type, sample, output, sigma), c, 1), sigma);
  return stagedPlan(c, sigmas, function* (sample): Sampler {
    for (let i = first; i < timesteps.length; i++) {
      const [from, to] = [sigmas[i]!, sigmas[i + 1]!];
      const answer = yield { sample, timestep: timesteps[i]!, sigma: from };
      const rise = slope(answer, from);
      const width = f32(to - from);
      sample = linear([1, answer.sample], [width, rise]);
      if (to === 0) return sample;
      const end = timesteps[i + 1] ?? timesteps[i]!;
      const second = slope(yield { sample, timestep: end, sigma: to }, to);
      sample = linear([1, answer.sample], [width, linear([0.5, rise], [0.5, second])]);
    }
    return sample;
  });
}
