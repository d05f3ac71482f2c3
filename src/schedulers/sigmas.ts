import { DiffusionError } from "../errors.js";
import { betaQuantile } from "./beta-distribution.js";
import type { Settings } from "./config.js";
import type { SigmaSchedule } from "./lists.js";
import type { Run } from "./plan.js";
import { type NoiseSchedule, noiseSchedule, torchLinspace } from "./schedule.js";
import { firstStep, intervalTimesteps, linspace, pointTimesteps, roundHalfEven } from "./spacing.js";
import { numpyLog } from "./torch-functions.js";
import { f32 } from "./vector.js";

/** The noise levels of a run: one more than there are steps, the last one is where the run ends. */
export interface Grid {
  readonly timesteps: number[];
  readonly sigmas: number[];
  /** The levels of the steps before they are rounded to float32. */
  readonly exact: number[];
  /** Index of the first step that is run. */
  readonly first: number;
  readonly schedule: NoiseSchedule;
}

/** How many steps the run asks for, checked. */
export function stepCount(c: Settings, run: Run, fallback = 50): number {
  const given = [run.steps, run.timesteps, run.sigmas].filter((x) => x !== undefined).length;
  if (given > 1)
    throw new DiffusionError("BAD_OPTION", "give one of steps, timesteps and sigmas, not several of them");
  if (run.timesteps) return checkedTimesteps(c, run.timesteps).length;
  if (run.sigmas) return checkedSigmas(run.sigmas).length - 1;
  const steps = run.steps ?? fallback;
  if (!Number.isInteger(steps) || steps < 1 || steps > c.num_train_timesteps)
    throw new DiffusionError(
      "BAD_OPTION",
      `steps must be a whole number from 1 to ${c.num_train_timesteps}, not ${steps}`,
      steps > c.num_train_timesteps
        ? { hint: `the model was trained with ${c.num_train_timesteps} timesteps` }
        : {},
    );
  return steps;
}

function checkedTimesteps(c: Settings, list: readonly number[]): readonly number[] {
  const falls = list.every((t, i) => i === 0 || t < list[i - 1]!);
  if (list.length > 0 && falls && list.at(-1)! >= 0 && list[0]! < c.num_train_timesteps) return list;
  throw new DiffusionError(
    "BAD_OPTION",
    `timesteps must fall strictly and lie between 0 and ${c.num_train_timesteps - 1}, not [${list.slice(0, 8).join(", ")}${list.length > 8 ? ", …" : ""}]`,
  );
}

function checkedSigmas(list: readonly number[]): readonly number[] {
  const falls = list.every((s, i) => i === 0 || s < list[i - 1]!);
  if (list.length > 1 && falls && list.at(-1)! >= 0 && list[0]! < Number.POSITIVE_INFINITY) return list;
  throw new DiffusionError(
    "BAD_OPTION",
    `sigmas must be at least two numbers that fall strictly and end at 0 or above, not [${list.slice(0, 8).join(", ")}]`,
  );
}

/** Refuses custom timesteps or sigmas where the rule or the schedule cannot honour them. */
export function refuseCustom(name: string, run: Run, ...kinds: ("timesteps" | "sigmas")[]): void {
  for (const kind of kinds)
    if (run[kind])
      throw new DiffusionError("BAD_OPTION", `${name} cannot run custom ${kind}`, {
        hint: `leave ${kind} out, or use euler`,
      });
}

/**
 * The grid of the rules that go from point to point in sigma: Euler, Heun, LMS, DPM2 and their relatives.
 * @param round what the reference does to fractional timesteps before it looks up their levels
 * @param root see `noiseSchedule`
 */
export function pointGrid(
  c: Settings,
  run: Run,
  round: (timestep: number) => number = f32,
  root?: (x: number) => number,
): Grid {
  const schedule = noiseSchedule(c, 2 ** -24, root);
  const n = stepCount(c, run);
  const ready = customGrid(c, run, n, schedule);
  if (ready) return ready;
  const timesteps = run.timesteps ?? pointTimesteps(c, n).map(round);
  const spaced =
    c.interpolation_type === "log_linear"
      ? logLinear(schedule.sigmas, n + 1)
      : timesteps.map((t) => interpolate(t, schedule.sigmas));
  const curve = curveBetween(c, c.sigma_min ?? spaced[n - 1]!, c.sigma_max ?? spaced[0]!, n);
  const last = c.final_sigmas_type === "sigma_min" ? schedule.sigmas[0]! : 0;
  return {
    timesteps: curve ? curve.map((s) => sigmaToTimestep(s, schedule.sigmas)) : [...timesteps],
    sigmas: [...(curve ?? spaced), last].map(f32),
    exact: curve ?? spaced,
    first: firstStep(n, run.strength),
    schedule,
  };
}

/** Where the multistep classes of diffusers differ. */
export interface IntervalDialect {
  /** Whether the timesteps of Karras and lambda curves are rounded; all others are cut off. */
  readonly roundCurves: boolean;
  /** Where the last step ends, given the last level of the curve, if there is one, and that of timestep 0. */
  readonly last: (curveEnd: number | undefined, lowest: number) => number;
}

/** The grid of the multistep solvers: whole timesteps, and curves over the whole range of the model's sigmas. */
export function intervalGrid(c: Settings, run: Run, dialect: IntervalDialect): Grid {
  const schedule = noiseSchedule(c, 2 ** -24);
  const n = stepCount(c, run);
  const ready = customGrid(c, run, n, schedule);
  if (ready) return ready;
  const table = schedule.sigmas;
  const [min, max] = [c.sigma_min ?? table[0]!, c.sigma_max ?? table.at(-1)!];
  const curve = c.use_lu_lambdas ? luLambdas(table, n) : curveBetween(c, min, max, n);
  const rounded = dialect.roundCurves && (c.use_karras_sigmas || c.use_lu_lambdas);
  const clipped = c.num_train_timesteps - clippedTimesteps(c, schedule);
  const timesteps = curve
    ? curve.map((s) => sigmaToTimestep(s, table)).map(rounded ? roundHalfEven : Math.trunc)
    : [...(run.timesteps ?? intervalTimesteps(c, n, clipped))];
  const levels = curve ?? timesteps.map((t) => interpolate(t, table));
  return {
    timesteps,
    sigmas: [...levels, dialect.last(curve?.at(-1), table[0]!)].map(f32),
    exact: levels,
    first: firstStep(n, run.strength),
    schedule,
  };
}

/** The training timesteps at the noisy end that `lambda_min_clipped` leaves out (lambda is half the log SNR). */
function clippedTimesteps(c: Settings, schedule: NoiseSchedule): number {
  const lambda = (a: number) =>
    f32(f32(Math.log(f32(Math.sqrt(a)))) - f32(Math.log(f32(Math.sqrt(f32(1 - a))))));
  return schedule.alphas.reduce((count, a) => count + (lambda(a) < c.lambda_min_clipped ? 1 : 0), 0);
}

/** Grids that do not come from a spacing: the caller's own sigmas, and AUTOMATIC1111's schedules. */
function customGrid(c: Settings, run: Run, n: number, schedule: NoiseSchedule): Grid | undefined {
  const curved = c.use_karras_sigmas || c.use_exponential_sigmas || c.use_beta_sigmas || c.use_lu_lambdas;
  if ((run.timesteps || run.sigmas) && (curved || c.schedule))
    throw new DiffusionError(
      "BAD_OPTION",
      "custom timesteps or sigmas contradict the schedule of the config",
      {
        hint: "leave out the schedule (karras, exponential, …) or the list",
      },
    );
  if (!run.sigmas && !c.schedule) return undefined;
  const sigmas = (
    run.sigmas ?? namedSigmas(c.schedule!, c.discard_next_to_last_sigma ? n + 1 : n, schedule.sigmas)
  ).map(f32);
  if (!run.sigmas && c.discard_next_to_last_sigma) sigmas.splice(-2, 1);
  const timesteps = sigmas.slice(0, -1).map((s) => sigmaToTimestep(s, schedule.sigmas));
  return {
    timesteps,
    sigmas,
    exact: sigmas.slice(0, -1),
    first: firstStep(timesteps.length, run.strength),
    schedule,
  };
}

/** The curve that a diffusers flag asks for, from the highest to the lowest level, if any. */
function curveBetween(c: Settings, min: number, max: number, n: number): number[] | undefined {
  if (c.use_karras_sigmas) return karras(min, max, n);
  if (c.use_exponential_sigmas) return exponential(min, max, n);
  if (c.use_beta_sigmas) return beta(min, max, n);
  return undefined;
}

/** Karras et al. 2022 (arXiv:2206.00364), eq. 5. */
export const karras = (min: number, max: number, n: number, rho = 7): number[] =>
  linspace(0, 1, n).map((x) => (max ** (1 / rho) + x * (min ** (1 / rho) - max ** (1 / rho))) ** rho);

const exponential = (min: number, max: number, n: number): number[] =>
  linspace(Math.log(max), Math.log(min), n).map(Math.exp);

/** diffusers' interpolation_type "log_linear": the line between the logarithms of the table's ends, from the highest. */
const logLinear = (table: Float32Array, n: number): number[] =>
  [...torchLinspace(numpyLog(table.at(-1)!), numpyLog(table[0]!), n)].map(Math.exp);

/** Lu et al. 2022 (arXiv:2206.00927): even steps of log sigma over the whole table, from the highest level down. */
const luLambdas = (table: Float32Array, n: number): number[] => {
  const [top, bottom] = [numpyLog(table.at(-1)!), numpyLog(table[0]!)];
  return linspace(0, 1, n).map((x) => Math.exp(top + x * (bottom - top)));
};

/** Lee et al. 2024 (arXiv:2407.12173): quantiles of the Beta(0.6, 0.6) distribution. */
const beta = (min: number, max: number, n: number): number[] =>
  linspace(0, 1, n).map((x) => min + betaQuantile(1 - x, 0.6, 0.6) * (max - min));

/**
 * AUTOMATIC1111's schedules (its `sd_schedulers.py`) over a model's table of sigmas. All end in 0 but kl_optimal,
 * which ends at the lowest level. "ddim_uniform" takes every (1000 / n, rounded down)th level, which can be more
 * than n levels.
 */
export function namedSigmas(name: SigmaSchedule, n: number, table: Float32Array): number[] {
  const [min, max, top] = [table[0]!, table.at(-1)!, table.length - 1];
  switch (name) {
    case "karras":
      return [...karras(min, max, n), 0];
    case "exponential":
    case "polyexponential": // rho 1, its default, is the exponential curve
      return [...exponential(min, max, n), 0];
    case "beta":
      return [...beta(min, max, n), 0];
    case "kl_optimal": // Sabour et al. 2024 (arXiv:2404.14507), eq. 9
      return linspace(0, 1, n + 1).map((x) => Math.tan(x * Math.atan(min) + (1 - x) * Math.atan(max)));
    case "align_your_steps":
      return [...resampled(alignYourSteps, n), 0];
    case "simple":
      return [...Array.from({ length: n }, (_, i) => table[top - Math.floor((i * table.length) / n)]!), 0];
    case "ddim_uniform": {
      const stride = Math.max(Math.floor(table.length / n), 1);
      return [...table.filter((_, i) => i % stride === 1 % stride && i > 0).reverse(), 0];
    }
    case "uniform":
    case "normal":
      return [...linspace(top, 0, n).map((t) => logInterpolate(t, table)), 0];
    case "sgm_uniform":
      return [
        ...linspace(top, 0, n + 1)
          .slice(0, n)
          .map((t) => logInterpolate(t, table)),
        0,
      ];
  }
}

/** Sabour et al. 2024 (arXiv:2404.14507): levels found for Stable Diffusion 1.5, ten steps. */
const alignYourSteps = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];

/** Log-linear interpolation of a falling list of levels to another length. */
function resampled(levels: readonly number[], n: number): number[] {
  const logs = levels.map(Math.log);
  return linspace(0, logs.length - 1, n).map((x) => {
    const i = Math.min(Math.floor(x), logs.length - 2);
    return Math.exp(logs[i]! + (logs[i + 1]! - logs[i]!) * (x - i));
  });
}

/** numpy.interp of the table at a fractional index; indices outside take the nearest end. */
export function interpolate(t: number, table: Float32Array): number {
  const top = table.length - 1;
  if (t <= 0) return table[0]!;
  if (t >= top) return table[top]!;
  const i = Math.floor(t);
  return (table[i + 1]! - table[i]!) * (t - i) + table[i]!;
}

/** k-diffusion's interpolation of the table: linear in log sigma. */
function logInterpolate(t: number, table: Float32Array): number {
  const [low, high] = [table[Math.floor(t)]!, table[Math.ceil(t)]!];
  const w = t - Math.floor(t);
  return Math.exp((1 - w) * Math.log(low) + w * Math.log(high));
}

/** The fractional timestep at which the table reaches a level: linear in log sigma, kept inside the table. */
export const sigmaToTimestep = (sigma: number, table: Float32Array): number =>
  timestepAt(Math.log(Math.max(sigma, 1e-10)), table, (x) => x);

/** The same where the reference computes it in float32: for levels that are torch's numbers. */
export const sigmaToTimestep32 = (sigma: number, table: Float32Array): number =>
  timestepAt(numpyLog(Math.max(sigma, f32(1e-10))), table, f32);

function timestepAt(level: number, table: Float32Array, round: (x: number) => number): number {
  let low = 0;
  let high = table.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (numpyLog(table[middle]!) <= level) low = middle;
    else high = middle;
  }
  const [a, b] = [numpyLog(table[low]!), numpyLog(table[low + 1]!)];
  const w = Math.min(Math.max(round(round(a - level) / f32(a - b)), 0), 1);
  return round(round(round(1 - w) * low) + round(w * (low + 1)));
}
