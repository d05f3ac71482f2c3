import type { Settings } from "../config.js";
import { type Plan, type Run, rangeOf } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid, sigmaToTimestep } from "../sigmas.js";
import { exp, log, sqrt } from "../torch-functions.js";
import { f32, linear } from "../vector.js";
import { towards } from "./euler.js";
import { ancestral } from "./euler-ancestral.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/**
 * DPM++ SDE: DPM-Solver++ (arXiv:2211.01095) as a stochastic solver with two evaluations per step; k-diffusion's
 * `sample_dpmpp_sde`. Its noise is meant to come from one Brownian path: both portions of a step overlap.
 */
export function dpmppSde(c: Settings, run: Run): Plan {
  const asIs = (timestep: number) => timestep;
  const { timesteps, sigmas, exact, first, schedule } = pointGrid(c, run, asIs);
  const path = pathLevels(pointGrid(c, run, asIs, sqrt).sigmas);
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
      const { from, half, to } = path.step(i);
      const early = () => answer.noise(from, half);
      sample = exponentialStep({
        sample: answer.sample,
        image,
        noise: early,
        from: t,
        to: halfway,
        eta: run.eta,
      });
      const timestep = sigmaToTimestep(middleOf(exact[i]!, exact[i + 1] ?? next), schedule.sigmas);
      const second = yield { sample, timestep, sigma: middle, level: next };
      const late = () => second.noise(from, to);
      const better = clean(second, middle);
      sample = exponentialStep({
        sample: answer.sample,
        image: better,
        noise: late,
        from: t,
        to: end,
        eta: run.eta,
      });
    }
    return sample;
  });
  const { noise_sampler_seed: seed } = c;
  return { ...plan, brownian: { ...path.range, ...(seed !== null && { seed }) } };
}

/** The level halfway in log sigma in float64, as diffusers computes it for the timestep that the network sees. */
const middleOf = (from: number, to: number): number => {
  const [start, end] = [-Math.log(from), -Math.log(to)];
  return Math.exp(-(start + 0.5 * (end - start)));
};

/**
 * The levels that the Brownian path is asked for, with PyTorch's own last bits: the path rounds them to six digits, so
 * that a bit can make another draw. What the samples are computed with keeps correctly rounded functions.
 */
function pathLevels(sigmas: readonly number[]) {
  const time = (sigma: number) => -log(sigma);
  return {
    range: rangeOf(sigmas),
    step(i: number): { from: number; half: number; to: number } {
      const [t, end] = [time(sigmas[i]!), time(sigmas[i + 1]!)];
      return { from: exp(-t), half: exp(-f32(t + f32(f32(end - t) * 0.5))), to: exp(-end) };
    },
  };
}

/** k-diffusion's time of DPM-Solver: t = -log sigma. */
export const timeOf = (sigma: number): number => -f32(Math.log(sigma));
export const sigmaOf = (t: number): number => f32(Math.exp(-t));

/** Exact step between two times for a constant clean image, with ancestral noise. */
function exponentialStep(step: {
  readonly sample: Float32Array;
  readonly image: Float32Array;
  readonly noise: () => Float32Array;
  readonly from: number;
  readonly to: number;
  readonly eta: number | undefined;
}): Float32Array {
  const [high, low] = [sigmaOf(step.from), sigmaOf(step.to)];
  const { down, up } = ancestral(high, low, step.eta ?? 1);
  const lower = timeOf(down);
  return linear(
    [f32(sigmaOf(lower) / high), step.sample],
    [-f32(Math.expm1(f32(step.from - lower))), step.image],
    [up, step.noise()],
  );
}
