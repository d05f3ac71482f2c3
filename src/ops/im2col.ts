import type { Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";
import type { Shape } from "./ops.js";
import { rowsPerStrip } from "./strips.js";

/** Bytes of shifted copies that are made at a time; but every strip costs nodes. */
const STRIP_BYTES = 2 ** 24;
const MOST_STRIPS = 16;

export interface Window {
  readonly size: readonly [height: number, width: number];
  readonly stride: number;
  /** Zeros above and to the left. */
  readonly before: readonly [top: number, left: number];
}

/**
 * A convolution as a product with the kernel over the shifted copies of x, side by side.
 *
 * @param x [B, H, W, I]
 * @param kernel [height * width * I, O]
 * @param shape of the result, [B, h, w, O]
 */
export function im2col(w: NodeWriter, x: Node, kernel: Node, window: Window, shape: Shape): Node {
  const [batch, high, wide, output] = shape as [number, number, number, number];
  const { size, stride } = window;
  const [depth] = kernel.shape as [number, number];
  const bytes = 4 * batch * high * wide * depth;
  const rows = rowsPerStrip(high, Math.min(MOST_STRIPS, Math.ceil(bytes / STRIP_BYTES)));
  const convolve = (v: NodeWriter, [blocks, matrix]: readonly Node[]) =>
    convolveStrip(v, blocks!, matrix!, window, [batch, rows, wide, output]);
  const blocks = inBlocks(w, x, window, [high, wide], kernel);
  if (rows === high) return convolve(w, [blocks, kernel]);
  const [, , , ...rest] = blocks.shape;
  const seen = rows + Math.ceil(size[0] / stride) - 1;
  const strips: Node[] = [];
  for (let from = 0; from < high; from += rows) {
    // One after the other, as in winograd.ts.
    const begin = [0, from, 0, 0, 0, 0];
    const strip = w.slice(blocks, begin, [batch, seen, stride, ...rest], strips.at(-1));
    strips.push(w.call(`im2col_${size.join("x")}`, [strip, kernel], convolve));
  }
  return w.concat(strips, 1, shape);
}

function convolveStrip(
  w: NodeWriter,
  blocks: Node,
  kernel: Node,
  { size, stride }: Window,
  [batch, rows, wide, output]: readonly [number, number, number, number],
): Node {
  const [depth] = kernel.shape as [number, number];
  const channels = blocks.shape.at(-1)!;
  const shifted = Array.from({ length: size[0] * size[1] }, (_, i) => {
    const [down, across] = [Math.floor(i / size[1]), i % size[1]];
    const begin = [
      0,
      Math.floor(down / stride),
      down % stride,
      Math.floor(across / stride),
      across % stride,
      0,
    ];
    const copy = w.slice(blocks, begin, [batch, rows, 1, wide, 1, channels]);
    return w.reshape(copy, [batch, rows, wide, channels]);
  });
  const columns = w.concat(shifted, 3, [batch, rows, wide, depth]);
  const product = w.matmul(w.reshape(columns, [batch * rows * wide, depth]), kernel);
  return w.reshape(product, [batch, rows, wide, output]);
}

/** x with zeros around, each axis in steps of the stride: [B, H / stride, stride, W / stride, stride, C]. */
function inBlocks(
  w: NodeWriter,
  x: Node,
  { size, stride, before }: Window,
  [high, wide]: readonly [number, number],
  kernel: Node,
): Node {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [top, left] = before;
  const steps = (outputs: number, edge: number, length: number) =>
    Math.max(outputs + Math.ceil(edge / stride) - 1, Math.ceil(length / stride));
  const down = steps(high, size[0], top + height);
  const across = steps(wide, size[1], left + width);
  const zeros = [top, stride * down - height - top, left, stride * across - width - left] as const;
  // As in winograd.ts: the kernel first, so that one strip after the other can be done with.
  const padded = w.pad(x, zeros, kernel);
  return w.reshape(padded, [batch, down, stride, across, stride, channels]);
}
