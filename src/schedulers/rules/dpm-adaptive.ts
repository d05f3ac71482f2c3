import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { initialSigma, inputScaleOf, type Plan, type Run } from "../plan.js";
import { pointGrid } from "../sigmas.js";
import { f32, linear } from "../vector.js";
import { ancestralTime, epsilonSolver, lastPositive } from "./dpm-fast.js";
import { sigmaOf, timeOf } from "./dpmpp-sde.js";
import { type Evaluation, type Sampler, steps } from "./staged.js";

/** k-diffusion's defaults: tolerances of the error per step, the first step, and the least factor that is accepted. */
const [relative, absolute, firstWidth, acceptable] = [0.05, 0.0078, 0.05, 0.81];
/** Far more than any model needs; only a network that returns nonsense gets there. */
const mostEvaluations = 3000;

/**
 * DPM adaptive: DPM-Solver-23 (Lu et al. 2022, arXiv:2206.00927, appendix C) with ancestral noise; k-diffusion's
 * `sample_dpm_adaptive`. The error of every step decides the width of the next, so nobody knows the number of
 * evaluations beforehand: `timesteps` holds the next evaluation only and grows with every step until the run is done.
 * `steps` in the run only places the start of image to image. A rejected step costs two evaluations: the noise predicted
 * at its start is kept.
 */
export function dpmAdaptive(c: Settings, run: Run): Plan {
  const { sigmas, first, schedule } = pointGrid(c, run);
  const solver = epsilonSolver(c, schedule.sigmas);
  const [start, end] = [timeOf(sigmas[first]!), timeOf(lastPositive(sigmas))];

  function* sampler(sample: Float32Array): Sampler {
    let [t, width] = [start, firstWidth];
    let lower = sample;
    while (t < end - 1e-5) {
      const answer = yield solver.evaluation(sample, t);
      const epsilon = solver.epsilon(answer, t);
      for (let accepted = false; !accepted; ) {
        const next = Math.min(end, f32(t + width));
        const { until, up } = ancestralTime(t, next, end, run.eta);
        const { low, high } = yield* solver.higher(answer.sample, epsilon, t, until, 1 / 3, 3);
        const factor = stepFactor(errorOf(low, high, lower), run.eta === 0 ? 3 : 1.5);
        accepted = factor >= acceptable;
        if (accepted) {
          lower = low;
          sample = run.eta === 0 ? high : linear([1, high], [up, answer.noise(sigmaOf(t), sigmaOf(next))]);
          t = next;
        }
        width *= factor;
      }
    }
    return sample;
  }

  const firstEvaluation: Evaluation = solver.evaluation(new Float32Array(0), start);
  const evaluations: Evaluation[] = [firstEvaluation];
  const timesteps: number[] = [firstEvaluation.timestep];
  return {
    timesteps,
    initNoiseSigma: initialSigma(c, sigmas),
    begin: 0,
    inputScale: (evaluation) => inputScaleOf(evaluations[evaluation]!.sigma),
    mix: (evaluation) => [1, evaluations[evaluation]!.sigma],
    start: () => {
      evaluations.length = 1;
      timesteps.length = 1;
      return steps(sampler, (evaluation) => {
        if (evaluations.length >= mostEvaluations)
          throw new DiffusionError(
            "BAD_OPTION",
            `dpm_adaptive did not come to an end in ${mostEvaluations} evaluations`,
          );
        evaluations.push(evaluation);
        timesteps.push(evaluation.timestep);
      });
    },
  };
}

/** Root mean square of the difference of the two solutions, in units of the tolerance. */
function errorOf(low: Float32Array, high: Float32Array, previous: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < low.length; i++) {
    const tolerance = Math.max(absolute, relative * Math.max(Math.abs(low[i]!), Math.abs(previous[i]!)));
    sum += ((low[i]! - high[i]!) / tolerance) ** 2;
  }
  const error = Math.sqrt(sum / low.length);
  if (Number.isFinite(error)) return error;
  throw new DiffusionError("BAD_OPTION", "dpm_adaptive: the network returned numbers that are not finite");
}

/** By how much the step may change: an integrating controller, softly limited. */
const stepFactor = (error: number, order: number): number =>
  1 + Math.atan((1 / (error + 1e-8)) ** (1 / order) - 1);
