import type { Settings } from "../config.js";
import { levelOf, type Plan, type Run, type Step, solverFrame } from "../plan.js";
import { intervalGrid } from "../sigmas.js";
import { numpyLog } from "../torch-functions.js";
import { divided, f32, linear, quotient, type Term } from "../vector.js";
import { coefficients, converted } from "./dpm-solver.js";

/**
 * DEIS, log-rho multistep of order 1 to 3: Zhang and Chen 2022 (arXiv:2204.13902). Integrates the polynomial
 * through the last noise predictions over rho = sigma / alpha. Ends at the lowest training level, not at 0.
 */
export function deis(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = intervalGrid(c, run, {
    roundCurves: true,
    last: (curveEnd, lowest) => curveEnd ?? lowest,
  });
  const levels = sigmas.map(levelOf);
  const n = timesteps.length;
  const few = c.lower_order_final && n < 15;

  const start = (): Step => {
    let history: Float32Array[] = []; // newest first
    return (output, evaluation, sample) => {
      const [s0, t] = [levels[evaluation]!, levels[evaluation + 1]!];
      const clean = converted(c, "dpmsolver++", s0, sample, output, run.shape?.[0] ?? 1);
      const epsilon = quotient(sample, s0.alpha, clean, s0.sigma);
      history = [epsilon, ...history].slice(0, c.solver_order);
      const most = few && evaluation === n - 1 ? 1 : few && evaluation === n - 2 ? 2 : c.solver_order;
      const order = Math.min(history.length, most);
      if (t.sigma === 0) return clean; // the first-order step to no noise at all
      if (order === 1) {
        const k = coefficients(c, "dpmsolver", s0, t);
        return linear([k.sample, sample], [k.d0, epsilon]);
      }
      const rhos = levels
        .slice(evaluation - order + 1, evaluation + 1)
        .reverse()
        .map((l) => f32(l.sigma / l.alpha));
      const end = f32(t.sigma / t.alpha);
      const terms = history.slice(0, order).map((e, j): Term => [weight(end, rhos, j), e]);
      return linear([t.alpha, linear([1, divided(sample, s0.alpha)], ...terms)]);
    };
  };
  return { ...solverFrame(c, timesteps, sigmas, first), start };
}

/**
 * The integral over rho, from the newest rho to `end`, of the j-th Lagrange polynomial in log rho. Levels that lie
 * close together make it a small difference of large numbers, so every rounding to float32 is where the reference
 * has it, and the logarithm is numpy's, to the last bit.
 */
function weight(end: number, rhos: readonly number[], j: number): number {
  const [b, c, d] = rhos.map((_, k) => numpyLog(rhos[(j + k) % rhos.length]!)) as [number, number, number?];
  const antiderivative = (rho: number): number => {
    const l = numpyLog(rho);
    if (d === undefined) return f32(f32(rho * f32(f32(l - c) - 1)) / f32(b - c));
    const constant = f32(f32(f32(c * f32(f32(d - l) + 1)) - f32(d * l)) + d);
    const inner = f32(f32(f32(constant + f32(l * l)) - f32(2 * l)) + 2);
    return f32(f32(rho * inner) / f32(f32(b - c) * f32(b - d)));
  };
  return f32(antiderivative(end) - antiderivative(rhos[0]!));
}
