/**
 * How the network's answers for several conditions become one. A condition's row in the batch is fixed by the
 * order in `pipeline.ts`: the negative prompt first, then the prompt.
 */
export type Guidance = (outputs: readonly Float32Array[]) => Float32Array;

/** One condition alone: the network is asked once per step. */
export const unguided: Guidance = ([output]) => output!;

/** What a network call is about: rows of the batch, by number, and how the answers for them become one. */
export interface Asked {
  readonly rows: readonly number[];
  readonly guide: Guidance;
}

/** What each network call is about; calls count from 0. */
export type GuidancePlan = (call: number) => Asked;

/** One condition alone, at every call. */
export const alone: GuidancePlan = () => ({ rows: [0], guide: unguided });

/**
 * Guides within an interval of the run alone (Kynkäänniemi et al. 2024, "Applying guidance in a limited interval
 * improves sample and distribution quality in diffusion models"). Rounded as diffusers' guiders do.
 *
 * @param interval shares of the calls: from the first one to before the last
 */
export function within(
  [start, end]: readonly [number, number],
  calls: number,
  { inside, outside }: { inside: Asked; outside: Asked },
): GuidancePlan {
  const [from, to] = [Math.floor(start * calls), Math.floor(end * calls)];
  return (call) => (call >= from && call < to ? inside : outside);
}

/**
 * Classifier-free guidance (Ho and Salimans 2022): uncond + scale * (cond - uncond). With `rescale`, the standard
 * deviation of the result is brought back towards that of `cond` by that share (Lin et al. 2023, section 3.4).
 */
export function classifierFree(scale: number, rescale = 0): Guidance {
  return ([uncond, cond]) => {
    const guided = cond!.map((c, i) => uncond![i]! + scale * (c - uncond![i]!));
    if (rescale === 0) return guided;
    const factor = deviation(cond!) / deviation(guided);
    return guided.map((g) => rescale * g * factor + (1 - rescale) * g);
  };
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

/** InstructPix2Pix (Brooks et al. 2023, equation 3). Rows: nothing, image alone, image and prompt. */
export function imageAndText(scale: number, imageScale: number): Guidance {
  return ([uncond, image, text]) =>
    uncond!.map((u, i) => u + scale * (text![i]! - image![i]!) + imageScale * (image![i]! - u));
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
