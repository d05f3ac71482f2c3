import { DiffusionError } from "../errors.js";
import { channelsOf, type Image, type Mask, type Size } from "../image/image.js";
import { resize } from "../image/resize.js";
import type { Values } from "../latents/latents.js";
import type { UpscalerConfig } from "../models/upscaler-config.js";
import type { EnlargeOptions, Upscaler } from "../runtime/networks/upscaler.js";

/** A picture that is still too small after so many runs is brought to its size by resampling, as in the web UI. */
const MOST_RUNS = 3;

/**
 * A picture at another size, by a network that enlarges: once more where once is not enough, and from there by
 * resampling (Lanczos). Transparency is resampled, too.
 *
 * @param size default: the picture's times the network's scale
 */
export async function enlarge(
  upscaler: Upscaler,
  image: Image,
  { size, ...options }: EnlargeOptions & { readonly size?: Size | undefined } = {},
): Promise<Image> {
  const { scale } = upscaler.config;
  const { colours, alpha } = split(image);
  const goal = size ?? { width: image.width * scale, height: image.height * scale };
  let picture = colours;
  for (let runs = runsFor(upscaler.config, picture, goal); runs > 0; runs--)
    picture = imageOf(await upscaler.run(valuesOf(picture), options));
  const sized = resize(picture, goal, "lanczos");
  return alpha ? joined(sized, resize(alpha, goal, "lanczos")) : sized;
}

/** How often a network enlarges a picture that is to become as large as the goal. */
export function runsFor({ scale }: Pick<UpscalerConfig, "scale">, picture: Size, goal: Size): number {
  const isSmaller = (by: number) => picture.width * by < goal.width || picture.height * by < goal.height;
  let runs = 1;
  while (scale > 1 && runs < MOST_RUNS && isSmaller(scale ** runs)) runs++;
  return runs;
}

/** [1, H, W, 3] in [0, 1]. */
const valuesOf = ({ width, height, data }: Image): Values => ({
  shape: [1, height, width, 3],
  data: Float32Array.from(data, (level) => level / 255),
});

function imageOf({ shape, data }: Values): Image {
  const [, height, width] = shape as [number, number, number, number];
  if (!data.every(Number.isFinite))
    throw new DiffusionError("UNSUPPORTED", "the enlarged picture is not made of numbers", {
      hint: 'The network has overflowed; try precision "fp32".',
    });
  const levels = Uint8Array.from(data, (value) => Math.round(Math.min(1, Math.max(0, value)) * 255));
  return { width, height, data: levels };
}

function split(image: Image): { colours: Image; alpha?: Mask } {
  const { width, height, data } = image;
  const channels = channelsOf(image);
  if (channels === 3) return { colours: image };
  const pixels = width * height;
  const colours = new Uint8Array(pixels * 3);
  const alpha = new Uint8Array(pixels);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) colours[3 * i + c] = data[channels * i + (channels === 1 ? 0 : c)]!;
    alpha[i] = data[channels * i + 3] ?? 255;
  }
  return {
    colours: { width, height, data: colours },
    ...(channels === 4 && { alpha: { width, height, data: alpha } }),
  };
}

function joined({ width, height, data }: Image, alpha: Mask): Image {
  const out = new Uint8Array(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) out[4 * i + c] = data[3 * i + c]!;
    out[4 * i + 3] = alpha.data[i]!;
  }
  return { width, height, data: out };
}
