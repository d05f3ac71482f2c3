import type { Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";
import type { Shape } from "./ops.js";
import { rowsPerStrip } from "./strips.js";

/**
 * 3x3 convolutions by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2015, section 4.1): 4/9 of the
 * multiplications. Each tile of 2x2 results comes from 4x4 pixels; tile, kernel and result are transformed along
 * both axes, and between lies one matrix product for each of 16 places. The transforms of pixels and results are
 * products with constant matrices, too; the kernel's is made when weights are converted.
 */

/** Along one axis; both axes at once are the Kronecker product of a matrix with itself. */
interface Filter {
  readonly name: string;
  /** From a tile's pixels to the places of the products, as many of both. */
  readonly pixels: readonly (readonly number[])[];
  /** From there to the tile's two results. */
  readonly results: readonly (readonly number[])[];
  /** Pixels from one tile to the next. */
  readonly step: number;
}

const plain: Filter = {
  name: "winograd",
  pixels: [
    [1, 0, -1, 0],
    [0, 1, 1, 0],
    [0, -1, 1, 0],
    [0, 1, 0, -1],
  ],
  results: [
    [1, 1, 1, 0],
    [0, 1, -1, -1],
  ],
  step: 2,
};

/**
 * Of a picture in which every pixel is to stand twice: of the tile a, b, b, c the third of Winograd's places is b - b.
 * The others are 9 products where the four results have 36 taps.
 */
const upsampled: Filter = {
  name: "upsampled_winograd",
  pixels: [
    [1, -1, 0],
    [0, 1, 0],
    [0, 1, -1],
  ],
  results: [
    [1, 1, 0],
    [0, 1, -1],
  ],
  step: 1,
};

/** Results of a tile along one axis. */
const TILE = 2;
/**
 * Below them transforms and larger kernels do not pay (bench/NOTES.md): with few tiles the products have few rows, and
 * where Conv2D is slow, it is worth more.
 */
const least = {
  direct: { tiles: 128, channels: 256 },
  indirect: { tiles: 16, channels: 128 },
  upsampled: { tiles: 16, channels: 192 },
};
/** Tiles that are transformed at a time, so that they stay in the cache; but every strip costs nodes. */
const TILES_PER_STRIP = 512;
const MOST_STRIPS = 32;

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

/** Whether a picture [B, H, W, I] is faster convolved in this form than as `convolveUpsampled` when it is enlarged. */
export function suitsUpsampledWinograd([batch, height, width, input]: Shape, output: number): boolean {
  const { tiles, channels } = least.upsampled;
  return batch! * height! * width! >= tiles && Math.min(input!, output) >= channels;
}

/** x [B, H, W, I] with transformed kernels [16, I, O] to [B, H, W, O]. */
export const winogradConvolution = (w: NodeWriter, x: Node, kernels: Node): Node =>
  convolveTiles(w, x, kernels, plain);

/** x [B, H, W, I], with transformed kernels [9, I, O] of its picture at twice the size, to [B, 2 * H, 2 * W, O]. */
export const upsampledWinogradConvolution = (w: NodeWriter, x: Node, kernels: Node): Node =>
  convolveTiles(w, x, kernels, upsampled);

function convolveTiles(w: NodeWriter, x: Node, kernels: Node, filter: Filter): Node {
  const { step, name } = filter;
  const [batch, height, width, input] = x.shape as [number, number, number, number];
  const [down, across] = [height / step, width / step];
  const tiles = batch * down * across;
  const rows = rowsPerStrip(down, Math.min(MOST_STRIPS, Math.ceil(tiles / TILES_PER_STRIP)));
  const convolve = (v: NodeWriter, [pixels, factors]: readonly Node[]) =>
    convolveStrip(v, pixels!, factors!, filter);
  if (rows === down) return convolve(w, [w.pad(x, [1, 1, 1, 1]), kernels]);
  const strips: Node[] = [];
  for (let from = 0; from < down; from += rows) {
    const [top, bottom] = [Number(from === 0), Number(from + rows === down)];
    const seen = [batch, rows * step + 2 - top - bottom, width, input];
    // One after the other, as they would not fit the cache side by side; and none before the kernels are there, as
    // TensorFlow would prepare all strips and then wait.
    const pixels = w.slice(x, [0, from * step - 1 + top, 0, 0], seen, strips.at(-1) ?? kernels);
    strips.push(w.call(name, [w.pad(pixels, [top, bottom, 1, 1]), kernels], convolve));
  }
  return w.concat(strips, 1, [batch, down * TILE, across * TILE, kernels.shape[2]!]);
}

/** A picture with the pixels around it to the results in its middle. */
function convolveStrip(w: NodeWriter, padded: Node, kernels: Node, filter: Filter): Node {
  const [planes, input, output] = kernels.shape as [number, number, number];
  const [batch, high, wide] = padded.shape as [number, number, number, number];
  const beyond = filter.pixels.length - filter.step;
  const [rows, across] = [(high - beyond) / filter.step, (wide - beyond) / filter.step];
  const tiles = batch * rows * across;
  const pixels = tilePixels(w, padded, filter, [rows, across]);
  const transformed = w.matmul(w.constant(kronecker(filter.pixels), [planes, planes]), pixels);
  const products = w.batchMatmul(w.reshape(transformed, [planes, tiles, input]), kernels);
  const results = w.matmul(
    w.constant(kronecker(filter.results), [TILE ** 2, planes]),
    w.reshape(products, [planes, tiles * output]),
  );
  const apart = w.reshape(results, [TILE, TILE, batch, rows, across, output]);
  const image = w.transpose(apart, [2, 3, 0, 4, 1, 5]);
  return w.reshape(image, [batch, rows * TILE, across * TILE, output]);
}

/** The pixels of all tiles, place by place: [places * places, tiles * I]. Tiles overlap. */
function tilePixels(
  w: NodeWriter,
  padded: Node,
  { pixels: { length: edge }, step }: Filter,
  [rows, across]: readonly [rows: number, across: number],
): Node {
  const [batch, high, wide, input] = padded.shape as [number, number, number, number];
  const blocks = w.reshape(padded, [batch, high / step, step, wide / step, step, input]);
  const length = batch * rows * across * input;
  const pixels = Array.from({ length: edge ** 2 }, (_, i) => {
    const [y, x] = [Math.floor(i / edge), i % edge];
    const begin = [0, Math.floor(y / step), y % step, Math.floor(x / step), x % step, 0];
    return w.reshape(w.slice(blocks, begin, [batch, rows, 1, across, 1, input]), [1, length]);
  });
  return w.concat(pixels, 0, [edge ** 2, length]);
}

/** The transform of both axes as one matrix. */
const kronecker = (m: readonly (readonly number[])[]): Float32Array =>
  Float32Array.from(m.flatMap((a) => m.flatMap((b) => a.flatMap((x) => b.map((y) => x * y)))));
