import { type ResampleFilter, resize } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import { createRng } from "../latents/rng.js";
import { type InterpolationMode, resizeValues } from "../latents/upscale.js";
import { type Call, timed } from "./generation.js";
import { decodeLatents } from "./latent-space.js";
import { type Pass, runPass } from "./sampling.js";
import { fromImage, fromLatents } from "./starts.js";

/** The second pass of "hires fix". Given steps are all run, as in the web UI. */
export function hiresPass({ resolved: { hires, steps } }: Call): Pass {
  const { width, height, strength, steps: exact } = hires!;
  return { size: { width, height }, steps: exact ?? steps, strength, exact: exact !== undefined };
}

/** Enlarges latents and denoises them once more, with noise from a new stream of the image's seed. */
export async function hiresFix(call: Call, latents: Latents, index: number): Promise<Latents> {
  const { loaded, resolved } = call;
  const pass = hiresPass(call);
  const { upscaler } = resolved.hires!;
  const { factor } = loaded.model;
  const cells = { width: pass.size.width / factor, height: pass.size.height / factor };
  const rng = createRng(resolved.rng, resolved.seeds[index]!);
  const begin = upscaler.startsWith("latent")
    ? await fromLatents(call, resizeValues(latents, cells, interpolation(upscaler)), pass.size)
    : await fromImage(
        call,
        resize(
          await timed(call, "decode", () => decodeLatents(loaded, latents)),
          pass.size,
          upscaler as ResampleFilter,
        ),
      );
  return runPass(call, pass, { index, rng }, begin);
}

const interpolation = (upscaler: string): InterpolationMode =>
  upscaler === "latent" ? "bilinear" : (upscaler.slice("latent-".length) as InterpolationMode);
