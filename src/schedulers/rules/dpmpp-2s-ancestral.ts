import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid, sigmaToTimestep } from "../sigmas.js";
import { f32, linear } from "../vector.js";
import { sigmaOf, timeOf } from "./dpmpp-sde.js";
import { towards } from "./euler.js";
import { ancestral } from "./euler-ancestral.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/** DPM++ 2S ancestral: DPM-Solver++(2S) (arXiv:2211.01095); k-diffusion's `sample_dpmpp_2s_ancestral`. 2N - 1 evaluations. */
export function dpmpp2sAncestral(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first, schedule } = pointGrid(c, run);
  const clean = ({ sample, output }: Answer, sigma: number) =>
    denoised(c.prediction_type, sample, output, sigma);

  return stagedPlan(c, sigmas, function* (sample): Sampler {
    for (let i = first; i < timesteps.length; i++) {
      const [from, to] = [sigmas[i]!, sigmas[i + 1]!];
      const { down, up } = ancestral(from, to, run.eta);
      const answer = yield { sample, timestep: timesteps[i]!, sigma: from };
      const image = clean(answer, from);
      if (down === 0) sample = towards(answer.sample, image, from, 0);
      else {
        const [t, end] = [timeOf(from), timeOf(down)];
        const h = f32(end - t);
        const halfway = f32(t + f32(h / 2));
        const middle = sigmaOf(halfway);
        sample = linear([f32(middle / sigmaOf(t)), answer.sample], [-f32(Math.expm1(f32(-h / 2))), image]);
        const timestep = sigmaToTimestep(middle, schedule.sigmas);
        const second = yield { sample, timestep, sigma: middle, level: to };
        sample = linear(
          [f32(sigmaOf(end) / sigmaOf(t)), answer.sample],
          [-f32(Math.expm1(-h)), clean(second, middle)],
        );
      }
      if (to > 0) sample = linear([1, sample], [up, answer.noise(from, to)]);
    }
    return sample;
  });
}
