import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import type { Level, Plan, Run } from "../plan.js";
import { restrained } from "../prediction.js";
import { f32 } from "../vector.js";
import { multistep } from "./dpm-multistep.js";
import { edm, karras32 } from "./edm.js";

/**
 * DPM-Solver++ as a multistep method of order 1 to 3 (Lu et al. 2022, arXiv:2211.01095) in EDM's preconditioning
 * (Karras et al. 2022, arXiv:2206.00364): what Playground v2.5 is published with.
 */
export function edmMultistep(c: Settings, run: Run): Plan {
  const algorithm = c.algorithm_type === "deis" ? "dpmsolver++" : c.algorithm_type;
  if (!algorithm.endsWith("++"))
    throw new DiffusionError("BAD_OPTION", `edm_dpmpp_2m has no algorithm_type ${algorithm}`, {
      hint: "use dpmsolver++ or sde-dpmsolver++",
    });
  const { frame, sigmas, clean } = edm("edm_dpmpp_2m", c, run, { karras: karras32, last: (_, min) => min });
  const levels = sigmas.map((sigma): Level => ({ alpha: 1, sigma, lambda: -f32(Math.log(sigma)) }));
  const predicted = (sample: Float32Array, output: Float32Array, evaluation: number) =>
    restrained(clean(sample, output, sigmas[evaluation]!), c, run.shape?.[0] ?? 1);
  return { ...frame, start: multistep(c, algorithm, sigmas, levels, predicted) };
}
