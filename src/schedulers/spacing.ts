import { DiffusionError } from "../errors.js";
import type { Settings } from "./config.js";

/** numpy.linspace with both ends. */
export function linspace(start: number, end: number, n: number): number[] {
  const step = (end - start) / (n - 1);
  return Array.from({ length: n }, (_, i) => (n > 1 && i === n - 1 ? end : start + (n > 1 ? i * step : 0)));
}

/** numpy.round: halves go to the even neighbour. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  if (x - floor !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}

/**
 * Timesteps of `n` steps, falling, for the rules that begin at the last training timestep and stop above zero
 * noise: "linspace" keeps fractions, "leading" and "trailing" are whole (table 2 of arXiv:2305.08891).
 */
export function pointTimesteps(c: Settings, n: number): number[] {
  const train = c.num_train_timesteps;
  if (c.timestep_spacing === "linspace") return linspace(0, train - 1, n).reverse();
  if (c.timestep_spacing === "leading") {
    const ratio = Math.floor(train / n);
    return Array.from({ length: n }, (_, i) => (n - 1 - i) * ratio + c.steps_offset);
  }
  return trailing(train, train, n);
}

/** The same, whole, for the rules that look a timestep up in the model's table: with an offset, as many steps as
 * timesteps would begin one behind its end. */
export const tableTimesteps = (c: Settings, n: number): number[] =>
  pointTimesteps(c, n).map((t) => Math.min(roundHalfEven(t), c.num_train_timesteps - 1));

/** Timesteps for the multistep solvers: `n` intervals, the last of which ends at (or near) timestep 0. */
export function intervalTimesteps(c: Settings, n: number, last = c.num_train_timesteps): number[] {
  if (c.timestep_spacing === "linspace")
    return linspace(0, last - 1, n + 1)
      .map(roundHalfEven)
      .reverse()
      .slice(0, n);
  if (c.timestep_spacing === "leading") {
    const ratio = Math.floor(last / (n + 1));
    return Array.from({ length: n }, (_, i) => (n - i) * ratio + c.steps_offset);
  }
  return trailing(last, c.num_train_timesteps, n);
}

/** numpy.arange(last, 0, -train / n).round() - 1; the products are numpy's, down to the last bit. */
function trailing(last: number, train: number, n: number): number[] {
  const step = last - train / n - last;
  const length = Math.min(n, Math.ceil(last / (train / n)));
  return Array.from({ length }, (_, i) => roundHalfEven(last + i * step) - 1);
}

/** The index of the first step that img2img runs: `strength` of the steps, rounded down, are left. */
export function firstStep(n: number, strength = 1): number {
  if (!(strength >= 0 && strength <= 1))
    throw new DiffusionError("BAD_OPTION", `strength must be a number from 0 to 1, not ${strength}`);
  const run = Math.min(Math.floor(n * strength), n);
  if (run === 0)
    throw new DiffusionError("BAD_OPTION", `strength ${strength} leaves none of ${n} steps to run`, {
      hint: `use a strength of at least ${Math.ceil(1000 / n) / 1000}, or more steps`,
    });
  return n - run;
}
