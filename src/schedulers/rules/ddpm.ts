import type { Settings } from "../config.js";
import { alphaFrame, type Plan, type Run, rootsOf } from "../plan.js";
import { predictedClean, splitVariance } from "../prediction.js";
import { noiseSchedule } from "../schedule.js";
import { refuseCustom, stepCount } from "../sigmas.js";
import { firstStep, tableTimesteps } from "../spacing.js";
import { f32, linear, product } from "../vector.js";

/** DDPM: Ho, Jain and Abbeel 2020 (arXiv:2006.11239), eq. 7; learned variances: arXiv:2102.09672, eq. 15. */
export function ddpm(c: Settings, run: Run): Plan {
  refuseCustom("ddpm", run, "sigmas");
  const { alphas } = noiseSchedule(c);
  const n = stepCount(c, run);
  const timesteps = run.timesteps ?? tableTimesteps(c, n);

  return {
    ...alphaFrame(timesteps, alphas, firstStep(n, run.strength)),
    takesVariance: true,
    start: () => (output, evaluation, sample, noise) => {
      const t = timesteps[evaluation]!;
      const [now, next] = [alphas[t]!, evaluation + 1 < n ? alphas[timesteps[evaluation + 1]!]! : 1];
      const [alpha, sigma] = rootsOf(now);
      const split = splitVariance(output, sample.length, run.shape?.at(-1));
      const clean = predictedClean(c, sample, split.output, alpha, sigma, run.shape?.[0] ?? 1);
      const kept = f32(now / next);
      const beta = f32(1 - kept);
      const mean = linear(
        [f32(f32(f32(Math.sqrt(next)) * beta) / f32(1 - now)), clean],
        [f32(f32(f32(Math.sqrt(kept)) * f32(1 - next)) / f32(1 - now)), sample],
      );
      if (t === 0) return mean;
      const fresh = noise(sigma, f32(Math.sqrt(f32(1 - next))));
      const posterior = Math.max(f32(f32(f32(1 - next) / f32(1 - now)) * beta), 1e-20);
      const spread = split.variance && learnedSpread(c, split.variance, posterior, beta);
      if (spread) return linear([1, mean], [1, product(spread, fresh)]);
      const large = c.variance_type === "fixed_large" || c.variance_type === "fixed_large_log";
      return linear([1, mean], [f32(Math.sqrt(large ? beta : posterior)), fresh]);
    },
  };
}

/** The standard deviation that the network predicts, value by value; undefined where the variance is fixed. */
function learnedSpread(
  c: Settings,
  predicted: Float32Array,
  posterior: number,
  beta: number,
): Float32Array | undefined {
  if (c.variance_type === "learned") return predicted.map(Math.sqrt);
  if (c.variance_type !== "learned_range") return undefined;
  const [low, high] = [f32(Math.log(posterior)), f32(Math.log(beta))];
  return predicted.map((v) => {
    const share = f32((v + 1) / 2);
    return Math.exp(0.5 * f32(f32(share * high) + f32(f32(1 - share) * low)));
  });
}
