import type { Node, NodeWriter } from "./nodes.js";
import type { Shape } from "./ops.js";
import { rowsPerStrip } from "./strips.js";

/**
 * 3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2015, section 4.1): 4/9 of the
 * multiplications. Each tile of 2x2 results comes from 4x4 pixels; tile, kernel and result are transformed along
 * both axes, and between lies one matrix product for each of 16 places. The transforms of pixels and results are
 * products with constant matrices, too; the kernel's is made when weights are converted.
 */

/** Along one axis; both axes at once are the Kronecker product of a matrix with itself. */
const pixelTransform = [
  [1, 0, -1, 0],
  [0, 1, 1, 0],
  [0, -1, 1, 0],
  [0, 1, 0, -1],
];
const resultTransform = [
  [1, 1, 1, 0],
  [0, 1, -1, -1],
];

const TILE = 2;
const EDGE = 4;
/**
 * Below them transforms and larger kernels do not pay (bench/NOTES.md): with few tiles the products have few rows, and
 * where Conv2D is slow, it is worth more.
 */
const least = { direct: { tiles: 128, channels: 256 }, indirect: { tiles: 16, channels: 128 } };
/** Tiles that are transformed at a time, so that they stay in the cache; but every strip costs nodes. */
const TILES_PER_STRIP = 512;
const MOST_STRIPS = 8;

/**
 * Whether a 3x3 convolution with stride 1 that keeps the size is faster in this form.
 *
 * @param isDirect `GraphOptions.directConvolution`
 */
export function suitsWinograd(
  [batch, height, width, output]: Shape,
  input: number,
  isDirect: boolean,
): boolean {
  const { tiles: leastTiles, channels } = least[isDirect ? "direct" : "indirect"];
  const isEven = height! % TILE === 0 && width! % TILE === 0;
  const tiles = (batch! * height! * width!) / TILE ** 2;
  return isEven && tiles >= leastTiles && Math.min(input, output!) >= channels;
}

/** x [B, H, W, I] with transformed kernels [16, I, O] to [B, H, W, O]. */
export function winogradConvolution(w: NodeWriter, x: Node, kernels: Node): Node {
  const [batch, height, width] = x.shape as [number, number, number];
  const [planes, , output] = kernels.shape as [number, number, number];
  const [down, across] = [height / TILE, width / TILE];
  const tilesInAll = batch * down * across;
  const rows = rowsPerStrip(down, Math.min(MOST_STRIPS, Math.ceil(tilesInAll / TILES_PER_STRIP)));
  const padded = w.pad(x, [1, 1, 1, 1]);
  const strips: Node[] = [];
  for (let from = 0; from < down; from += rows) {
    const pixels = tilePixels(w, padded, from, rows);
    const transformed = w.matmul(w.constant(kronecker(pixelTransform), [planes, planes]), pixels);
    const tiles = batch * rows * across;
    const products = w.batchMatmul(w.reshape(transformed, [planes, tiles, x.shape[3]!]), kernels);
    const results = w.matmul(
      w.constant(kronecker(resultTransform), [TILE ** 2, planes]),
      w.reshape(products, [planes, tiles * output]),
    );
    const apart = w.reshape(results, [TILE, TILE, batch, rows, across, output]);
    const image = w.transpose(apart, [2, 3, 0, 4, 1, 5]);
    strips.push(w.reshape(image, [batch, rows * TILE, width, output]));
  }
  return strips.length === 1 ? strips[0]! : w.concat(strips, 1, [batch, height, width, output]);
}

/** The pixels of rows of tiles, place by place: [16, tiles * I]. Tiles overlap by half. */
function tilePixels(w: NodeWriter, padded: Node, from: number, rows: number): Node {
  const [batch, high, wide, input] = padded.shape as [number, number, number, number];
  const [down, across] = [high / TILE, wide / TILE];
  const blocks = w.reshape(padded, [batch, down, TILE, across, TILE, input]);
  const length = batch * rows * (across - 1) * input;
  const pixels = Array.from({ length: EDGE ** 2 }, (_, i) => {
    const [y, x] = [Math.floor(i / EDGE), i % EDGE];
    const begin = [0, from + Math.floor(y / TILE), y % TILE, Math.floor(x / TILE), x % TILE, 0];
    return w.reshape(w.slice(blocks, begin, [batch, rows, 1, across - 1, 1, input]), [1, length]);
  });
  return w.concat(pixels, 0, [EDGE ** 2, length]);
}

/** The transform of both axes as one matrix. */
const kronecker = (m: readonly (readonly number[])[]): Float32Array =>
  Float32Array.from(m.flatMap((a) => m.flatMap((b) => a.flatMap((x) => b.map((y) => x * y)))));
