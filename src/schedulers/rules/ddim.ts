import type { Settings } from "../config.js";
import { alphaFrame, type Plan, type Run, rootsOf } from "../plan.js";
import { noiseOf, predictedClean } from "../prediction.js";
import { noiseSchedule } from "../schedule.js";
import { refuseCustom, stepCount } from "../sigmas.js";
import { firstStep, tableTimesteps } from "../spacing.js";
import { f32, linear } from "../vector.js";

/** DDIM: Song, Meng and Ermon 2020 (arXiv:2010.02502), eq. 12 and 16. `eta` 0 is deterministic, 1 is DDPM. */
export function ddim(c: Settings, run: Run): Plan {
  refuseCustom("ddim", run, "sigmas");
  const { alphas } = noiseSchedule(c);
  const n = stepCount(c, run);
  const timesteps = run.timesteps ?? tableTimesteps(c, n);
  const stride = Math.floor(c.num_train_timesteps / n);
  const finalAlpha = c.set_alpha_to_one ? 1 : alphas[0]!;
  const eta = run.eta ?? 0;

  const previousAlpha = (evaluation: number): number => {
    const previous = run.timesteps ? (timesteps[evaluation + 1] ?? -1) : timesteps[evaluation]! - stride;
    return previous >= 0 ? alphas[previous]! : finalAlpha;
  };

  return {
    ...alphaFrame(timesteps, alphas, firstStep(n, run.strength)),
    start: () => (output, evaluation, sample, noise) => {
      const [now, next] = [alphas[timesteps[evaluation]!]!, previousAlpha(evaluation)];
      const [alpha, sigma] = rootsOf(now);
      const clean = predictedClean(c, sample, output, alpha, sigma, run.shape?.[0] ?? 1);
      const direction = run.useClippedModelOutput
        ? noiseOf("sample", sample, clean, alpha, sigma)
        : noiseOf(c.prediction_type, sample, output, alpha, sigma);
      const variance = f32(f32(f32(1 - next) / f32(1 - now)) * f32(1 - f32(now / next)));
      const spread = f32(f32(eta) * f32(Math.sqrt(variance)));
      const towards = f32(Math.sqrt(f32(f32(1 - next) - f32(spread * spread))));
      const previous = linear([f32(Math.sqrt(next)), clean], [towards, direction]);
      return eta > 0 ? linear([1, previous], [spread, noise(sigma, towards)]) : previous;
    },
  };
}
