import { internal } from "../errors.js";
import type { Size } from "../image/image.js";
import { hiresPass } from "./hires.js";
import { outpaintingPasses } from "./outpainting.js";
import type { Pass, Planned } from "./passes.js";

/**
 * The passes that each image of a generation takes, in order.
 *
 * @param image size of the picture that is started from; with a strength of 0 no step changes it
 */
export function passesOf(planned: Planned, image?: Size): Pass[] {
  const { mode, width, height, steps, strength, exactSteps: exact = false, hires } = planned.options;
  if (mode === "outpaint") {
    if (!image) throw internal("there is no picture to paint around");
    return outpaintingPasses(planned, image);
  }
  if (image && strength === 0 && (mode === "img2img" || mode === "inpaint")) return [];
  const first = { size: { width, height }, steps, exact, ...(strength !== undefined && { strength }) };
  return hires ? [first, hiresPass(planned)] : [first];
}
