import { readFileSync } from "node:fs";
import { expect } from "vitest";
import type { Image } from "../image/image.js";
import { decodePng } from "../image/png.js";
import type { Latents } from "../latents/latents.js";
import type { ImageInput } from "../options/image-options.js";
import type { LoadOptions } from "../options/load.js";
import type { GenerateOptions } from "../options/options.js";
import type { GenerateResult } from "../pipeline/run.js";
import { StableDiffusion } from "../pipeline/stable-diffusion.js";
import {
  createScheduler,
  type Scheduler,
  type SchedulerFactory,
  schedulerConfig,
} from "../schedulers/scheduler.js";
import { type GoldenCase, goldenCase, goldenPath, goldenTensor, toNhwc } from "./golden.js";

const loaded = new Map<string, Promise<StableDiffusion>>();

/** A tiny model of the golden set; loaded once for a test file. */
export function tinyModel(name: string, options: LoadOptions = {}): Promise<StableDiffusion> {
  const key = JSON.stringify([name, options]);
  const model =
    loaded.get(key) ?? StableDiffusion.load(goldenPath(name), { runtime: "eager", threads: 1, ...options });
  loaded.set(key, model);
  return model;
}

export async function disposeTinyModels(): Promise<void> {
  for (const model of loaded.values()) await (await model).dispose();
  loaded.clear();
}

export const pipelineCase = (id: string): GoldenCase => goldenCase(`pipeline/${id}`);

/** diffusers' arguments as options of this library; what is not listed has no counterpart and is refused. */
const argument: Record<string, (value: never) => GenerateOptions> = {
  prompt: (prompt: string | string[]) => ({ prompt }),
  prompt_2: (prompt2: string) => ({ prompt2 }),
  negative_prompt: (negativePrompt: string) => ({ negativePrompt }),
  negative_prompt_2: (negativePrompt2: string) => ({ negativePrompt2 }),
  num_inference_steps: (steps: number) => ({ steps }),
  guidance_scale: (guidance: number) => ({ guidance }),
  guidance_rescale: (guidanceRescale: number) => ({ guidanceRescale }),
  image_guidance_scale: (imageGuidance: number) => ({ imageGuidance }),
  height: (height: number) => ({ height }),
  width: (width: number) => ({ width }),
  num_images_per_prompt: (count: number) => ({ count }),
  batch_size: (count: number) => ({ count }),
  clip_skip: (clipSkip: number) => ({ clipSkip }),
  eta: (eta: number) => ({ eta }),
  strength: (strength: number) => ({ strength }),
  denoising_start: (denoisingStart: number) => ({ denoisingStart }),
  denoising_end: (denoisingEnd: number) => ({ denoisingEnd }),
  padding_mask_crop: (padding: number) => ({ onlyMasked: { padding }, maskBlur: 0 }),
  output_type: () => ({}),
};

type Pair = [number, number];
const sized = ([height, width]: Pair) => ({ width, height });
const corner = ([top, left]: Pair) => ({ top, left });

/** Options whose image is a picture. */
type PictureOptions = GenerateOptions & { image?: ImageInput };

/** The options that ask for what a case asks of diffusers. */
export function optionsOf({ config, inputs }: GoldenCase): PictureOptions {
  const options: PictureOptions = { seed: inputs.seed as number };
  const sizes: Record<string, unknown> = {};
  const negative: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(inputs.call as Record<string, never>)) {
    const size = /^(negative_)?(original_size|target_size|crops_coords_top_left)$/.exec(name);
    if (size) {
      const into = size[1] ? negative : sizes;
      if (size[2] === "crops_coords_top_left") into.crop = corner(value);
      else into[size[2]!.slice(0, -"_size".length)] = sized(value);
    } else if (name === "original_inference_steps")
      options.scheduler = { original_inference_steps: value as number };
    else if (name !== "use_clipped_model_output") {
      const translate = argument[name];
      if (!translate) throw new Error(`no option for ${name}`);
      Object.assign(options, translate(value));
    }
  }
  if (Object.keys(sizes).length > 0)
    options.sizes = { ...sizes, ...(Object.keys(negative).length > 0 && { negative }) };
  const { _class, ...scheduler } = config.scheduler;
  if (config.scheduler_swap) options.scheduler = { _class_name: _class, ...withInfinities(scheduler) };
  if (inputs.image) options.image = goldenPath(inputs.image.png as string);
  if (inputs.mask_image) options.mask = goldenPath(inputs.mask_image.png as string);
  return options;
}

const withInfinities = (config: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(config).map(([k, v]) => [k, v === "-Infinity" ? Number.NEGATIVE_INFINITY : v]),
  );

/** A noise draw of a case as latents. */
export const drawOf = ({ inputs }: GoldenCase, i: number): Latents =>
  toNhwc(goldenTensor(inputs.noise_draws[i]));

/**
 * A scheduler whose step noise is that of the case, where it is not drawn from the image's own generator: one
 * generator makes all images of a batch, and LDM super-resolution takes the global one.
 */
export function withStepNoise(c: GoldenCase): SchedulerFactory {
  const { _class, ...config } = c.config.scheduler;
  const useClippedModelOutput = c.inputs.call.use_clipped_model_output === true;
  let image = -1;
  return (run, model): Scheduler => {
    const scheduler = createScheduler(schedulerConfig({ _class_name: _class, ...config }, model), {
      ...run,
      useClippedModelOutput,
    });
    let draw = 0;
    return {
      ...scheduler,
      step(output, step, sample) {
        if (step === 0) image++;
        return scheduler.step(output, step, sample, () => {
          const { data } = drawOf(c, ++draw);
          return data.slice(image * sample.length, (image + 1) * sample.length);
        });
      },
    };
  };
}

/** Compares latents with a case's, and pictures with its PNGs, each within the case's tolerance. */
export function expectResult(result: GenerateResult, c: GoldenCase, images = result.images.length): void {
  expectLatents(result.latents, c);
  expect(result.images).toHaveLength(images);
  expectPictures(result.images, c);
}

/** Compares the first pictures of a case. */
export function expectPictures(pictures: readonly Image[], c: GoldenCase): void {
  const pngs = c.expected.png as string[];
  pictures.forEach((image, i) => {
    const want = decodePng(readFileSync(goldenPath(pngs[i]!))).image;
    expect([image.width, image.height]).toEqual([want.width, want.height]);
    expect(image.data).toBeCloseTo32(want.data, { abs: c.tolerance.uint8.max });
  });
}

export function expectLatents(latents: Latents, { expected, tolerance }: GoldenCase): void {
  const want = toNhwc(goldenTensor(expected.latents));
  const images = latents.shape[0]!;
  expect(latents.shape).toEqual([images, ...want.shape.slice(1)]);
  expect(latents.data).toBeCloseTo32(want.data.subarray(0, latents.data.length), tolerance.latents);
}
