import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { denoised } from "../prediction.js";
import { karras, pointGrid, sigmaToTimestep } from "../sigmas.js";
import { f32, linear, quotient } from "../vector.js";
import { towards, widening } from "./euler.js";
import { type Answer, type Sampler, stagedPlan } from "./staged.js";

/**
 * Restart: Xu et al. 2023 (arXiv:2306.14878), as AUTOMATIC1111 runs it: Heun steps; from 20 steps on, a part of them
 * goes back from sigma 0.1 to 2 by adding noise, and down again.
 */
export function restart(c: Settings, run: Run): Plan {
  const { sigmas, first, schedule } = pointGrid(c, run);
  const steps = restartSteps(sigmas.slice(first));
  const timestepOf = (sigma: number) => sigmaToTimestep(sigma, schedule.sigmas);
  const slope = ({ sample, output }: Answer, sigma: number): Float32Array =>
    quotient(sample, 1, denoised(c.prediction_type, sample, output, sigma), sigma);

  return stagedPlan(c, sigmas, function* (sample): Sampler {
    let answer: Answer | undefined;
    let level = steps[0]![0];
    for (const [from, to] of steps) {
      if (answer && level < from)
        sample = linear([1, sample], [widening(level, from), answer.noise(level, from)]);
      answer = yield { sample, timestep: timestepOf(from), sigma: from };
      const clean = denoised(c.prediction_type, answer.sample, answer.output, from);
      sample = towards(answer.sample, clean, from, to);
      if (to > 0) {
        const start = answer.sample;
        const rise = slope(answer, from);
        answer = yield { sample, timestep: timestepOf(to), sigma: to };
        sample = linear([1, start], [f32(to - from), linear([0.5, rise], [0.5, slope(answer, to)])]);
      }
      level = to;
    }
    return sample;
  });
}

/** Pairs of levels: the main descent, and behind the level nearest 0.1 the repeated descents from about 2. */
function restartSteps(sigmas: readonly number[]): [from: number, to: number][] {
  const n = sigmas.length - 1;
  const pairs = (levels: readonly number[]) =>
    levels.slice(0, -1).map((from, i): [number, number] => [from, levels[i + 1]!]);
  if (n < 20) return pairs(sigmas);
  const [length, times] = n >= 36 ? [Math.floor(n / 4), 2] : [9, 1];
  const main = [...karras(sigmas[n - 1]!, sigmas[0]!, n - length * times).map(f32), 0];
  const [low, high] = [nearestTo(main, 0.1), nearestTo(main, 2)];
  if (high >= low || low === 0) return pairs(main);
  const again = pairs(karras(main[low]!, main[high]!, length + 1).map(f32));
  return [...pairs(main.slice(0, low + 1)), ...Array(times).fill(again).flat(), ...pairs(main.slice(low))];
}

const nearestTo = (levels: readonly number[], wanted: number): number =>
  levels.reduce((best, s, i) => (Math.abs(s - wanted) < Math.abs(levels[best]! - wanted) ? i : best), 0);
