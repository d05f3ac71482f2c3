import {
  createScheduler,
  DiffusionError,
  type ModelInfo,
  type Scheduler,
  schedulerConfig,
} from "../../index.js";
import { type StoredGenerate, webuiStrength } from "../requests/request.js";

/** Steps that are taken for one job, about 0.1 ms each; of the runs beyond them only the timesteps are looked at. */
const mostSteps = 3000;

/**
 * Takes the steps of a run on a single number, so that what a scheduler cannot do (more steps than the model was
 * trained with, a step without a solution) is refused before a job waits for it.
 *
 * @param runs the requests of a job's pictures
 * @throws DiffusionError BAD_OPTION
 */
export function checkSteps(
  runs: readonly StoredGenerate[],
  { schedulerConfig: model, usual }: ModelInfo,
): void {
  const seen = new Set<string>();
  let left = mostSteps;
  for (const {
    scheduler = usual.scheduler,
    steps = usual.steps,
    eta,
    image,
    strength,
    exactSteps,
    webuiSteps,
  } of runs) {
    // Distilled models run all steps on a picture, on a part of their schedule: here they are tried on the whole.
    const distilled = model?._class_name === "LCMScheduler";
    const starts = image !== undefined && strength !== undefined && !exactSteps && !distilled;
    const run = {
      steps,
      ...(eta !== undefined && { eta }),
      ...(starts && { strength: webuiSteps ? webuiStrength(strength, steps) : strength }),
    };
    const key = JSON.stringify([scheduler, run]);
    if (seen.has(key)) continue;
    seen.add(key);
    const choice = isPair(scheduler) ? pairOf(scheduler) : scheduler;
    const config = choice === undefined ? model : schedulerConfig(choice, model);
    if (!config) continue;
    const made = createScheduler(config, run);
    left -= made.timesteps.length;
    if (left > 0) takeSteps(made);
  }
}

interface Pair {
  readonly sampler: string;
  readonly schedule?: string | undefined;
}

const isPair = (scheduler: string | object | undefined): scheduler is Pair =>
  typeof scheduler === "object" && "sampler" in scheduler;

const pairOf = ({ sampler, schedule }: Pair) => ({
  sampler,
  ...(schedule !== undefined && { schedule }),
});

function takeSteps(scheduler: Scheduler): void {
  // One that finds its timesteps on the way has none that could be impossible.
  const count = scheduler.timesteps.length;
  let sample: Float32Array = Float32Array.of(scheduler.initNoiseSigma);
  for (let i = 0; i < count && i < scheduler.timesteps.length; i++)
    try {
      scheduler.scaleInput(sample, i);
      sample = scheduler.step(new Float32Array(1), i, sample, () => new Float32Array(1));
    } catch (error) {
      // With a network's real output it may go otherwise, but for what the configuration says.
      if (error instanceof DiffusionError && error.code === "BAD_OPTION") throw error;
      return;
    }
}
