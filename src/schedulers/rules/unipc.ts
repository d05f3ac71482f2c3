import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { type Level, levelOf, type Plan, type Run, type Step, solverFrame } from "../plan.js";
import { intervalGrid } from "../sigmas.js";
import { addDifferences, f32, linear, type Term } from "../vector.js";
import { converted } from "./dpm-solver.js";

/**
 * UniPC: Zhao et al. 2023 (arXiv:2302.04867), algorithms 5 and 6 (B1 and B2). Every evaluation corrects the sample that
 * the last step predicted, then predicts the next one: one evaluation per step.
 */
export function uniPc(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = intervalGrid(c, run, {
    roundCurves: true,
    last: (curveEnd, lowest) => (c.final_sigmas_type === "zero" ? 0 : (curveEnd ?? lowest)),
  });
  refuseZeroEnd(c, sigmas.at(-1)!);
  const levels = sigmas.map(levelOf);
  const algorithm = c.predict_x0 ? "dpmsolver++" : "dpmsolver";
  const unthresholded = c.predict_x0 ? c : { ...c, thresholding: false };

  const start = (): Step => {
    let history: Float32Array[] = []; // newest first
    let last: { sample: Float32Array; order: number } | undefined;
    return (output, evaluation, raw) => {
      const model = converted(
        unthresholded,
        algorithm,
        levels[evaluation]!,
        raw,
        output,
        run.shape?.[0] ?? 1,
      );
      const corrects = last && evaluation > 0 && !c.disable_corrector.includes(evaluation - 1);
      const sample = corrects
        ? update(c, levels, evaluation - 1, last!.sample, history, last!.order, model)
        : raw;
      history = [model, ...history].slice(0, c.solver_order);
      const left = c.lower_order_final ? timesteps.length - evaluation : c.solver_order;
      const order = Math.min(c.solver_order, left, history.length);
      last = { sample, order };
      return update(c, levels, evaluation, sample, history, order);
    };
  };
  return { ...solverFrame(c, timesteps, sigmas, first), start };
}

/** The variants that the paper's coefficients leave undefined at infinite log SNR. */
function refuseZeroEnd(c: Settings, last: number): void {
  if (last > 0) return;
  const wrong =
    c.solver_type === "bh1"
      ? "solver_type bh1"
      : !c.predict_x0
        ? "predict_x0 false"
        : !c.lower_order_final && c.solver_order > 1
          ? "lower_order_final false"
          : undefined;
  if (wrong)
    throw new DiffusionError("BAD_OPTION", `unipc with ${wrong} cannot end at sigma 0`, {
      hint: 'set final_sigmas_type to "sigma_min"',
    });
}

/**
 * The step from level `at` to the next one. Without `arrived` it predicts (UniP); with the model's output at the
 * arrival it corrects (UniC). `history` holds outputs from level `at` backwards.
 */
function update(
  c: Settings,
  levels: readonly Level[],
  at: number,
  sample: Float32Array,
  history: readonly Float32Array[],
  order: number,
  arrived?: Float32Array,
): Float32Array {
  const [s, t] = [levels[at]!, levels[at + 1]!];
  const m0 = history[0]!;
  const h = f32(t.lambda - s.lambda);
  const hh = c.predict_x0 ? -h : h;
  const phi1 = f32(Math.expm1(hh));
  const b = c.solver_type === "bh1" ? hh : phi1;
  const distances = Array.from({ length: order - 1 }, (_, i) =>
    f32(f32(levels[at - 1 - i]!.lambda - s.lambda) / h),
  );
  const rhos = arrived
    ? order === 1
      ? [0.5]
      : solve(...moments([...distances, 1], hh, phi1, b))
    : order <= 2
      ? [0.5]
      : solve(...moments(distances, hh, phi1, b));
  const scale = f32(-(c.predict_x0 ? t.alpha : t.sigma) * b);
  const terms = distances.map((r, i): Term => [f32(scale * f32(rhos[i]! / r)), history[i + 1]!]);
  if (arrived) terms.push([f32(scale * rhos.at(-1)!), arrived]);
  const kept = c.predict_x0 ? t.sigma / s.sigma : t.alpha / s.alpha;
  const plain = linear([kept, sample], [-f32((c.predict_x0 ? t.alpha : t.sigma) * phi1), m0]);
  return addDifferences(plain, m0, terms);
}

/** The linear system for the weights: powers of the distances, and the phi functions of hh over B(h). */
function moments(distances: readonly number[], hh: number, phi1: number, b: number): [number[][], number[]] {
  let [phi, factorial] = [f32(f32(phi1 / hh) - 1), 1];
  const right = distances.map((_, i) => {
    const value = f32(f32(phi * factorial) / b);
    factorial *= i + 2;
    phi = f32(f32(phi / hh) - f32(1 / factorial));
    return value;
  });
  return [distances.map((_, i) => distances.map((r) => f32(r ** i))), right];
}

/** Gaussian elimination with row exchanges, for at most three unknowns. */
function solve(matrix: number[][], right: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, right[i]!]);
  const n = rows.length;
  for (let k = 0; k < n; k++) {
    const pivot = rows.reduce(
      (best, row, i) => (i >= k && Math.abs(row[k]!) > Math.abs(rows[best]![k]!) ? i : best),
      k,
    );
    [rows[k], rows[pivot]] = [rows[pivot]!, rows[k]!];
    for (let i = 0; i < n; i++) {
      if (i === k) continue;
      const factor = rows[i]![k]! / rows[k]![k]!;
      for (let j = k; j <= n; j++) rows[i]![j]! -= factor * rows[k]![j]!;
    }
  }
  return rows.map((row, i) => row[n]! / row[i]!);
}
