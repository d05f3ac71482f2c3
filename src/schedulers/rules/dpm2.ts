import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid, sigmaToTimestep32 } from "../sigmas.js";
import { f32, linear, quotient } from "../vector.js";
import { towards } from "./euler.js";
import { ancestral } from "./euler-ancestral.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/**
 * DPM2 and DPM2 ancestral: DPM-Solver-2 with the midpoint in log sigma, in the manner of algorithm 2 of Karras et
 * al. 2022 (arXiv:2206.00364); k-diffusion's `sample_dpm_2` and `sample_dpm_2_ancestral`. 2N - 1 evaluations.
 */
export const dpm2 = (c: Settings, run: Run): Plan => secondOrder(c, run, 0);
export const dpm2Ancestral = (c: Settings, run: Run): Plan => secondOrder(c, run, run.eta ?? 1);

function secondOrder(c: Settings, run: Run, eta: number): Plan {
  const { timesteps, sigmas, first, schedule } = pointGrid(c, run);
  const clean = ({ sample, output }: Answer, sigma: number) =>
    denoised(c.prediction_type, sample, output, sigma);
  const times = timesteps.map((t) => (c.use_karras_sigmas ? Math.round(t) : t));

  return stagedPlan(c, sigmas, function* (sample): Sampler {
    for (let i = first; i < timesteps.length; i++) {
      const [from, to] = [sigmas[i]!, sigmas[i + 1]!];
      const { down, up } = eta > 0 ? ancestral(from, to, eta) : { down: to, up: 0 };
      const answer = yield { sample, timestep: times[i]!, sigma: from };
      const halfway = down > 0 ? middle(from, down, eta > 0) : 0;
      sample = towards(answer.sample, clean(answer, from), from, halfway);
      if (down > 0) {
        const timestep = sigmaToTimestep32(halfway, schedule.sigmas);
        const second = yield { sample, timestep, sigma: halfway, level: to };
        const slope = quotient(second.sample, 1, clean(second, halfway), halfway);
        sample = linear([1, answer.sample], [f32(down - from), slope]);
        if (eta > 0) sample = linear([1, sample], [up, second.noise(from, to)]);
      } else if (to > 0) sample = linear([1, sample], [up, answer.noise(from, to)]);
    }
    return sample;
  });
}

/** The middle of two levels in log sigma; torch's lerp starts from either end, which matters to the last bit. */
function middle(from: number, to: number, towardsLower: boolean): number {
  const [high, low] = [f32(Math.log(from)), f32(Math.log(to))];
  const half = f32(f32(towardsLower ? low - high : high - low) * 0.5);
  return f32(Math.exp(f32((towardsLower ? low : high) - half)));
}
