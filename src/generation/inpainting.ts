import { DiffusionError } from "../errors.js";
import { applyOverlay, boundingBox, cropRegion } from "../image/composite.js";
import { fadeIn } from "../image/fade.js";
import { binarise, blurMask } from "../image/filters.js";
import { crop, cropContinued, type Image, type Mask, type Region, type Size } from "../image/image.js";
import { doubled, maskFromImage } from "../image/mask.js";
import { matchColours } from "../image/match-colours.js";
import { fitImage, type ResizeMode, resize } from "../image/resize.js";
import type { Inpainting } from "../options/resolved.js";
import type { Generation } from "./generation.js";
import type { Part } from "./passes.js";
import type { Masked } from "./starts.js";

/** An inpainting to be done: what the networks work on, and how the result gets its kept pixels back. */
export interface Repainting {
  readonly masked: Masked;
  /** The original everywhere but in the mask; `painted` has the size generated at. */
  restore(painted: Image): Image;
  /** What comes back where no step is run. */
  readonly original: Image;
  /** Shows a preview of the part that is worked on where it belongs; absent where that is the whole picture. */
  readonly inPlace?: (small: Image) => Image;
  /** What of the original is worked on. */
  readonly part: Part;
}

/**
 * Brings image and mask to the size generated at. The result has the size of the image (or of width and height,
 * where they are given): pictures whose sides are no multiples of the factor are continued by mirroring, and cut
 * back afterwards. With padding, only the mask's surroundings are worked on, scaled to that size.
 *
 * @param mask alpha or luminance decides, see `maskFromImage`
 */
export function repainting(generation: Generation, image: Image, mask: Image | Mask): Repainting {
  const { options } = generation;
  const size: Size = { width: options.width, height: options.height };
  const inpainting = options.inpainting!;
  const { scaled } = inpainting;
  const mode = options.resizeMode as ResizeMode; // "latent" excludes a mask
  const original = scaled ? fitImage(image, size, mode) : image;
  if (mask.width !== image.width || mask.height !== image.height)
    generation.notes.push(
      `the mask of ${mask.width}x${mask.height} was resized to the image's ${image.width}x${image.height}`,
    );
  const onImage = fitImage(mask, image, "stretch");
  const soft = maskFromImage(scaled ? fitImage(onImage, size, mode) : onImage, inpainting);
  if (!boundingBox(soft)) throw emptyMask();
  // What a soft mask lets change at any time is the model's own work, which is not faded a second time.
  const shown = options.softMask ? binarise(soft, 1) : soft;
  const layers = inpainting.bothSides
    ? blurred({ original, mask: soft }, inpainting, inpainting.bothSides.columns)
    : { original, mask: soft, overlay: fadeIn(shown, fadeWidth(inpainting)) };
  return inpainting.padding === undefined
    ? wholePicture(generation, layers, size)
    : surroundings(generation, layers, size, inpainting.padding);
}

/** Pixels over which the painted part comes in; a Gaussian of this deviation takes about as many. */
export const fadeWidth = ({ blur }: Inpainting): number => 2 * blur;

/**
 * As the web UI does it (`StableDiffusionProcessingImg2Img.init`): what is repainted is the blurred mask from one half
 * on; laid over the original it is doubled where the whole picture is worked on, so that all of the mask is new.
 */
function blurred(
  { original, mask }: Omit<Layers, "overlay">,
  { blur, padding }: Inpainting,
  columns: number,
): Layers {
  const soft = blurMask(mask, blur, columns);
  return { original, mask: soft, overlay: padding === undefined ? doubled(soft) : soft };
}

interface Layers {
  readonly original: Image;
  readonly mask: Mask;
  readonly overlay: Mask;
}

function wholePicture(generation: Generation, { original, mask, overlay }: Layers, size: Size): Repainting {
  const { width, height } = original;
  const region = { left: 0, top: 0, right: size.width, bottom: size.height };
  const given = masked(generation, cropContinued(original, region), cropContinued(mask, region));
  const whole = { left: 0, top: 0, right: width, bottom: height };
  return {
    masked: given,
    original,
    part: { whole: { width, height }, region },
    restore: (painted) => applyOverlay(original, crop(matched(generation, painted, given), whole), overlay),
  };
}

/** "Only masked": a region of the size's aspect ratio, continued by its edge where the image ends before. */
function surroundings(
  generation: Generation,
  { original, mask, overlay }: Layers,
  size: Size,
  padding: number,
): Repainting {
  const region = cropRegion(mask, size, padding);
  const fitted = (image: Image) => fitImage(crop(image, region), size, "fill");
  const given = masked(generation, fitted(original), fitted(mask));
  let shown: ReturnType<typeof reduced> | undefined;
  return {
    masked: given,
    original,
    part: { whole: { width: original.width, height: original.height }, region },
    restore: (painted) => applyOverlay(original, matched(generation, painted, given), overlay, region),
    inPlace: (small) => {
      shown ??= reduced({ original, overlay }, region);
      return applyOverlay(shown.original, resize(small, size, "nearest"), shown.overlay, shown.region);
    },
  };
}

/** What previews are laid over, at their size: there is one for every step. */
function reduced({ original, overlay }: Omit<Layers, "mask">, region: Region) {
  const scale = Math.min(1, PREVIEW_SIDE / Math.max(original.width, original.height));
  const length = (pixels: number) => Math.max(1, Math.round(pixels * scale));
  const size = { width: length(original.width), height: length(original.height) };
  const [left, top] = [Math.floor(region.left * scale), Math.floor(region.top * scale)];
  return {
    original: resize(original, size, "bilinear"),
    overlay: resize(overlay, size, "bilinear"),
    region: {
      left,
      top,
      right: Math.max(left + 1, Math.min(size.width, Math.round(region.right * scale))),
      bottom: Math.max(top + 1, Math.min(size.height, Math.round(region.bottom * scale))),
    },
  };
}

/** Of the longer side of a picture's preview, at most. */
const PREVIEW_SIDE = 512;

/** With a soft edge, colours fit, too; without one the result is what the model made. */
const matched = ({ options }: Generation, painted: Image, { image, mask }: Masked): Image =>
  options.inpainting!.blur > 0 && !options.inpainting!.bothSides
    ? matchColours(painted, image, mask)
    : painted;

const masked = ({ options }: Generation, image: Image, mask: Mask): Masked => ({
  image,
  mask: options.softMask ? binarise(mask, 1) : binarise(mask),
  ...(options.inpainting!.bothSides && { levels: mask }),
  ...(options.softMask && { soft: mask }),
  rule: options.inpainting!.bothSides ? "round" : "nearest",
  content: (options.inpainting as Inpainting).content,
  strength: options.strength!,
});

const emptyMask = (): DiffusionError =>
  new DiffusionError("BAD_OPTION", "the mask is empty: there is nothing to repaint", {
    hint: "white (255) or transparent pixels are repainted; maskInvert turns that round",
  });
