import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import { type Plan, type Run, type Step, sigmaFrame } from "../plan.js";
import { denoised } from "../prediction.js";
import { pointGrid } from "../sigmas.js";
import { f32, linear, quotient, type Term } from "../vector.js";

/** Linear multistep (Adams-Bashforth over uneven steps in sigma): k-diffusion's `sample_lms`. */
export function lms(c: Settings, run: Run): Plan {
  const { timesteps, sigmas, first } = pointGrid(c, run);
  const most = run.order ?? 4;
  if (!Number.isInteger(most) || most < 1 || most > 10)
    throw new DiffusionError("BAD_OPTION", `lms: order must be a whole number from 1 to 10, not ${most}`);

  const start = (): Step => {
    let slopes: Float32Array[] = []; // newest first
    return (output, evaluation, sample) => {
      const sigma = sigmas[evaluation]!;
      const clean = denoised(c.prediction_type, sample, output, sigma);
      slopes = [quotient(sample, 1, clean, sigma), ...slopes].slice(0, most);
      const order = Math.min(evaluation + 1, most);
      const terms = slopes
        .slice(0, order)
        .map((slope, j): Term => [coefficient(sigmas, evaluation, j, order), slope]);
      return linear([1, sample], [1, linear(...(terms as [Term, ...Term[]]))]);
    };
  };
  return { ...sigmaFrame(c, timesteps, sigmas, first), start };
}

/** Nodes and weights of the 21-point Gauss-Kronrod rule (QUADPACK's qk21), from the end of [-1, 1] to its middle. */
const nodes = [
  0.9956571630258081, 0.9739065285171717, 0.9301574913557082, 0.8650633666889845, 0.7808177265864169,
  0.6794095682990244, 0.5627571346686047, 0.4333953941292472, 0.2943928627014602, 0.1488743389816312, 0,
];
const weights = [
  0.011694638867371874, 0.032558162307964725, 0.054755896574351995, 0.07503967481091996, 0.0931254545836976,
  0.10938715880229764, 0.12349197626206584, 0.13470921731147334, 0.14277593857706009, 0.14773910490133849,
  0.1494455540029169,
];

/**
 * The integral of the j-th Lagrange polynomial over the last `order` levels, from this level to the next. A few
 * points would do for a polynomial; these ones, with float32 products, have the rounding errors of the reference.
 */
function coefficient(sigmas: readonly number[], i: number, j: number, order: number): number {
  const lagrange = (tau: number): number => {
    let value = 1;
    for (let k = 0; k < order; k++)
      if (k !== j) {
        const span = f32(sigmas[i - j]! - sigmas[i - k]!);
        value = f32(value * f32(f32(f32(tau) - sigmas[i - k]!) / span));
      }
    return value;
  };
  const [half, middle] = [(sigmas[i + 1]! - sigmas[i]!) / 2, (sigmas[i + 1]! + sigmas[i]!) / 2];
  const sum = nodes.reduce((total, x, p) => {
    const pair = x === 0 ? lagrange(middle) : lagrange(middle + half * x) + lagrange(middle - half * x);
    return total + weights[p]! * pair;
  }, 0);
  return sum * half;
}
