import type { Settings } from "../config.js";
import type { Plan, Run, Step } from "../plan.js";
import { torchLinspace } from "../schedule.js";
import { refuseCustom, stepCount } from "../sigmas.js";
import { firstStep } from "../spacing.js";
import { f32, linear, quotient } from "../vector.js";
import { adamsBashforth } from "./pndm.js";

/**
 * Improved PNDM: Zhang and Chen 2022 (arXiv:2204.13902, section 3.4) on v-diffusion's continuous cosine schedule;
 * timesteps run from 1 to 0. For networks that predict v.
 */
export function ipndm(c: Settings, run: Run): Plan {
  refuseCustom("ipndm", run, "timesteps", "sigmas");
  const n = stepCount(c, run);
  const ramp = [...torchLinspace(1, 0, n + 1).subarray(0, n), 0];
  const betas =
    c.trained_betas?.map(f32) ?? ramp.map((x) => f32(f32(Math.sin(f32(f32(x * f32(Math.PI)) / 2))) ** 2));
  const alphas = betas.map((beta) => f32(Math.sqrt(f32(1 - f32(beta * beta)))));

  const start = (): Step => {
    let slopes: Float32Array[] = [];
    return (output, evaluation, sample) => {
      const [beta, alpha] = [betas[evaluation]!, alphas[evaluation]!];
      slopes = [...slopes.slice(-3), linear([beta, sample], [alpha, output])];
      const slope = adamsBashforth(slopes);
      const clean = quotient(sample, beta, slope, Math.max(alpha, 1e-8));
      return linear([alphas[evaluation + 1]!, clean], [betas[evaluation + 1]!, slope]);
    };
  };
  return {
    timesteps: ramp
      .slice(0, n)
      .map((_, i) => f32(f32(f32(Math.atan2(betas[i]!, alphas[i]!)) / f32(Math.PI)) * 2)),
    initNoiseSigma: 1,
    begin: firstStep(n, run.strength),
    inputScale: () => 1,
    mix: (evaluation) => [alphas[evaluation]!, betas[evaluation]!],
    clean: (output, evaluation, sample) =>
      linear([alphas[evaluation]!, sample], [-betas[evaluation]!, output]),
    start,
  };
}
