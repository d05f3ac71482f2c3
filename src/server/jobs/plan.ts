import {
  DiffusionError,
  type GenerationPlan,
  planGeneration,
  type Scheduler,
  type Size,
} from "../../index.js";
import { coveringSize, wholeSize } from "../../options/sizes.js";
import { gridCells } from "../requests/grid.js";
import type { Limits } from "../requests/limits.js";
import { type StoredGenerate, startOf, tooLarge } from "../requests/request.js";
import { libraryOptions } from "./library-options.js";
import type { ModelOption } from "./model-option.js";
import type { Models } from "./models.js";

/** Steps that are taken for one job, about 0.1 ms each; of the runs beyond them only the timesteps are looked at. */
const mostSteps = 3000;

/** Sizes of the pictures that a request starts from. */
export interface Starts {
  readonly image?: Size | undefined;
  readonly images?: readonly Size[] | undefined;
}

/** Pictures of a request that take the same. */
interface Alike {
  readonly one: StoredGenerate;
  readonly times: number;
  readonly image: Size | undefined;
}

/**
 * Checks what a job takes by what the library makes of its options: the size of every pass, and how often the network
 * is asked. The steps of each run are taken on a single number, too, so that what a scheduler cannot do (more steps than
 * the model was trained with, a step without a solution) is refused before a job waits for it.
 *
 * @throws Refusal TOO_LARGE; DiffusionError BAD_OPTION for what the library refuses
 */
export async function checkPlan(
  request: StoredGenerate,
  {
    option,
    models,
    starts,
  }: { readonly option: ModelOption; readonly models: Models; readonly starts: Starts },
  limits: Pick<Limits, "resultPixels" | "work">,
): Promise<void> {
  const plans = new Map<string, GenerationPlan>();
  let work = 0;
  let left = mostSteps;
  for (const { one, times, image } of alike(request, starts)) {
    checkSize(askedSize(one, option.info.usual), limits);
    const key = JSON.stringify([{ ...one, prompt: "", negativePrompt: "", seed: 0, count: 1 }, image]);
    const known = plans.get(key);
    const plan = known ?? planGeneration(await plannedOptions(one, models), option.info, image);
    plans.set(key, plan);
    for (const size of [plan, ...plan.passes, ...(one.seedSize ? [one.seedSize] : [])])
      checkSize(size, limits);
    const passes = plan.passes.reduce((sum, pass) => sum + pass.width * pass.height * pass.evaluations, 0);
    const noise = one.seedSize ? one.seedSize.width * one.seedSize.height : 0;
    work += times * (passes + noise);
    if (work > limits.work)
      throw tooLarge("the job is too long", "fewer steps, fewer pictures, or smaller ones");
    for (const { scheduler } of known ? [] : plan.passes) {
      left -= scheduler.timesteps.length;
      if (left > 0) takeSteps(scheduler);
    }
  }
}

function checkSize({ width, height }: Size, { resultPixels }: Pick<Limits, "resultPixels">): void {
  if (width * height > resultPixels)
    throw tooLarge(`${width} x ${height} are more pixels than this server makes`, `at most ${resultPixels}`);
}

/** The largest picture that a request names itself: of a second pass, the first picture enlarged until it covers it. */
function askedSize({ width, height, hires }: StoredGenerate, usual: Size): Size {
  const first = { width: width ?? usual.width, height: height ?? usual.height };
  return hires ? coveringSize(first, wholeSize(hires, first)) : first;
}

function alike(request: StoredGenerate, { image, images }: Starts): Alike[] {
  const cells = gridCells(request);
  if (cells.length > 0) return cells.map((one) => ({ one, times: one.count, image }));
  if (!images) return [{ one: request, times: request.count, image }];
  return images.map((size, i) => ({
    one: startOf(request, i),
    times: Math.ceil((request.count - i) / images.length),
    image: size,
  }));
}

/** Content of pictures does not matter for a plan. With a refiner both models take the steps of one, which knows no scores. */
function plannedOptions(one: StoredGenerate, models: Models) {
  const { aestheticScore, negativeAestheticScore, ...base } = one;
  return libraryOptions(one.refiner ? base : one, models, async () => new Uint8Array());
}

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
