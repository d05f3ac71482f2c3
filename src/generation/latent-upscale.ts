import { DiffusionError } from "../errors.js";
import { imagesToValues } from "../image/convert.js";
import type { Image, Size } from "../image/image.js";
import { resize } from "../image/resize.js";
import { batched } from "../latents/batch.js";
import type { Latents, Values } from "../latents/latents.js";
import { resizeValues } from "../latents/upscale.js";
import type { KUNetConfig } from "../models/k-unet.js";
import type { Conditions } from "./conditioning.js";
import type { Predict } from "./denoise.js";
import { type Generation, timed } from "./generation.js";
import type { GuidancePlan } from "./guidance.js";
import { samplePosterior } from "./latent-space.js";
import { type Loaded, vaeOf } from "./loaded.js";
import { drawNoiseLater } from "./noise.js";
import { type PrepareStart, pureNoise } from "./starts.js";

/**
 * Upscaling in latents: from noise, beside the latents that are enlarged, each cell repeated. Draws: the image's
 * posterior, where it is a picture, then the latents.
 *
 * @param source a picture, or latents [1, h, w, C] as models give them
 * @param size of the result
 */
export async function fromLowResLatents(
  generation: Generation,
  source: Image | Latents,
  size: Size,
): Promise<PrepareStart> {
  const { loaded, options } = generation;
  const cells = { width: size.width / loaded.model.factor, height: size.height / loaded.model.factor };
  const enlarged = (latents: Latents) => resizeValues(latents, cells, "nearest");
  if ("shape" in source) {
    const beside = enlarged(source);
    return async (run) => ({ sample: await pureNoise(generation, size, run), beside });
  }
  const small = { width: size.width / 2, height: size.height / 2 };
  const image = imagesToValues([resize(source, small, options.upscaling!.filter)]);
  const posterior = await timed(generation, "encode", () =>
    vaeOf(loaded).encode(image, { ...(options.signal && { signal: options.signal }) }),
  );
  options.onProgress({ type: "encode", what: "image", done: 1, total: 1 });
  return async (run) => {
    const noise = await drawNoiseLater(run.rng, posterior.mean.shape, options.signal);
    const beside = enlarged(samplePosterior(loaded, posterior, noise));
    return { sample: await pureNoise(generation, size, run), beside };
  };
}

/** Halves of the part of the condition that tells the noise level of the image: 1 and 0 where it has none. */
const NOISE_LEVEL_HALF = 64;

/**
 * The network as a prediction of the sample (Karras et al. 2022, table 1, with unit data): what it is shown is
 * x / sqrt(sigma^2 + 1), what it says is scaled by sigma / sqrt(sigma^2 + 1) and laid over x / (sigma^2 + 1).
 *
 * @param sigmas noise levels of the evaluations
 */
export async function latentUpscaler(
  { networks }: Loaded,
  config: KUNetConfig,
  conditions: Conditions,
  pass: { steps: number; guidance: GuidancePlan; sigmas: readonly number[] | undefined },
): Promise<Predict> {
  const { sigmas } = pass;
  if (!sigmas)
    throw new DiffusionError("BAD_OPTION", "this upscaler needs a scheduler that works on noise levels", {
      hint: "leave the scheduler out, or take euler",
    });
  const rowsAt = await conditions.over(pass.steps);
  return async (sample, _timestep, evaluation) => {
    const rows = pass.guidance(evaluation).rows.map((row) => rowsAt(evaluation)[row]!);
    const sigma = sigmas[evaluation]!;
    const answers = await networks.unet.run({
      sample,
      timestep: Math.fround(Math.log(Math.fround(sigma))) * 0.25,
      context: batched(rows.map(({ context }) => context)),
      timeCond: batched(rows.map(({ pooled }) => noiseFree(pooled, config.timeCondDim))),
    });
    return preconditioned(sample, answers, sigma);
  };
}

function noiseFree(pooled: Values | undefined, width: number): Values {
  const { data } = pooled ?? { data: [] };
  if (data.length !== width - 2 * NOISE_LEVEL_HALF)
    throw new DiffusionError(
      "BAD_OPTION",
      `promptEmbeds: this upscaler needs pooled [1, ${width - 2 * NOISE_LEVEL_HALF}], got ${pooled ? `[${pooled.shape}]` : "none"}`,
      { hint: "encodePrompt() of this model gives it" },
    );
  const condition = new Float32Array(width);
  condition.fill(1, 0, NOISE_LEVEL_HALF);
  condition.set(data, 2 * NOISE_LEVEL_HALF);
  return { shape: [1, width], data: condition };
}

/** The last channel of the answers is a variance that is not used; the last of the sample are those beside it. */
function preconditioned(sample: Values, answers: Values, sigma: number): Values {
  const [batch, height, width, said] = answers.shape as [number, number, number, number];
  const [channels, shown] = [said - 1, sample.shape[3]!];
  const scale = 1 / Math.sqrt(sigma ** 2 + 1);
  const data = new Float32Array(batch * height * width * channels);
  for (let cell = 0; cell < batch * height * width; cell++)
    for (let c = 0; c < channels; c++)
      data[cell * channels + c] =
        (sample.data[cell * shown + c]! + sigma * answers.data[cell * said + c]!) * scale;
  return { shape: [batch, height, width, channels], data };
}
