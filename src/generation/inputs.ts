import { flatten } from "../image/convert.js";
import type { Image, Mask } from "../image/image.js";
import { readImage } from "../image/read.js";
import type { Latents } from "../latents/latents.js";
import type { MaskInput } from "../options/image-options.js";
import type { GenerateOptions } from "../options/options.js";
import type { WildcardLists } from "../text/wildcards.js";
import { readWildcards } from "./wildcard-folder.js";

/** The pictures that a generation was given, read. */
export interface Inputs {
  /** RGB; transparency lies over white. */
  readonly image?: Image;
  /** As it came: alpha or luminance decides, see `maskFromImage`. */
  readonly mask?: Image | Mask;
  /** In place of an image: for models that enlarge them. */
  readonly latents?: Latents;
  /** Lists that prompts may draw from. */
  readonly wildcards?: WildcardLists;
}

export async function readInputs({ image, mask, wildcards }: GenerateOptions): Promise<Inputs> {
  return {
    ...(image !== undefined &&
      (isLatents(image) ? { latents: image } : { image: flatten(await readImage(image)) })),
    ...(mask !== undefined && { mask: await readMask(mask) }),
    ...(wildcards !== undefined && { wildcards: await readWildcards(wildcards) }),
  };
}

/** Whether an image is given as what a model has made of one. */
const isLatents = (image: NonNullable<GenerateOptions["image"]>): image is Latents =>
  typeof image === "object" && "shape" in image;

/** A mask as it came: alpha or luminance of a picture decide, see `maskFromImage`. */
export const readMask = async (mask: MaskInput): Promise<Image | Mask> =>
  isMask(mask) ? mask : readImage(mask);

const isMask = (mask: MaskInput): mask is Mask =>
  typeof mask === "object" &&
  "width" in mask &&
  mask.data instanceof Uint8Array &&
  mask.data.length === mask.width * mask.height;
