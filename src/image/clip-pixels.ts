import type { Values } from "../latents/latents.js";
import { flatten } from "./convert.js";
import { crop, type Image } from "./image.js";
import { resize } from "./resize.js";

/** Mean and standard deviation of the pictures that CLIP was trained on, in [0, 1] (OpenAI's CLIP, `clip.py`). */
const means = [0.48145466, 0.4578275, 0.40821073] as const;
const deviations = [0.26862954, 0.26130258, 0.27577711] as const;

/**
 * A picture as CLIP's image encoder takes it, [1, size, size, 3]: the shorter side brought to `size` by Pillow's
 * bicubic filter, the middle cut out, normalised. Equals transformers' CLIPImageProcessor (its Pillow backend).
 */
export function clipPixels(image: Image, size: number): Values {
  const flat = middle(flatten(image));
  const { width, height } = flat;
  const shorter = Math.min(width, height);
  const scaled = {
    width: Math.floor((size * width) / shorter),
    height: Math.floor((size * height) / shorter),
  };
  const resized = resize(flat, scaled, "bicubic");
  const [left, top] = [Math.floor((scaled.width - size) / 2), Math.floor((scaled.height - size) / 2)];
  const { data } = crop(resized, { left, top, right: left + size, bottom: top + size });
  const tables = means.map((mean, c) =>
    Float32Array.from({ length: 256 }, (_, level) => (level / 255 - mean) / deviations[c]!),
  );
  return {
    shape: [1, size, size, 3],
    data: Float32Array.from(data, (level, i) => tables[i % 3]![level]!),
  };
}

/** Times its shorter side that a picture may be long: what is beyond is cut off anyway, and would take its room. */
const LONGEST = 16;

function middle(image: Image): Image {
  const { width, height } = image;
  const longest = LONGEST * Math.min(width, height);
  if (Math.max(width, height) <= longest) return image;
  const [left, top] = [width, height].map((side) => Math.max(0, Math.floor((side - longest) / 2)));
  return crop(image, {
    ...{ left: left!, top: top! },
    ...{ right: left! + Math.min(width, longest), bottom: top! + Math.min(height, longest) },
  });
}
