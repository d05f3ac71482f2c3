import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid, sigmaToTimestep } from "../sigmas.js";
import { f32, linear, quotient } from "../vector.js";
import { sigmaOf, timeOf } from "./dpmpp-sde.js";
import { ancestral } from "./euler-ancestral.js";
import { type Answer, type Evaluation, type Sampler, stagedPlan } from "./staged.js";

/**
 * DPM fast: DPM-Solver-fast (Lu et al. 2022, arXiv:2206.00927, section 3.4) with ancestral noise; k-diffusion's
 * `sample_dpm_fast`. N evaluations in groups of three, equally long in log sigma; ends at the lowest level, not at 0.
 */
export function dpmFast(c: Settings, run: Run): Plan {
  const { sigmas, first, schedule } = pointGrid(c, run);
  const solver = epsilonSolver(c, schedule.sigmas);
  const [start, end] = [timeOf(sigmas[first]!), timeOf(lastPositive(sigmas))];
  const orders = groups(sigmas.length - 1 - first);

  return stagedPlan(c, [...sigmas.slice(0, -1), lastPositive(sigmas)], function* (sample): Sampler {
    for (const [i, order] of orders.entries()) {
      const t = f32(start + ((end - start) * i) / orders.length);
      const next = f32(start + ((end - start) * (i + 1)) / orders.length);
      const { until, up } = ancestralTime(t, next, end, run.eta);
      const answer = yield solver.evaluation(sample, t);
      const { sample: x, epsilon } = { sample: answer.sample, epsilon: solver.epsilon(answer, t) };
      const h = f32(until - t);
      sample = linear([1, x], [-f32(sigmaOf(until) * f32(Math.expm1(h))), epsilon]);
      if (order > 1)
        sample = (yield* solver.higher(x, epsilon, t, until, order === 2 ? 1 / 2 : 1 / 3, order)).high;
      if (run.eta !== 0) sample = linear([1, sample], [up, answer.noise(sigmaOf(t), sigmaOf(next))]);
    }
    return sample;
  });
}

/** The orders of the groups for n evaluations: threes, and what is left; a whole number of threes ends with 2 and 1. */
function groups(n: number): number[] {
  const threes = Array<number>(Math.floor(n / 3)).fill(3);
  return n % 3 === 0 ? [...threes.slice(1), 2, 1] : [...threes, n % 3];
}

export const lastPositive = (sigmas: readonly number[]): number => sigmas.findLast((sigma) => sigma > 0)!;

/** Where the deterministic part of a step ends in time, and how much noise brings the sample up to `next` again. */
export function ancestralTime(t: number, next: number, end: number, eta = 1): { until: number; up: number } {
  if (eta === 0) return { until: next, up: 0 };
  const { down } = ancestral(sigmaOf(t), sigmaOf(next), eta);
  const until = down > 0 ? Math.min(end, timeOf(down)) : end;
  const square = (x: number) => f32(sigmaOf(x) ** 2);
  return { until, up: f32(Math.sqrt(Math.max(f32(square(next) - square(until)), 0))) };
}

/** The second- and third-order steps of DPM-Solver on noise predictions, in time t = -log sigma. */
export function epsilonSolver(c: Settings, table: Float32Array) {
  const evaluation = (sample: Float32Array, t: number): Evaluation => {
    const sigma = sigmaOf(t);
    return { sample, sigma, timestep: sigmaToTimestep(sigma, table) };
  };

  const epsilon = ({ sample, output }: Answer, t: number): Float32Array => {
    const sigma = sigmaOf(t);
    return quotient(sample, 1, denoised(c.prediction_type, sample, output, sigma), sigma);
  };

  /** From t to `until` with a stage at the share r of the way (and for order 3 one at twice r). */
  function* higher(
    sample: Float32Array,
    first: Float32Array,
    t: number,
    until: number,
    r: number,
    order: number,
  ): Generator<Evaluation, { low: Float32Array; high: Float32Array }, Answer> {
    const h = f32(until - t);
    const grow = (share: number) => f32(Math.expm1(f32(share * h)));
    const at = (share: number) => f32(t + f32(share * h));
    const from = (time: number, share: number) =>
      linear([1, sample], [-f32(sigmaOf(time) * grow(share)), first]);
    const s1 = at(r);
    const change1 = linear([1, epsilon(yield evaluation(from(s1, r), s1), s1)], [-1, first]);
    const low = linear([1, from(until, 1)], [-f32(f32(sigmaOf(until) / (2 * r)) * grow(1)), change1]);
    if (order === 2) return { low, high: low };
    const r2 = 2 * r;
    const s2 = at(r2);
    const phi = (share: number) => f32(f32(grow(share) / f32(share * h)) - 1);
    const inner = linear([1, from(s2, r2)], [-f32(f32(sigmaOf(s2) * 2) * phi(r2)), change1]);
    const change2 = linear([1, epsilon(yield evaluation(inner, s2), s2)], [-1, first]);
    return { low, high: linear([1, from(until, 1)], [-f32(f32(sigmaOf(until) / r2) * phi(1)), change2]) };
  }
  return { evaluation, epsilon, higher };
}
