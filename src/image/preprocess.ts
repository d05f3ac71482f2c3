import { DiffusionError, demand } from "../errors.js";
import { type CannyOptions, canny } from "./canny.js";
import { flatten } from "./convert.js";
import { grayscale, invert } from "./filters.js";
import type { Image, Mask } from "./image.js";

/**
 * What makes a picture one that a ControlNet or T2I-Adapter can follow.
 * - "canny": its edges, white on black
 * - "invert": white becomes black, for drawings of dark lines on white
 * - "depth": a depth map, spread over all levels of grey; near is white
 */
export type Preprocessor = "canny" | "invert" | "depth" | ({ readonly name: "canny" } & CannyOptions);

export const preprocessors = ["canny", "invert", "depth"] as const;

/** An RGB picture put through some preprocessors, one after the other. */
export function preprocess(image: Image, steps: readonly Preprocessor[]): Image {
  demand("image", image, "picture");
  demand("preprocessors", steps, "list");
  return steps.reduce((picture, step) => apply(picture, step), image);
}

function apply(image: Image, step: Preprocessor): Image {
  const { name, ...options } = typeof step === "string" ? { name: step } : step;
  switch (name) {
    case "canny":
      return flatten(canny(image, options));
    case "invert":
      return flatten(invert(image));
    case "depth":
      return flatten(spread(grayscale(image)));
    default:
      throw new DiffusionError("BAD_OPTION", `there is no preprocessor ${name satisfies never}`, {
        hint: `there are ${preprocessors.join(", ")}`,
      });
  }
}

/** The darkest level becomes 0, the lightest 255; a plain picture stays as it is. */
function spread(mask: Mask): Mask {
  let [low, high] = [255, 0];
  for (const level of mask.data) [low, high] = [Math.min(low, level), Math.max(high, level)];
  if (low >= high) return mask;
  return { ...mask, data: mask.data.map((level) => Math.round(((level - low) * 255) / (high - low))) };
}
