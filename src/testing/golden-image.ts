import type { Image } from "../image/image.js";
import { goldenTensor } from "./golden.js";

/** A U8 picture of a golden file, (H, W) or (H, W, C). */
export function goldenImage(reference: { file: string; key: string }): Image {
  const { shape, data } = goldenTensor(reference);
  return { width: shape[1]!, height: shape[0]!, data: Uint8Array.from(data) };
}

/** The picture that the programs beside reference values (`make.py`) draw. */
export function patternOf(side: number): Image {
  const cells = Array.from({ length: side * side }, (_, i) => [i % side, Math.floor(i / side)] as const);
  const colours = cells.flatMap(([x, y]) => [(x * 5) % 256, (y * 5) % 256, (x * 3 + y * 2) % 256]);
  return { width: side, height: side, data: Uint8Array.from(colours) };
}
