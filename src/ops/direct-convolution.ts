import type { Attributes, Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";
import type { Shape } from "./ops.js";

/** Convolutions that are one operation of TensorFlow's. */

export type Conv2dPadding = "SAME" | "VALID";

const attributes = (x: Node, stride: number, padding: Conv2dPadding): Attributes => ({
  T: { type: x.type },
  strides: { ints: [1, stride, stride, 1] },
  padding: { string: padding },
  data_format: { string: "NHWC" },
  dilations: { ints: [1, 1, 1, 1] },
});

/** @param shape of the result, [B, h, w, O] */
export const convolve = (
  w: NodeWriter,
  x: Node,
  kernel: Node,
  { stride, padding, shape }: { stride: number; padding: Conv2dPadding; shape: Shape },
): Node => w.emit("Conv2D", [x, kernel], shape, x.type, attributes(x, stride, padding));

/**
 * A 3x3 convolution of x [B, H, W, I] at twice its size, each pixel standing four times, without making that picture:
 * what the pixels add to the results around them, a transposed convolution. 4/9 of the arithmetic (bench/NOTES.md).
 *
 * @param kernel [4, 4, O, I]
 * @returns [B, 2 H, 2 W, O]
 */
export const convolveUpsampled = (w: NodeWriter, x: Node, kernel: Node): Node =>
  convolveTransposed(w, x, kernel, 2);

/**
 * A convolution that keeps the size of x [B, H, W, I], as the transposed one of the kernel that is turned by half a
 * circle: oneDNN orders a kernel to its liking for this operation, not for Conv2D (bench/NOTES.md).
 *
 * @param kernel [height, width, O, I], both odd
 * @returns [B, H, W, O]
 */
export const convolveTurned = (w: NodeWriter, x: Node, kernel: Node): Node =>
  convolveTransposed(w, x, kernel, 1);

function convolveTransposed(w: NodeWriter, x: Node, kernel: Node, stride: number): Node {
  const [batch, height, width] = x.shape as [number, number, number];
  const shape = [batch, stride * height, stride * width, kernel.shape[2]!];
  const inputs = [w.ints(...shape), kernel, x];
  return w.emit("Conv2DBackpropInput", inputs, shape, x.type, attributes(x, stride, "SAME"));
}
