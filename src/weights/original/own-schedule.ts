import type { JsonObject } from "../../disk/json.js";

/** What a file's own table of its schedule, `alphas_cumprod`, says about a scheduler's configuration. */
export type OwnSchedule = "agrees" | "ends in noise" | "disagrees";

/**
 * Single files carry the share of the picture that is left at each step of training. diffusers computes it anew and never
 * looks; the web UI takes the file's. Both are right for all files whose table is that of the scheduler.
 *
 * @param stored the file's table, rounded as the file's weights are
 * @returns "ends in noise" for the scheduler's table brought to a zero terminal signal (Lin et al. 2023,
 * arXiv:2305.08891); undefined where the configuration's table is not known here
 */
export function ownSchedule(stored: readonly number[], config: JsonObject): OwnSchedule | undefined {
  const table = cumulative(config);
  if (!table) return undefined;
  if (agree(stored, config.rescale_betas_zero_snr === true ? zeroTerminal(table) : table)) return "agrees";
  return agree(stored, zeroTerminal(table)) ? "ends in noise" : "disagrees";
}

function cumulative(config: JsonObject): number[] | undefined {
  const {
    beta_start = 0.0001,
    beta_end = 0.02,
    beta_schedule = "linear",
    num_train_timesteps = 1000,
  } = config;
  const known = beta_schedule === "linear" || beta_schedule === "scaled_linear";
  if (!known || (config.trained_betas ?? null) !== null) return undefined;
  const power = beta_schedule === "scaled_linear" ? 2 : 1;
  const [start, end] = [Number(beta_start) ** (1 / power), Number(beta_end) ** (1 / power)];
  const count = Number(num_train_timesteps);
  const table: number[] = [];
  for (let i = 0, left = 1; i < count; i++) {
    left *= 1 - (start + ((end - start) * i) / (count - 1)) ** power;
    table.push(left);
  }
  return table;
}

function zeroTerminal(table: readonly number[]): number[] {
  const roots = table.map(Math.sqrt);
  const [first, last] = [roots[0]!, roots.at(-1)!];
  return roots.map((root) => (((root - last) * first) / (first - last)) ** 2);
}

/** Half precision keeps three digits, bfloat16 a little less. */
const agree = (stored: readonly number[], table: readonly number[]): boolean =>
  stored.length === table.length &&
  table.every((value, i) => Math.abs(stored[i]! - value) <= 1e-4 + 0.005 * value);
