import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import type { Plan, Run } from "../plan.js";
import { torchLinspace } from "../schedule.js";
import { refuseCustom, stepCount } from "../sigmas.js";
import { firstStep } from "../spacing.js";
import { f32, linear } from "../vector.js";

/**
 * EDM's preconditioning: Karras et al. 2022 (arXiv:2206.00364), table 1. The network sees sample / sqrt(sigma^2 +
 * sigma_data^2) and the timestep log(sigma) / 4; a v prediction is the same with the sign of the output turned.
 */
export interface Edm {
  readonly frame: Omit<Plan, "start">;
  /** Levels of the steps and the one where the run ends. */
  readonly sigmas: readonly number[];
  /** The clean image that the network's output at a level means. */
  clean(sample: Float32Array, output: Float32Array, sigma: number): Float32Array;
}

/** Where the EDM classes of diffusers differ. */
export interface EdmDialect {
  /** Eq. 5 of the paper. */
  readonly karras: (min: number, max: number, n: number, rho: number) => number[];
  /** Where a run ends whose final_sigmas_type is "sigma_min", given the lowest level of its curve. */
  readonly last: (lowest: number, min: number) => number;
}

export function edm(name: string, c: Settings, run: Run, dialect: EdmDialect): Edm {
  refuseCustom(name, run, "timesteps", "sigmas");
  if (c.prediction_type === "sample" || c.prediction_type === "original_sample")
    throw new DiffusionError("BAD_OPTION", `${name} cannot run a model that predicts the sample`);
  const n = stepCount(c, run);
  const [min, max] = [c.sigma_min ?? 0.002, c.sigma_max ?? 80];
  const curve =
    c.sigma_schedule === "karras" ? dialect.karras(min, max, n, c.rho).map(f32) : exponential32(min, max, n);
  const sigmas = [...curve, c.final_sigmas_type === "sigma_min" ? f32(dialect.last(curve.at(-1)!, min)) : 0];
  const data = f32(c.sigma_data ** 2);
  const norm = (sigma: number) => f32(f32(sigma * sigma) + data);
  const sign = c.prediction_type === "v_prediction" ? -1 : 1;
  const clean: Edm["clean"] = (sample, output, sigma) => {
    const out = f32(f32(sign * sigma * c.sigma_data) / f32(Math.sqrt(norm(sigma))));
    return linear([f32(data / norm(sigma)), sample], [out, output]);
  };
  return {
    sigmas,
    frame: {
      timesteps: curve.map((sigma) => f32(0.25 * f32(Math.log(sigma)))),
      sigmas,
      initNoiseSigma: Math.sqrt(max ** 2 + 1),
      begin: firstStep(n, run.strength),
      inputScale: (evaluation) => f32(Math.sqrt(norm(sigmas[evaluation]!))),
      mix: (evaluation) => [1, sigmas[evaluation]!],
      clean: (output, evaluation, sample) => clean(sample, output, sigmas[evaluation]!),
    },
    clean,
  };
}

/** Eq. 5 of the paper in float32. */
export function karras32(min: number, max: number, n: number, rho: number): number[] {
  const [top, bottom] = [max ** (1 / rho), min ** (1 / rho)];
  return [...torchLinspace(0, 1, n)].map((x) => f32(f32(f32(top) + f32(x * f32(bottom - top))) ** rho));
}

const exponential32 = (min: number, max: number, n: number): number[] =>
  [...torchLinspace(Math.log(min), Math.log(max), n)].map((log) => f32(Math.exp(log))).reverse();
