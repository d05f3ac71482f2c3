import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { alphaFrame, type Plan, type Run, rootsOf } from "../plan.js";
import { cleanOf, noiseOf } from "../prediction.js";
import { noiseSchedule } from "../schedule.js";
import { refuseCustom } from "../sigmas.js";
import { firstStep } from "../spacing.js";
import { f32, linear } from "../vector.js";
import { distilledTimesteps } from "./consistency.js";

/** TCD: Zheng et al. 2024 (arXiv:2402.19159), algorithm 4; `eta` is the paper's gamma, 0 deterministic, 1 LCM. */
export function tcd(c: Settings, run: Run): Plan {
  refuseCustom("tcd", run, "sigmas");
  const eta = run.eta ?? 0.3;
  if (!(eta >= 0 && eta <= 1))
    throw new DiffusionError("BAD_OPTION", `tcd: eta must be a number from 0 to 1, not ${eta}`);
  const { alphas } = noiseSchedule(c);
  const { timesteps, n } = distilledTimesteps(c, run, run.originalSteps !== undefined);

  return {
    ...alphaFrame(timesteps, alphas, firstStep(timesteps.length, run.strength)),
    start: () => (output, evaluation, sample, noise) => {
      const [alpha, sigma] = rootsOf(alphas[timesteps[evaluation]!]!);
      const next = timesteps[evaluation + 1] ?? 0;
      const inner = alphas[Math.floor(f32(f32(1 - eta) * next))]!;
      const clean = cleanOf(c.prediction_type, sample, output, alpha, sigma);
      const epsilon = noiseOf(c.prediction_type, sample, output, alpha, sigma);
      const [signal, level] = rootsOf(inner);
      const noised = linear([signal, clean], [level, epsilon]);
      if (eta === 0 || evaluation === n - 1) return noised;
      const ratio = f32(alphas[next]! / inner);
      const fresh = noise(level, f32(Math.sqrt(f32(1 - alphas[next]!))));
      return linear([f32(Math.sqrt(ratio)), noised], [f32(Math.sqrt(f32(1 - ratio))), fresh]);
    },
  };
}
