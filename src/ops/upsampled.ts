import type { Node, NodeWriter } from "./nodes.js";

/**
 * A 3x3 convolution of a picture in which each pixel stands four times, without making that picture. Each of the four
 * results of a pixel sees 2x2 pixels of the small picture, so it is a 2x2 convolution whose kernel holds sums of the
 * 3x3 kernel's taps: 4/9 of the arithmetic. All four are computed at once, at one row and column of places more than
 * each needs (bench/NOTES.md).
 *
 * @param x [B, H, W, I]
 * @param kernels [2, 2, I, 4 O], of the four results one after the other: above, above right, below, below right
 * @returns [B, 2 H, 2 W, O]
 */
export function convolveUpsampled(w: NodeWriter, x: Node, kernels: Node): Node {
  const [batch, height, width] = x.shape as [number, number, number];
  const channels = kernels.shape[3]! / 4;
  const places = [batch, height + 1, width + 1, 4 * channels];
  const all = w.conv2d(w.pad(x, [1, 1, 1, 1]), kernels, 1, "VALID", places);
  const [a, b, c, d] = [0, 1, 2, 3].map((i) =>
    w.slice(all, [0, i >> 1, i & 1, i * channels], [batch, height, width, channels]),
  ) as [Node, Node, Node, Node];
  const row = 2 * width * channels;
  const [upper, lower] = [
    [a, b],
    [c, d],
  ].map((pair) => w.reshape(w.concat(pair, 3, [batch, height, width, 2 * channels]), [batch, height, row]));
  const rows = w.concat([upper!, lower!], 2, [batch, height, 2 * row]);
  return w.reshape(rows, [batch, 2 * height, 2 * width, channels]);
}
