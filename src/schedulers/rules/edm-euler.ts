import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { torchLinspace } from "../schedule.js";
import { karras, refuseCustom, stepCount } from "../sigmas.js";
import { firstStep } from "../spacing.js";
import { f32, linear } from "../vector.js";
import { churn, towards, widening } from "./euler.js";

/** Euler in EDM's preconditioning: Karras et al. 2022 (arXiv:2206.00364), table 1; timesteps are log(sigma) / 4. */
export function edmEuler(c: Settings, run: Run): Plan {
  refuseCustom("edm_euler", run, "timesteps", "sigmas");
  if (c.prediction_type === "sample" || c.prediction_type === "original_sample")
    throw new DiffusionError("BAD_OPTION", "edm_euler cannot run a model that predicts the sample");
  const n = stepCount(c, run);
  const [min, max] = [c.sigma_min ?? 0.002, c.sigma_max ?? 80];
  const curve =
    c.sigma_schedule === "karras"
      ? karras(min, max, n, c.rho).map(f32)
      : [...torchLinspace(Math.log(min), Math.log(max), n)].map((log) => f32(Math.exp(log))).reverse();
  const sigmas = [...curve, c.final_sigmas_type === "sigma_min" ? curve.at(-1)! : 0];
  const data = f32(c.sigma_data ** 2);
  const norm = (sigma: number) => f32(f32(sigma * sigma) + data);

  return {
    timesteps: curve.map((sigma) => f32(0.25 * f32(Math.log(sigma)))),
    sigmas,
    initNoiseSigma: Math.sqrt(max ** 2 + 1),
    begin: firstStep(n, run.strength),
    inputScale: (evaluation) => f32(Math.sqrt(norm(sigmas[evaluation]!))),
    mix: (evaluation) => [1, sigmas[evaluation]!],
    start: () => (output, evaluation, sample, noise) => {
      const sigma = sigmas[evaluation]!;
      const level = churn(run.churn, sigma, n + 1);
      const noisy =
        level > sigma
          ? linear([1, sample], [widening(sigma, level) * (run.churn?.noise ?? 1), noise(sigma, level)])
          : sample;
      const sign = c.prediction_type === "v_prediction" ? -1 : 1;
      const out = f32(f32(sign * level * c.sigma_data) / f32(Math.sqrt(norm(level))));
      const clean = linear([f32(data / norm(level)), noisy], [out, output]);
      return towards(noisy, clean, level, sigmas[evaluation + 1]!);
    },
  };
}
