import type { Image, Size } from "../../image/image.js";
import { preprocess } from "../../image/preprocess.js";
import { fitImage, type ResizeMode } from "../../image/resize.js";
import { Refusal } from "../refusal.js";

/** Pixels of the shorter side that is preprocessed when nothing is said. */
export const usualResolution = 512;

/** What is made of a picture for a ControlNet to follow, in the words of the web UI's extension. */
export interface ControlMap {
  readonly module: "none" | "canny" | "invert";
  /** Pixels of the shorter side that is preprocessed; "perfect": as the map will be shown. */
  readonly resolution: number | "perfect";
  readonly low: number;
  readonly high: number;
  /** Brought to this size in the end. */
  readonly fit?: Size & { readonly mode: ResizeMode };
}

/** @param most pixels of what is preprocessed @throws Refusal 422 */
export function controlMap(image: Image, { fit, ...map }: ControlMap, most: number): Image {
  const resolution = map.resolution === "perfect" ? pixelPerfect(image, fit!) : map.resolution;
  const found = detected(image, { ...map, resolution }, most);
  return fit ? fitImage(found, fit, fit.mode) : found;
}

/** The shorter side of the picture as it will be shown: what a preprocessor finds is not scaled any more. */
function pixelPerfect(image: Size, { mode, width, height }: NonNullable<ControlMap["fit"]>): number {
  const scales = [width / image.width, height / image.height] as const;
  const scale = mode === "fill" ? Math.min(...scales) : Math.max(...scales);
  return Math.max(1, Math.round(scale * Math.min(image.width, image.height)));
}

function detected(
  image: Image,
  { module, resolution, low, high }: Omit<ControlMap, "fit"> & { readonly resolution: number },
  most: number,
): Image {
  if (module === "none") return image;
  if (module === "invert") return preprocess(image, ["invert"]);
  const { width, height } = image;
  const scale = (resolution > 0 ? resolution : usualResolution) / Math.min(width, height);
  const size = { width: Math.round(width * scale), height: Math.round(height * scale) };
  if (size.width * size.height > most || Math.min(size.width, size.height) < 1)
    throw new Refusal(
      422,
      "TOO_LARGE",
      `processor_res: ${size.width} x ${size.height} is no size for a picture here`,
    );
  return preprocess(fitImage(image, size), [{ name: "canny", low, high }]);
}
