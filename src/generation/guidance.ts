import type { WholeOptions } from "../options/resolved.js";
import { findsItsSteps } from "../schedulers/catalog.js";

/**
 * How the network's answers for several conditions become one: the negative prompt's first, then those of the prompts
 * (`Conditions.rows`).
 */
export type Guidance = (outputs: readonly Float32Array[]) => Float32Array;

/** Without guidance: the answer for the only condition. */
export const unguided: Guidance = ([output]) => output!;

/** One network call: the conditions that it is for, by their rows, and how the answers for them become one. */
export interface Evaluation {
  readonly rows: readonly number[];
  /** Asks for the last row once more, with perturbed self-attention; that answer comes last. */
  readonly isPerturbed?: boolean;
  readonly guide: Guidance;
}

/** What each evaluation is for; they count from 0. */
export type GuidancePlan = (evaluation: number) => Evaluation;

/** The only condition, at every evaluation. */
export const oneCondition: GuidancePlan = () => ({ rows: [0], guide: unguided });

/**
 * Guides only within an interval of the run (Kynkäänniemi et al. 2024, "Applying guidance in a limited interval
 * improves sample and distribution quality in diffusion models"). Rounded as diffusers' guiders do.
 *
 * @param interval shares of the evaluations: from the first one to before the last
 */
export function within(
  [start, end]: readonly [number, number],
  evaluations: number,
  { inside, outside }: { inside: Evaluation; outside: Evaluation },
): GuidancePlan {
  const [from, to] = [Math.floor(start * evaluations), Math.floor(end * evaluations)];
  return (evaluation) => (evaluation >= from && evaluation < to ? inside : outside);
}

/** Shares of a run between which something acts. */
interface Window {
  readonly start: number;
  readonly end: number;
}

/** Whether it acts at an evaluation, all of which lies between the two shares: as diffusers' ControlNets do. */
export const actsAt = ({ start, end }: Window, evaluation: number, evaluations: number): boolean =>
  evaluation / evaluations >= start && (evaluation + 1) / evaluations <= end;

/** The evaluations of a pass that are run, and how many its scheduler has. */
interface Run {
  readonly from: number;
  readonly to: number;
  readonly all: number;
}

/** What adapters and guidance of a generation act at no evaluation of its passes, in words. */
export function idleNotes(
  {
    controls,
    pictures,
    options: { guidanceInterval, scheduler },
  }: {
    readonly controls: readonly Window[];
    readonly pictures: readonly Window[];
    readonly options: Pick<WholeOptions, "guidanceInterval" | "scheduler">;
  },
  runs: readonly Run[],
): string[] {
  const steps = runs.reduce((sum, { from, to }) => sum + to - from, 0);
  // How many an adaptive scheduler takes shows only on the way.
  if (steps === 0 || (scheduler !== "custom" && findsItsSteps(scheduler))) return [];
  const isIdle = (window: Window) =>
    !runs.some((run) => evaluationsIn(run).some((i) => actsAt(window, i, run.all)));
  const none = steps === 1 ? "not at the only step" : `at none of the ${steps} steps`;
  const noted = (name: string, windows: readonly Window[]) =>
    windows.flatMap((window, i) =>
      isIdle(window)
        ? [`${name}.${i} acts ${none}: its start is ${window.start}, its end ${window.end}`]
        : [],
    );
  const guides = ([start, end]: readonly [number, number]) =>
    runs.some(({ all }) => Math.floor(start * all) < Math.floor(end * all));
  return [
    ...noted("controlnet", controls),
    ...noted("ipAdapter", pictures),
    ...(guidanceInterval && !guides(guidanceInterval)
      ? [`guidanceInterval ${guidanceInterval.join(" to ")} guides ${none}`]
      : []),
  ];
}

const evaluationsIn = ({ from, to }: Run): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/**
 * Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (cond - uncond). With `rescale`, the standard
 * deviation of the result is brought back towards that of `cond` by that share (Lin et al. 2023, section 3.4).
 */
export function classifierFree(scale: number, rescale = 0): Guidance {
  return ([uncond, cond]) =>
    rescaled(
      cond!.map((c, i) => uncond![i]! + scale * (c - uncond![i]!)),
      cond!,
      rescale,
    );
}

/**
 * Perturbed attention guidance (Ahn et al. 2024, "Self-Rectifying Diffusion Sampling with Perturbed-Attention
 * Guidance", eq. 16), beside classifier-free guidance or without: + scale * (cond - perturbed).
 *
 * @param free classifier-free guidance, where there is some
 */
export function perturbedAttention(
  scale: number,
  free?: { readonly scale: number; readonly rescale: number },
): Guidance {
  return (outputs) => {
    const [cond, perturbed] = outputs.slice(-2) as [Float32Array, Float32Array];
    const away = (i: number) => scale * (cond[i]! - perturbed[i]!);
    if (!free) return cond.map((c, i) => c + away(i));
    const uncond = outputs[0]!;
    const guided = cond.map((c, i) => uncond[i]! + free.scale * (c - uncond[i]!) + away(i));
    return rescaled(guided, cond, free.rescale);
  };
}

/** The standard deviation of a guided answer brought back towards that of `cond`, by a share. */
function rescaled(guided: Float32Array, cond: Float32Array, share: number): Float32Array {
  if (share === 0) return guided;
  const factor = deviation(cond) / deviation(guided);
  return guided.map((g) => share * g * factor + (1 - share) * g);
}

/**
 * Several conditions as one (Liu et al. 2022, equation 13): uncond + the sum of weight * (cond - uncond).
 *
 * @param outputs the one without a condition, then the others
 * @param weights of the others
 */
export function composed(outputs: readonly Float32Array[], weights: readonly number[]): Float32Array[] {
  const [uncond, ...conds] = outputs;
  const sum = uncond!.map((u, i) => {
    let value = u;
    for (const [k, weight] of weights.entries()) value += weight * (conds[k]![i]! - u);
    return value;
  });
  return [uncond!, sum];
}

/**
 * InstructPix2Pix (Brooks et al. 2023, equation 3). Rows: nothing, only the image, image and prompt.
 *
 * @param rescale towards the answer for image and prompt, as diffusers' pipeline for SDXL does it
 */
export function imageAndText(scale: number, imageScale: number, rescale = 0): Guidance {
  return ([uncond, image, text]) =>
    rescaled(
      uncond!.map((u, i) => u + scale * (text![i]! - image![i]!) + imageScale * (image![i]! - u)),
      text!,
      rescale,
    );
}

/** With n - 1 in the denominator, as torch's std. */
function deviation(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  const mean = sum / values.length;
  let squares = 0;
  for (const value of values) squares += (value - mean) ** 2;
  return Math.sqrt(squares / (values.length - 1));
}
