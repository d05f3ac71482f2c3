import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { type Level, levelOf, type Plan, type Run, rangeOf, type Step, solverFrame } from "../plan.js";
import { splitVariance } from "../prediction.js";
import { intervalGrid } from "../sigmas.js";
import { f32, scaledDifference } from "../vector.js";
import { coefficients, converted, solved } from "./dpm-solver.js";

/**
 * DPM-Solver and DPM-Solver++ as linear multistep methods of order 1 to 3, as ODE or SDE: Lu et al. 2022
 * (arXiv:2206.00927, arXiv:2211.01095). Order 2 of ++ is known as DPM++ 2M.
 */
export function dpmMultistep(c: Settings, run: Run): Plan {
  const algorithm = c.algorithm_type === "deis" ? "dpmsolver++" : c.algorithm_type;
  refuseZeroEnd(c, algorithm);
  const { timesteps, sigmas, first } = intervalGrid(c, run, {
    roundCurves: c.beta_schedule !== "squaredcos_cap_v2",
    last: (_, lowest) => (c.final_sigmas_type === "zero" ? 0 : lowest),
  });
  const levels = sigmas.map(levelOf);
  const start = multistep(c, algorithm, sigmas, levels, (sample, raw, evaluation) => {
    const { output } = splitVariance(raw, sample.length, run.shape?.at(-1));
    return converted(c, algorithm, levels[evaluation]!, sample, output, run.shape?.[0] ?? 1);
  });
  const brownian = algorithm.startsWith("sde") && c.dialect === "k-diffusion";
  return {
    ...solverFrame(c, timesteps, sigmas, first),
    ...(brownian && { brownian: rangeOf(sigmas) }),
    takesVariance: true,
    start,
  };
}

/**
 * The steps of the multistep solver between levels, whatever the network's output means.
 * @param sigmas the levels as a noise source and the rule of lower orders see them, one more than there are steps
 * @param predicted what the solver integrates, from a sample and the network's output for it
 */
export function multistep(
  c: Settings,
  algorithm: Settings["algorithm_type"],
  sigmas: readonly number[],
  levels: readonly Level[],
  predicted: (sample: Float32Array, output: Float32Array, evaluation: number) => Float32Array,
): () => Step {
  const n = sigmas.length - 1;
  return () => {
    let history: Float32Array[] = [];
    return (output, evaluation, sample, noise) => {
      const [s0, t] = [levels[evaluation]!, levels[evaluation + 1]!];
      const m0 = predicted(sample, output, evaluation);
      history = [...history, m0].slice(-c.solver_order);
      const fresh = algorithm.startsWith("sde")
        ? noise(sigmas[evaluation]!, sigmas[evaluation + 1]!)
        : undefined;
      const k = coefficients(c, algorithm, s0, t);
      const order = Math.min(history.length, orderAt(c, evaluation, n, sigmas));
      if (order === 1) return solved(k, sample, [[k.d0, m0]], fresh);

      const h = f32(t.lambda - s0.lambda);
      const r0 = f32(f32(s0.lambda - levels[evaluation - 1]!.lambda) / h);
      const m1 = history.at(-2)!;
      const d10 = scaledDifference(f32(1 / r0), m0, m1);
      if (order === 2) {
        const weight = c.solver_type === "heun" ? k.d1 : k.d1Midpoint;
        return solved(
          k,
          sample,
          [
            [k.d0, m0],
            [weight, d10],
          ],
          fresh,
        );
      }
      const r1 = f32(f32(levels[evaluation - 1]!.lambda - levels[evaluation - 2]!.lambda) / h);
      const d11 = scaledDifference(f32(1 / r1), m1, history.at(-3)!);
      const bend = scaledDifference(1, d10, d11);
      const onBend = f32(k.d1 * f32(r0 / f32(r0 + r1))) + f32(k.d2 / f32(r0 + r1));
      return solved(
        k,
        sample,
        [
          [k.d0, m0],
          [k.d1, d10],
          [onBend, bend],
        ],
        fresh,
      );
    };
  };
}

/** The highest order that a step may have: the last ones are lower when there are few steps. */
function orderAt(c: Settings, evaluation: number, n: number, sigmas: readonly number[]): number {
  const few = c.lower_order_final && c.dialect === "diffusers" && n < 15;
  if (evaluation === n - 1 && (c.euler_at_final || few || sigmas[n] === 0)) return 1;
  return evaluation === n - 2 && few ? Math.min(2, c.solver_order) : c.solver_order;
}

/** The forms that integrate the noise cannot end at sigma 0, where log sigma is infinite. */
export function refuseZeroEnd(c: Settings, algorithm: string): void {
  if (algorithm.endsWith("++") || c.final_sigmas_type !== "zero") return;
  throw new DiffusionError(
    "BAD_OPTION",
    `algorithm_type ${algorithm} cannot end with final_sigmas_type zero`,
    {
      hint: 'set final_sigmas_type to "sigma_min", or use the ++ form',
    },
  );
}
