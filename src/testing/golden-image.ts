import type { Image } from "../image/image.js";
import { goldenTensor } from "./golden.js";

/** A U8 picture of a golden file, (H, W) or (H, W, C). */
export function goldenImage(reference: { file: string; key: string }): Image {
  const { shape, data } = goldenTensor(reference);
  return { width: shape[1]!, height: shape[0]!, data: Uint8Array.from(data) };
}
