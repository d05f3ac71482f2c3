import { applyOverlay } from "../image/composite.js";
import { binarise } from "../image/filters.js";
import { crop, type Image, type Mask, paste, type Region, type Size } from "../image/image.js";
import { matchColours } from "../image/match-colours.js";
import {
  type Margins,
  type OutpaintCanvas,
  outpaintCanvas,
  outpaintPasses,
  seamMask,
} from "../image/outpaint.js";
import type { Latents } from "../latents/latents.js";
import { createRng, type Rng } from "../latents/rng.js";
import { type Generation, plannedOf, timed } from "./generation.js";
import { fadeWidth } from "./inpainting.js";
import { decodeLatents } from "./latent-space.js";
import { previewInPlace } from "./outpaint-preview.js";
import type { Part, Pass, Planned } from "./passes.js";
import { runPass } from "./sampling.js";
import { fromMasked } from "./starts.js";

/** Pixels on both sides of a seam that the second pass may change. */
const SEAM_REACH = 16;

/** One side of the picture grows: the part of it that the network sees, and by how much. */
interface Growth {
  readonly seen: Region;
  readonly margins: Margins;
  /** Size of the picture afterwards. */
  readonly size: Size;
}

/**
 * Sides grow one after the other, in portions: left and right, then top and bottom over the new width. Along that
 * direction the network sees no more than its own size, where it composes best; most of it is the picture.
 */
function growths({ options, traits }: Planned, image: Size): Growth[] {
  const { margins, step } = options.outpainting!;
  const own = traits.size;
  let { width, height } = image;
  const passes = (["left", "right", "top", "bottom"] as const)
    .filter((side) => margins[side] > 0)
    .flatMap((side) => outpaintPasses({ [side]: margins[side] }, step));
  return passes.map((pass) => {
    const [x, y] = [pass.left + pass.right, pass.top + pass.bottom];
    const kept = (length: number, by: number) =>
      by === 0 ? length : Math.min(length, Math.max(own - by, Math.ceil(own / 2)));
    const [keepX, keepY] = [kept(width, x), kept(height, y)];
    const left = pass.right > 0 ? width - keepX : 0;
    const top = pass.bottom > 0 ? height - keepY : 0;
    width += x;
    height += y;
    const seen = { left, top, right: left + keepX, bottom: top + keepY };
    return { seen, margins: pass, size: { width, height } };
  });
}

/** The passes that outpainting an image of this size takes, in order. */
export function outpaintingPasses(planned: Planned, image: Size): Pass[] {
  const { seamStrength } = planned.options.outpainting!;
  const { factor } = planned.traits;
  const up = (pixels: number) => Math.ceil(pixels / factor) * factor;
  return growths(planned, image).flatMap(({ seen, margins }) => {
    const size = {
      width: up(seen.right - seen.left + margins.left + margins.right),
      height: up(seen.bottom - seen.top + margins.top + margins.bottom),
    };
    return seamStrength > 0
      ? [paintingPass(planned, size), seamPass(planned, size)]
      : [paintingPass(planned, size)];
  });
}

const paintingPass = (
  { options: { steps, strength, exactSteps } }: Pick<Planned, "options">,
  size: Size,
): Pass => ({
  size,
  steps,
  strength: strength!,
  exact: exactSteps ?? false,
});

const seamPass = ({ options: { steps, outpainting } }: Pick<Planned, "options">, size: Size): Pass => ({
  size,
  steps,
  strength: outpainting!.seamStrength,
});

/** One pass over a canvas. */
interface Painting {
  readonly from: Image;
  readonly mask: Mask;
  /** Of what the pass has made, laid over what it came from. */
  readonly overlay: Mask;
  readonly released?: Mask;
  readonly pass: Pass;
}

/**
 * Grows the picture side by side; each pass sees what the passes before it have made. Once it is stopped, sides that were
 * not begun do not grow.
 *
 * @returns nothing where it was stopped before the first step
 */
export async function outpaint(
  generation: Generation,
  image: Image,
  run: { index: number; rng: Rng },
): Promise<{ image: Image; latents: Latents } | undefined> {
  const { options, loaded } = generation;
  const inpainting = options.inpainting!;
  // Noise for the canvas comes from a stream of its own, so that the run's is drawn as without it.
  const fill = createRng(options.rng, options.seeds[run.index]!);
  let [picture, latents]: [Image, Latents | undefined] = [image, undefined];
  const all = growths(plannedOf(generation), image);
  for (const [i, growth] of all.entries()) {
    const { seen, margins } = growth;
    const canvas = outpaintCanvas(crop(picture, seen), margins, {
      multiple: loaded.model.factor,
      overlap: fadeWidth(inpainting),
      noise: (count) => fill.normal([count]),
    });
    const before = picture;
    const join = (grown: Image) => joined(before, grown, growth);
    const later = all.slice(i + 1);
    const place = {
      left: later.reduce((sum, next) => sum + next.margins.left, 0),
      top: later.reduce((sum, next) => sum + next.margins.top, 0),
      whole: all.at(-1)!.size,
    };
    const shown = {
      ...generation,
      preview: previewInPlace(generation.preview, {
        ...{ size: canvas.image, crop: canvas.crop, join },
        ...place,
      }),
    };
    const part = partOf(canvas, { left: seen.left + place.left, top: seen.top + place.top }, place.whole);
    const paint = async ({ from, overlay, pass, ...masks }: Painting) => {
      const { content } = inpainting;
      const masked = { image: from, ...masks, rule: "touch", content, strength: pass.strength! } as const;
      const painted = await runPass(shown, { ...pass, part }, run, await fromMasked(generation, masked));
      if (!painted) return undefined;
      latents = painted;
      const decoded = await timed(generation, "decode", () => decodeLatents(loaded, painted));
      // Without a soft edge, the result is what the model made.
      const matched = inpainting.blur > 0 ? matchColours(decoded, from, masks.mask) : decoded;
      return applyOverlay(from, matched, overlay);
    };
    const { mask, feather: overlay, released } = canvas;
    let grown = await paint({
      ...{ from: canvas.image, mask, overlay, released },
      pass: paintingPass(generation, canvas.image),
    });
    if (!grown) break;
    if (options.outpainting!.seamStrength > 0) {
      const pass = seamPass(generation, canvas.image);
      grown = (await paint({ from: grown, ...seam(canvas), pass })) ?? grown;
    }
    picture = join(crop(grown, canvas.crop));
  }
  return latents && { image: picture, latents };
}

/** Which part of the result a canvas is; what only fills it up may hang over. @param at where its picture begins in the result */
function partOf({ image, crop }: OutpaintCanvas, at: { left: number; top: number }, whole: Size): Part {
  const [left, top] = [at.left - crop.left, at.top - crop.top];
  return { whole, region: { left, top, right: left + image.width, bottom: top + image.height } };
}

function seam(canvas: OutpaintCanvas): Pick<Painting, "mask" | "overlay"> {
  const soft = seamMask(canvas, SEAM_REACH);
  return { mask: binarise(soft, 1), overlay: soft };
}

/** The picture with the part that has grown laid over it. */
function joined(picture: Image, grown: Image, { seen, margins, size }: Growth): Image {
  const blank = { ...size, data: new Uint8Array(size.width * size.height * 3) };
  const before = paste(blank, picture, margins.left, margins.top);
  return paste(before, grown, seen.left, seen.top);
}
