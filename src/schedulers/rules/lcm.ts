import type { Settings } from "../config.js";
import { alphaFrame, type Plan, type Run, rootsOf } from "../plan.js";
import { predictedClean } from "../prediction.js";
import { noiseSchedule } from "../schedule.js";
import { refuseCustom } from "../sigmas.js";
import { firstStep } from "../spacing.js";
import { f32, linear } from "../vector.js";
import { distilledTimesteps } from "./consistency.js";

/** The standard deviation of the data that the boundary condition assumes. */
const sigmaData = 0.5;

/** LCM: Luo et al. 2023 (arXiv:2310.04378), algorithm 3: jump to the clean latent, add noise again. */
export function lcm(c: Settings, run: Run): Plan {
  refuseCustom("lcm", run, "sigmas");
  const { alphas } = noiseSchedule(c);
  const { timesteps, n } = distilledTimesteps(c, run, false);

  return {
    ...alphaFrame(timesteps, alphas, firstStep(timesteps.length, run.strength)),
    start: () => (output, evaluation, sample, noise) => {
      const t = timesteps[evaluation]!;
      const [alpha, sigma] = rootsOf(alphas[t]!);
      const clean = predictedClean(c, sample, output, alpha, sigma, run.shape?.[0] ?? 1);
      const scaled = f32(t * c.timestep_scaling);
      const width = f32(f32(scaled * scaled) + sigmaData ** 2);
      const denoised = linear(
        [f32(scaled / f32(Math.sqrt(width))), clean],
        [f32(sigmaData ** 2 / width), sample],
      );
      if (evaluation === n - 1) return denoised;
      const [signal, level] = rootsOf(alphas[timesteps[evaluation + 1] ?? t]!);
      return linear([signal, denoised], [level, noise(sigma, level)]);
    },
  };
}
