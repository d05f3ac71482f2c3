import type { Image, Size } from "../image/image.js";
import { type ResampleFilter, resize } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import { createRng } from "../latents/rng.js";
import { type InterpolationMode, resizeValues } from "../latents/upscale.js";
import { enlarge } from "./enlarge.js";
import { type Generation, timed } from "./generation.js";
import { decodeLatents } from "./latent-space.js";
import { type Pass, runPass } from "./sampling.js";
import { fromImage, fromLatents } from "./starts.js";

/** The second pass of "hires fix". Given steps are all run, as in the web UI. */
export function hiresPass({ options: { hires, steps } }: Generation): Pass {
  const { width, height, strength, steps: exact } = hires!;
  return {
    size: { width, height },
    steps: exact ?? steps,
    strength,
    exact: exact !== undefined,
    before: steps,
  };
}

/** Enlarges latents and denoises them once more, with noise from a new stream of the image's seed. */
export async function hiresFix(generation: Generation, latents: Latents, index: number): Promise<Latents> {
  const { loaded, options } = generation;
  const pass = hiresPass(generation);
  const { upscaler } = options.hires!;
  const { factor } = loaded.model;
  const cells = { width: pass.size.width / factor, height: pass.size.height / factor };
  const rng = createRng(options.rng, options.seeds[index]!);
  const begin = upscaler.startsWith("latent")
    ? await fromLatents(generation, resizeValues(latents, cells, interpolation(upscaler)), pass.size)
    : await fromImage(
        generation,
        await larger(
          generation,
          await timed(generation, "decode", () => decodeLatents(loaded, latents)),
          pass.size,
        ),
      );
  return runPass(generation, pass, { index, rng }, begin);
}

/** The first pass's picture, by a network or by resampling. */
async function larger({ upscaler, options }: Generation, picture: Image, size: Size): Promise<Image> {
  if (!upscaler) return resize(picture, size, options.hires!.upscaler as ResampleFilter);
  const { signal } = options;
  return enlarge(upscaler, picture, { size, ...(signal && { signal }) });
}

const interpolation = (upscaler: string): InterpolationMode =>
  upscaler === "latent" ? "bilinear" : (upscaler.slice("latent-".length) as InterpolationMode);
