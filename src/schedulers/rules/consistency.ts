import { DiffusionError } from "../../errors.js";
import type { Settings } from "../config.js";
import type { Run } from "../plan.js";
import { stepCount } from "../sigmas.js";

/**
 * Timesteps of the distilled models (LCM, TCD): a subset of the schedule that they were distilled on.
 * `originalSteps` in the run means every training timestep to TCD (`dense`), a number of steps to LCM.
 */
export function distilledTimesteps(
  c: Settings,
  run: Run,
  dense: boolean,
): { timesteps: readonly number[]; n: number } {
  const n = stepCount(c, run, 4);
  if (run.timesteps) {
    const used = Math.min(Math.floor(n * (run.scheduleStrength ?? 1)), n);
    return { timesteps: run.timesteps.slice(n - used), n };
  }
  const original = run.originalSteps ?? c.original_inference_steps;
  const share = run.scheduleStrength ?? 1;
  const stride = Math.floor(c.num_train_timesteps / original);
  const origin = dense
    ? Array.from({ length: Math.floor(c.num_train_timesteps * share) }, (_, i) => i)
    : Array.from({ length: Math.floor(original * share) }, (_, i) => (i + 1) * stride - 1);
  if (!(original <= c.num_train_timesteps) || n > origin.length || n > original)
    throw new DiffusionError(
      "BAD_OPTION",
      `steps must be at most ${Math.min(origin.length, original)}, not ${n}: a distilled model knows ${original} timesteps`,
      { hint: "distilled models need 1 to 8 steps" },
    );
  const falling = origin.reverse();
  return {
    timesteps: Array.from({ length: n }, (_, i) => falling[Math.floor((i * falling.length) / n)]!),
    n,
  };
}
