import { internal } from "../errors.js";
import { crop, type Image, type Size } from "../image/image.js";
import { fitImage } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import { createRng, type Rng } from "../latents/rng.js";
import type { VaeOptions } from "../runtime/networks/autoencoder.js";
import { type Generation, plannedOf, timed } from "./generation.js";
import { idleNotes } from "./guidance.js";
import { hiresFix } from "./hires.js";
import { repainting } from "./inpainting.js";
import type { Inputs } from "./inputs.js";
import { decodeLatents, encodeImage, samplePosterior } from "./latent-space.js";
import { fromLowResLatents } from "./latent-upscale.js";
import { drawNoiseLater } from "./noise.js";
import { outpaint } from "./outpainting.js";
import { evaluationsOf, type Part, type Pass, rangeOf, schedulerFor } from "./passes.js";
import { passesOf } from "./plan.js";
import type { Previewer } from "./previews.js";
import { runPass } from "./sampling.js";
import {
  fromImage,
  fromInstruction,
  fromLatents,
  fromMasked,
  fromNoise,
  type PrepareStart,
} from "./starts.js";
import { fromLowRes } from "./upscale.js";

/**
 * Image `index` of a generation: its latents, and the picture unless latents were asked for; nothing where it was stopped
 * before its first step.
 */
type MakeImage = (index: number, rng: Rng) => Promise<{ latents: Latents; image?: Image } | undefined>;

/** Makes the images of a generation, one after the other. Once it is stopped, those that were not begun are left out. */
export async function makeImages(
  generation: Generation,
  inputs: Inputs,
): Promise<{ images: Image[]; latents: Latents[] }> {
  const { options } = generation;
  const { signal, stop, seeds, onProgress } = options;
  const makeImage = await imageMaker(generation, inputs);
  const images: Image[] = [];
  const latents: Latents[] = [];
  for (const [i, seed] of seeds.entries()) {
    signal?.throwIfAborted();
    const made = stop?.aborted ? undefined : await makeImage(i, createRng(options.rng, seed));
    if (!made) break;
    latents.push(made.latents);
    if (options.output === "latents" || !made.image) continue;
    images.push(made.image);
    onProgress({ type: "decode", done: i + 1, total: seeds.length });
  }
  return { images, latents };
}

/** What all images share is done once here: pictures are fitted and encoded. */
async function imageMaker(generation: Generation, { image, mask, latents }: Inputs): Promise<MakeImage> {
  const { options } = generation;
  const size: Size = { width: options.width, height: options.height };
  const { resizeMode } = options;
  const fitted = (mode = resizeMode) => fitImage(image!, size, mode === "latent" ? "stretch" : mode);
  expect(generation, passesOf(plannedOf(generation), image));
  switch (options.mode) {
    case "outpaint":
      return (index, rng) => outpaint(generation, image!, { index, rng });
    case "inpaint": {
      const { masked, restore, original, inPlace, part } = repainting(generation, image!, mask!);
      if (options.strength === 0) return untouched(generation, original, masked.image);
      return single(
        inPlace ? { ...generation, preview: shownBy(generation.preview, inPlace) } : generation,
        await fromMasked(generation, masked),
        { finish: restore, part },
      );
    }
    case "img2img":
      if (latents) return single(generation, await fromLatents(generation, latents, size));
      if (options.strength === 0) return untouched(generation, fitted());
      return single(
        generation,
        await (resizeMode === "latent"
          ? fromImage(generation, wholeCells(image!, generation.loaded.model.factor), size)
          : fromImage(generation, fitted())),
      );
    case "instruct":
      return single(generation, await fromInstruction(generation, fitted()));
    case "upscale":
      if (generation.loaded.traits.latentUpscaling)
        return single(generation, await fromLowResLatents(generation, latents ?? image!, size));
      return single(generation, fromLowRes(generation, image!, size));
    case "txt2img":
    case "unconditional":
      return single(generation, await fromNoise(generation, size));
    default:
      throw internal(`nothing makes images of the mode ${options.mode satisfies never}`);
  }
}

const shownBy =
  (preview: Previewer, inPlace: (small: Image) => Image): Previewer =>
  async (latents) =>
    (await preview(latents)).map(inPlace);

/** No step is run: the picture itself. @param worked what the networks would have worked on */
async function untouched(generation: Generation, image: Image, worked: Image = image): Promise<MakeImage> {
  const { loaded } = generation;
  const posterior = await timed(generation, "encode", () => encodeImage(loaded, worked));
  const { signal } = generation.options;
  return async (_index, rng) => ({
    latents: samplePosterior(loaded, posterior, await drawNoiseLater(rng, posterior.mean.shape, signal)),
    image,
  });
}

/** What of a picture fills whole cells of the latents. */
function wholeCells(image: Image, factor: number): Image {
  const down = (pixels: number) => Math.max(factor, pixels - (pixels % factor));
  const [right, bottom] = [down(image.width), down(image.height)];
  if (right > image.width || bottom > image.height)
    return fitImage(image, { width: right, height: bottom }, "stretch");
  return crop(image, { left: 0, top: 0, right, bottom });
}

/** One pass, a second one where hires asks for it, and the picture. */
function single(
  generation: Generation,
  prepare: PrepareStart,
  { finish = (image: Image) => image, part }: { finish?: (image: Image) => Image; part?: Part } = {},
): MakeImage {
  const { options, loaded } = generation;
  const [first] = passesOf(plannedOf(generation));
  const pass = { ...first!, ...(part && { part }) };
  return async (index, rng) => {
    let latents = await runPass(generation, pass, { index, rng }, prepare);
    if (!latents) return undefined;
    // A picture that is stopped before its second pass stays as large as the first one.
    if (options.hires && options.stop?.aborted) generation.meter.stopped.add(index);
    else if (options.hires) latents = (await hiresFix(generation, latents, index)) ?? latents;
    if (options.output === "latents") return { latents };
    const made = latents;
    const image = await timed(generation, "decode", () =>
      decodeLatents(loaded, made, tileWise(generation, index)),
    );
    return { latents, image: finish(image) };
  };
}

/** Says after each tile of a large picture how far its decoding is. */
function tileWise({ options }: Generation, index: number): VaeOptions {
  const { signal, onProgress } = options;
  const image = { type: "decode", done: index, total: options.seeds.length } as const;
  return {
    onTile: (done, total) => onProgress({ ...image, tiles: { done, total } }),
    ...(signal && { signal }),
  };
}

/** Tells the meter how many evaluations are to come, and the notes what acts at none of them. */
function expect(generation: Generation, passes: readonly Pass[]): void {
  const planned = plannedOf(generation);
  const schedulers = passes.map((pass) => schedulerFor(planned, pass));
  const evaluations = schedulers.reduce((sum, scheduler) => sum + evaluationsOf(planned, scheduler), 0);
  generation.meter.evaluations = evaluations * generation.options.seeds.length;
  const runs = schedulers.map(({ timesteps }) => ({
    ...rangeOf(planned, timesteps),
    all: timesteps.length,
  }));
  generation.notes.push(...idleNotes(generation, runs));
}
