import { blendLatents, inpaintingInput, restoreKept } from "../latents/blend.js";
import { applyOverlay, boundingBox, cropRegion, fillMasked } from "./composite.js";
import { fadeIn } from "./fade.js";
import { binarise, blurMask, invert } from "./filters.js";
import { feather, latentMask, maskedImage, maskFromImage, prepareMask } from "./mask.js";
import { outpaintCanvas, outpaintPasses, seamMask } from "./outpaint.js";

/**
 * What inpainting is made of, for people who build their own loop. All are pure functions of plain numbers. Masks
 * hold one byte a pixel: 255 = repaint, 0 = keep.
 */
export const masks = {
  /** A mask from any picture: from its alpha, if that is not fully opaque, else from its luminance. */
  fromImage: maskFromImage,
  /** The same at the size generated at, as a hard mask. */
  prepare: prepareMask,
  invert,
  binarise,
  blur: blurMask,
  /** Softened outwards, as in the web UI. */
  feather,
  /** Softened inwards, so that no kept pixel changes. */
  fadeIn,
  boundingBox,
  /** The part of a picture to work on when only the masked part is repainted. */
  cropRegion,
  /** The mask at the size of the latents. */
  toLatents: latentMask,
  /** The picture with mid grey where it is repainted: what an inpainting model is shown. */
  maskedImage,
  /** The masked part in the colours of its surroundings. */
  fill: fillMasked,
  /** Latents, mask and masked latents as the nine channels of an inpainting UNet. */
  inpaintingInput,
  /** Puts the kept part back after a step, at the noise level of the next one. */
  restoreKept,
  blendLatents,
  /** The original picture with the painted one laid over it where the mask says so. */
  overlay: applyOverlay,
  outpaintCanvas,
  outpaintPasses,
  seamMask,
} as const;
