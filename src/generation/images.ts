import { internal } from "../errors.js";
import type { Image, Size } from "../image/image.js";
import { fitImage } from "../image/resize.js";
import type { Latents } from "../latents/latents.js";
import { createRng, type Rng } from "../latents/rng.js";
import type { VaeOptions } from "../runtime/autoencoder.js";
import { type Call, timed } from "./generation.js";
import { hiresFix, hiresPass } from "./hires.js";
import { repainting } from "./inpainting.js";
import type { Inputs } from "./inputs.js";
import { decodeLatents } from "./latent-space.js";
import { fromLowResLatents } from "./latent-upscale.js";
import { outpaint, outpaintingPasses } from "./outpainting.js";
import { callsOf, type Pass, runPass } from "./sampling.js";
import type { Beginning } from "./starts.js";
import { fromImage, fromInstruction, fromMasked, fromNoise } from "./starts.js";
import { fromLowRes } from "./upscale.js";

/** Image `index` of a call: its latents, and the picture unless latents were asked for. */
type Painter = (index: number, rng: Rng) => Promise<{ latents: Latents; image?: Image }>;

/** Makes the images of a call, one after the other. */
export async function paintAll(call: Call, inputs: Inputs): Promise<{ images: Image[]; latents: Latents[] }> {
  const { resolved, emit, options } = call;
  const paint = await painter(call, inputs);
  const images: Image[] = [];
  const latents: Latents[] = [];
  for (const [i, seed] of resolved.seeds.entries()) {
    options.signal?.throwIfAborted();
    const painted = await paint(i, createRng(resolved.rng, seed));
    latents.push(painted.latents);
    if (resolved.output === "latents" || !painted.image) continue;
    images.push(painted.image);
    emit({ type: "decode", done: i + 1, total: resolved.seeds.length });
  }
  return { images, latents };
}

/** What all images share is done once here: pictures are fitted and encoded. */
async function painter(call: Call, { image, mask, latents }: Inputs): Promise<Painter> {
  const { resolved } = call;
  const size: Size = { width: resolved.width, height: resolved.height };
  const fitted = () => fitImage(image!, size, resolved.resizeMode);
  switch (resolved.mode) {
    case "outpaint":
      expect(call, outpaintingPasses(call, image!));
      return (index, rng) => outpaint(call, image!, { index, rng });
    case "inpaint": {
      const { masked, restore } = repainting(call, image!, mask!);
      return single(call, size, await fromMasked(call, masked), restore);
    }
    case "img2img":
      return single(call, size, await fromImage(call, fitted()));
    case "instruct":
      return single(call, size, await fromInstruction(call, fitted()));
    case "upscale":
      if (call.loaded.traits.latentUpscaling)
        return single(call, size, await fromLowResLatents(call, latents ?? image!, size));
      return single(call, size, fromLowRes(call, image!, size));
    case "txt2img":
    case "unconditional":
      return single(call, size, await fromNoise(call, size));
    default:
      throw internal(`no painter for ${resolved.mode satisfies never}`);
  }
}

/** One pass, a second one where hires asks for it, and the picture. */
function single(call: Call, size: Size, begin: Beginning, finish = (image: Image) => image): Painter {
  const { resolved, loaded } = call;
  const { steps, strength, exactSteps: exact = false, hires } = resolved;
  const pass = { size, steps, exact, ...(strength !== undefined && { strength }) };
  expect(call, hires ? [pass, hiresPass(call)] : [pass]);
  return async (index, rng) => {
    let latents = await runPass(call, pass, { index, rng }, begin);
    if (hires) latents = await hiresFix(call, latents, index);
    if (resolved.output === "latents") return { latents };
    const image = await timed(call, "decode", () => decodeLatents(loaded, latents, tileWise(call, index)));
    return { latents, image: finish(image) };
  };
}

/** Says after each tile of a large picture how far its decoding is. */
function tileWise({ emit, options, resolved }: Call, index: number): VaeOptions {
  const { signal } = options;
  const image = { type: "decode", done: index, total: resolved.seeds.length } as const;
  return {
    onTile: (done, total) => emit({ ...image, tiles: { done, total } }),
    ...(signal && { signal }),
  };
}

/** Tells the meter how many network calls are to come. */
function expect(call: Call, passes: readonly Pass[]): void {
  const calls = passes.reduce((sum, pass) => sum + callsOf(call, pass), 0);
  call.meter.calls = calls * call.resolved.seeds.length;
}
