import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { levelOf, type Plan, type Run, type Step, solverFrame } from "../plan.js";
import { splitVariance } from "../prediction.js";
import { intervalGrid } from "../sigmas.js";
import { f32, linear, scaledDifference, type Term } from "../vector.js";
import { refuseZeroEnd } from "./dpm-multistep.js";
import { coefficients, converted, solved } from "./dpm-solver.js";

/**
 * DPM-Solver and DPM-Solver++ as singlestep methods: groups of one to three evaluations, each group starting from its
 * own first sample. Lu et al. 2022 (arXiv:2206.00927, algorithms 1 and 2; arXiv:2211.01095). N evaluations.
 */
export function dpmSinglestep(c: Settings, run: Run): Plan {
  const algorithm = c.algorithm_type === "deis" ? "dpmsolver++" : c.algorithm_type;
  if (algorithm === "sde-dpmsolver")
    throw new DiffusionError("BAD_OPTION", "the singlestep solver has no algorithm_type sde-dpmsolver", {
      hint: "use sde-dpmsolver++",
    });
  refuseZeroEnd(c, algorithm);
  const { timesteps, sigmas, first } = intervalGrid(c, run, {
    roundCurves: true,
    last: (_, lowest) => (c.final_sigmas_type === "zero" ? 0 : lowest),
  });
  const levels = sigmas.map(levelOf);
  const orders = orderList(c, timesteps.length, sigmas.at(-1) === 0);

  const start = (): Step => {
    let history: Float32Array[] = []; // oldest first, at most solver_order
    let base: Float32Array | undefined;
    return (raw, evaluation, sample, noise) => {
      const { output } = splitVariance(raw, sample.length, run.shape?.at(-1));
      const model = converted(c, algorithm, levels[evaluation]!, sample, output, run.shape?.[0] ?? 1);
      history = [...history, model].slice(-c.solver_order);
      const fresh = algorithm.startsWith("sde")
        ? noise(sigmas[evaluation]!, sigmas[evaluation + 1]!)
        : undefined;
      const order = Math.min(orders[evaluation]!, history.length);
      if (order === 1 || !base) base = sample;
      const origin = levels[evaluation - order + 1]!;
      const k = coefficients(c, algorithm, origin, levels[evaluation + 1]!);
      const [m0, ...rest] = history.slice(-order) as [Float32Array, ...Float32Array[]];
      const h = f32(levels[evaluation + 1]!.lambda - origin.lambda);
      const differences = rest.map((m, i) => {
        const r = f32(f32(levels[evaluation - order + 2 + i]!.lambda - origin.lambda) / h);
        return { r, d: scaledDifference(f32(1 / r), m, m0) };
      });
      const terms: Term[] = [[k.d0, m0]];
      const [inner, outer] = differences;
      if (inner && !outer) terms.push([c.solver_type === "heun" ? k.d1 : k.d1Midpoint, inner.d]);
      if (inner && outer && c.solver_type !== "heun") terms.push([k.d1, outer.d]);
      if (inner && outer && c.solver_type === "heun") {
        const gap = f32(outer.r - inner.r);
        terms.push([k.d1, linear([f32(outer.r / gap), inner.d], [-f32(inner.r / gap), outer.d])]);
        terms.push([k.d2, scaledDifference(f32(2 / gap), outer.d, inner.d)]);
      }
      return solved(k, base, terms, fresh);
    };
  };
  return { ...solverFrame(c, timesteps, sigmas, first), takesVariance: true, start };
}

/**
 * The order of every evaluation. Groups 1, 2 (, 3) repeat; where the number of steps does not divide, or the run ends at
 * sigma 0, the last groups are shortened, whatever `lower_order_final` says.
 */
function orderList(c: Settings, n: number, zeroEnd: boolean): number[] {
  const order = c.solver_order;
  const group = Array.from({ length: order }, (_, i) => i + 1);
  const orders = Array.from({ length: n }, (_, i) => group[i % order]!);
  const lower = c.lower_order_final || n % order !== 0 || c.final_sigmas_type === "zero";
  if (lower && n % order === 0 && order > 1) {
    orders[n - 1] = 1;
    if (order === 3) orders.splice(n - 3, 3, 1, 2, 1);
  }
  if (c.final_sigmas_type === "zero" || zeroEnd) orders[n - 1] = 1;
  return orders;
}
