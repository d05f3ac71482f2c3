import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { karras } from "../sigmas.js";
import { linear } from "../vector.js";
import { edm } from "./edm.js";
import { churn, towards, widening } from "./euler.js";

/** Euler in EDM's preconditioning: Karras et al. 2022 (arXiv:2206.00364), algorithm 2 without its second order. */
export function edmEuler(c: Settings, run: Run): Plan {
  const { frame, sigmas, clean } = edm("edm_euler", c, run, { karras, last: (lowest) => lowest });
  return {
    ...frame,
    start: () => (output, evaluation, sample, noise) => {
      const sigma = sigmas[evaluation]!;
      const level = churn(run.churn, sigma, sigmas.length);
      const noisy =
        level > sigma
          ? linear([1, sample], [widening(sigma, level) * (run.churn?.noise ?? 1), noise(sigma, level)])
          : sample;
      return towards(noisy, clean(noisy, output, level), level, sigmas[evaluation + 1]!);
    },
  };
}
