import { crop, type Image, type Size } from "../image/image.js";
import { type ResampleFilter, resize } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import { createRng } from "../latents/rng.js";
import { cropValues, type InterpolationMode, resizeValues } from "../latents/upscale.js";
import { coveringSize } from "../options/sizes.js";
import { enlarge } from "./enlarge.js";
import { type Generation, timed } from "./generation.js";
import { decodeLatents } from "./latent-space.js";
import type { Pass, Planned } from "./passes.js";
import { runPass } from "./sampling.js";
import { fromImage, fromLatents } from "./starts.js";

/** The second pass of "hires fix". Given steps are all run, as in the web UI. */
export function hiresPass({ options: { hires, steps } }: Pick<Planned, "options">): Pass {
  const { width, height, strength, steps: exact } = hires!;
  return {
    size: { width, height },
    steps: exact ?? steps,
    strength,
    exact: exact !== undefined,
    before: steps,
  };
}

/**
 * Enlarges latents and denoises them once more, with noise from a new stream of the image's seed.
 *
 * @returns nothing where it was stopped before the first step of that
 */
export async function hiresFix(
  generation: Generation,
  latents: Latents,
  index: number,
): Promise<Latents | undefined> {
  const { loaded, options } = generation;
  const planned = hiresPass(generation);
  const { upscaler } = options.hires!;
  const { factor } = loaded.model;
  const { cells, covering, at } = placed(options, planned.size, factor);
  const whole = { width: covering.width * factor, height: covering.height * factor };
  const [left, top] = [at.left * factor, at.top * factor];
  const region = { left, top, right: left + planned.size.width, bottom: top + planned.size.height };
  const pass: Pass = { ...planned, part: { whole, region } };
  const rng = createRng(options.rng, options.seeds[index]!);
  if (upscaler.startsWith("latent")) {
    const enlarged = resizeValues(latents, covering, interpolation(upscaler));
    const begin = await fromLatents(generation, cropValues(enlarged, at, cells), pass.size);
    return runPass(generation, pass, { index, rng }, begin);
  }
  const picture = await timed(generation, "decode", () => decodeLatents(loaded, latents));
  const enlarged = await larger(generation, picture, whole);
  const begin = await fromImage(generation, crop(enlarged, region));
  return runPass(generation, pass, { index, rng }, begin);
}

/** @internal Where the second picture lies in the first one, enlarged so far that it covers it: in its middle, in latent cells. */
export function placed(first: Size, size: Size, factor: number) {
  const whole = coveringSize(first, size);
  const cells = { width: size.width / factor, height: size.height / factor };
  const covering = { width: Math.floor(whole.width / factor), height: Math.floor(whole.height / factor) };
  const half = (excess: number) => Math.floor(excess / 2);
  const at = { left: half(covering.width - cells.width), top: half(covering.height - cells.height) };
  return { cells, covering, at };
}

/** The first pass's picture, by a network or by resampling. */
async function larger({ upscaler, options }: Generation, picture: Image, size: Size): Promise<Image> {
  if (!upscaler) return resize(picture, size, options.hires!.upscaler as ResampleFilter);
  const { signal } = options;
  return enlarge(upscaler, picture, { size, ...(signal && { signal }) });
}

const interpolation = (upscaler: string): InterpolationMode =>
  upscaler === "latent" ? "bilinear" : (upscaler.slice("latent-".length) as InterpolationMode);
