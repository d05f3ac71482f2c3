import type { Node } from "./graph-def.js";
import type { ElementwisePass } from "./graph-tensors.js";
import type { NodeWriter } from "./node-writer.js";
import { elements, type Shape } from "./ops.js";
import { rowsAtATime } from "./strips.js";
import { filter4 } from "./winograd-filters.js";

/**
 * 3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications. Each tile of 4x4 results comes from 6x6
 * pixels. Pixels are transformed along rows, then along columns, each in one function that XLA compiles; one matrix
 * product for each of the 36 places; results go back along columns, then rows. Each function reads an array and writes
 * one, and has no reshape inside: so it is one loop nest over memory, with the channels innermost.
 */

/** Results of a tile along one axis, and places of the products. */
const [TILE, PLACES] = [4, 6];
/**
 * Sums over many channels are what loses digits here, three to four times as many as in F(2x2, 3x3). Those of parts of the
 * channels apart, and then the sum of the parts, lose half as many; but every part is a further array of products.
 */
const [MOST_GROUPS, CHANNELS_OF_GROUP] = [4, 80];
/**
 * At least so many tiles are transformed at a time, if there are; more, as long as each of their places has at most so
 * many values. They should stay in the cache, but threads should not be woken for little work (bench/NOTES.md).
 */
const perStrip = { leastTiles: 512, mostValues: 2 ** 18 };

/** What happens to the results in the pass that writes them. */
export interface LastPass {
  /** [O] */
  readonly bias?: Node;
  /** What is added: [B, 1, 1, O] or the results' shape */
  readonly others?: readonly Node[];
  readonly activation?: ElementwisePass | undefined;
}

/** Below them transforms, or the larger kernels, do not pay (bench/NOTES.md). */
const least = { tiles: 16, channels: { direct: 96, indirect: 64 } };

/** Equal parts of the channels. */
function groupsOf(channels: number): number {
  let groups = Math.max(1, Math.min(MOST_GROUPS, Math.floor(channels / CHANNELS_OF_GROUP)));
  while (channels % groups !== 0) groups--;
  return groups;
}

const tilesOf = (length: number): number => Math.ceil(length / TILE);

/**
 * Whether a 3x3 convolution with stride 1 that keeps the size is fastest in this form.
 *
 * @param isDirect `ConvolutionTraits.directConvolution`
 */
export function suitsFusedWinograd(
  [batch, height, width, output]: Shape,
  input: number,
  isDirect: boolean,
): boolean {
  const tiles = batch! * tilesOf(height!) * tilesOf(width!);
  // What lies beyond the picture in tiles at its edges is computed, too.
  const waste = (tiles * TILE ** 2) / (batch! * height! * width!);
  const channels = least.channels[isDirect ? "direct" : "indirect"];
  return tiles >= least.tiles * waste && waste <= 2 && Math.min(input, output!) >= channels;
}

/** Whether `LastPass.others` may be given for results of this shape. */
export const takesAddends = ([, height]: Shape): boolean => height! % TILE === 0;

/**
 * @param x [B, H, W, I]
 * @param kernels [36, I, O], transformed, in the type in which they are stored
 * @returns [B, H, W, O]
 */
export function fusedWinograd(w: NodeWriter, x: Node, kernels: Node, last: LastPass = {}): Node {
  const [batch, height, width] = x.shape as [number, number, number, number];
  const [down, across] = [tilesOf(height), tilesOf(width)];
  const widest = Math.max(x.shape[3]!, kernels.shape[2]!);
  const mostTiles = Math.max(perStrip.leastTiles, Math.floor(perStrip.mostValues / widest));
  if (batch * down * across <= mostTiles)
    return cropped(w, convolveStrip(w, x, kernels, { from: 0, rows: down, last }), height);
  // Cast once for all strips.
  const factors = w.cast(kernels, x.type, x);
  const rows = rowsAtATime(down, Math.max(1, Math.floor(mostTiles / across)));
  const strips: Node[] = [];
  for (let sample = 0; sample < batch; sample++) {
    const ofSample = (y: Node, after?: Node) =>
      y.shape[0] === 1 ? y : w.slice(y, [sample, 0, 0, 0], [1, ...y.shape.slice(1)], after);
    for (let from = 0; from < down; from += rows) {
      // One after the other, as they would not fit the cache side by side.
      const here = Math.min(rows, down - from);
      const others = last.others?.map((y) => rowsOf(w, ofSample(y), from * TILE, here * TILE));
      const strip = convolveStrip(w, ofSample(x, strips.at(-1)), factors, {
        from,
        rows: here,
        last: { ...last, ...(others && { others }) },
        after: strips.at(-1),
      });
      strips.push(cropped(w, strip, Math.min(height - from * TILE, here * TILE)));
    }
  }
  const lines = strips.map((strip) => w.reshape(strip, [strip.shape[1]!, width, strip.shape[3]!]));
  const shape = [batch, height, width, kernels.shape[2]!];
  return w.reshape(w.concat(lines, 0, [batch * height, ...shape.slice(2)]), shape);
}

/** Rows of a picture, or what is the same for all of them. */
const rowsOf = (w: NodeWriter, y: Node, from: number, rows: number, after?: Node): Node =>
  y.shape[1] === 1 ? y : w.slice(y, [0, from, 0, 0], [y.shape[0]!, rows, ...y.shape.slice(2)], after);

const cropped = (w: NodeWriter, y: Node, height: number): Node => rowsOf(w, y, 0, height);

interface Strip {
  /** First row of tiles. */
  readonly from: number;
  /** Rows of tiles. */
  readonly rows: number;
  readonly last: LastPass;
  /** Not begun before this is there. */
  readonly after?: Node | undefined;
}

function convolveStrip(w: NodeWriter, x: Node, kernels: Node, { from, rows, last, after }: Strip): Node {
  const [batch, height, width, input] = x.shape as [number, number, number, number];
  const output = kernels.shape[2]!;
  const across = tilesOf(width);
  const first = from * TILE - 1;
  const [top, end] = [Math.max(0, first), Math.min(height, first + rows * TILE + 2)];
  const seen = rowsOf(w, x, top, end - top, after);
  const [high, wide] = [(rows + 1) * TILE, (across + 1) * TILE];
  const padded = w.pad(seen, [top - first, high - (end - first), 1, wide - 1 - width]);
  const alongRows = w.fused(
    "winograd_pixel_rows",
    [w.reshape(padded, [1, batch, rows + 1, TILE, wide * input])],
    (v, [p]) => {
      const shape = [1, batch, rows, 1, wide * input];
      return combine(v, windows(v, p!, [2, 3], shape), filter4.pixels, 0);
    },
  );
  const line = batch * rows;
  const groups = groupsOf(input);
  const places = w.fused(
    "winograd_pixel_columns",
    [w.reshape(alongRows, [PLACES, line, across + 1, TILE, groups, input / groups])],
    (v, [p]) => {
      const shape = [PLACES, line, across, 1, groups, input / groups];
      const ofGroups = windows(v, p!, [2, 3], shape).map((x) => groupsFirst(v, x));
      return combine(v, ofGroups, filter4.pixels, 1);
    },
  );
  const tiles = line * across;
  const pixels = w.reshape(places, [PLACES ** 2, groups, tiles, input / groups]);
  const alongColumns = productsOf(w, pixels, kernels).map((product) =>
    w.fused(
      "winograd_result_columns",
      [w.reshape(product, [product.shape[0]! / PLACES, PLACES, groups, tiles, 1, output])],
      (v, [p]) => {
        const sums = planes(v, p!, 1).map((place) => sumOf(v, planes(v, place, 2)));
        return combine(v, sums, filter4.results, 4);
      },
    ),
  );
  return image(w, alongColumns, { line: [batch, rows, 1, across * TILE, output], width, last });
}

/**
 * Of all places at once; of kernels in half precision, six places after the other, so that no more of them are cast at a
 * time.
 */
function productsOf(w: NodeWriter, pixels: Node, kernels: Node): Node[] {
  const [, groups, , input] = pixels.shape as [number, number, number, number];
  const output = kernels.shape[2]!;
  const isStoredSo = kernels.type === pixels.type;
  const products: Node[] = [];
  const some = isStoredSo ? PLACES ** 2 : PLACES;
  for (let from = 0; from < PLACES ** 2; from += some) {
    const part = (x: Node) =>
      w.slice(x, [from, ...x.shape.slice(1).map(() => 0)], [some, ...x.shape.slice(1)]);
    const factors = w.cast(part(kernels), pixels.type, products.at(-1) ?? pixels);
    products.push(w.batchMatmul(part(pixels), w.reshape(factors, [some, groups, input, output])));
  }
  return products;
}

/** [A, B, W, 1, G, C] to [A, 1, G, B, W, C]. */
function groupsFirst(v: NodeWriter, x: Node): Node {
  const [a, b, wide, , groups, channels] = x.shape as [number, number, number, number, number, number];
  if (groups === 1) return v.reshape(x, [a, 1, 1, b, wide, channels]);
  const apart = v.transpose(v.reshape(x, [a, b * wide, groups, channels]), [0, 2, 1, 3]);
  return v.reshape(apart, [a, 1, groups, b, wide, channels]);
}

/** The last pass: results along rows, and what becomes of them. */
function image(
  w: NodeWriter,
  alongColumns: readonly Node[],
  { line, width, last }: { line: Shape; width: number; last: LastPass },
): Node {
  const [batch, rows, , , output] = line as [number, number, number, number, number];
  const shape = [1, batch, rows, TILE, width, output];
  const seen = alongColumns.map((z) => w.reshape(z, [elements(z.shape) / elements(line), ...line]));
  const { bias, others = [], activation } = last;
  const more = others.map((y) =>
    w.reshape(y, y.shape[1] === 1 ? [1, batch, 1, 1, 1, output] : [1, batch, rows, TILE, width, output]),
  );
  const inputs = [...seen, ...(bias ? [bias] : []), ...more];
  // The width is in no input's shape: tiles may reach beyond it.
  const name = ["winograd_result_rows", width, bias ? "bias" : "plain", activation?.name ?? "as_is"].join(
    "_",
  );
  const y = w.fused(name, inputs, (v, given) => {
    const parts = given.slice(0, seen.length).flatMap((z) => planes(v, z, 0));
    const inside = [1, ...line.slice(0, 3), width, output];
    const sums = combine(
      v,
      parts.map((z) => cut(v, z, [0, 0, 0, 0, 0, 0], inside)),
      filter4.results,
      3,
    );
    const whole = given.slice(seen.length).reduce((sum, y) => v.elementwise("AddV2", [sum, y], shape), sums);
    return activation ? activation.write(v, whole) : whole;
  });
  return w.reshape(y, [batch, rows * TILE, width, output]);
}

/** Plain slices: within a compiled function they are nothing but places to read from. */
function cut(v: NodeWriter, x: Node, begin: readonly number[], shape: Shape): Node {
  if (shape.every((size, i) => size === x.shape[i])) return x;
  const attributes = { T: { type: x.type }, Index: { type: "DT_INT32" } } as const;
  return v.emit("Slice", [x, v.ints(...begin), v.ints(...shape)], shape, x.type, attributes);
}

/** The pixels 0 to 5 of all tiles along one axis, whose blocks of four lie along `axes`. */
const windows = (v: NodeWriter, x: Node, [block, within]: readonly [number, number], shape: Shape): Node[] =>
  Array.from({ length: PLACES }, (_, k) => {
    const begin = shape.map((_, i) => (i === block ? Math.floor(k / TILE) : i === within ? k % TILE : 0));
    return cut(v, x, begin, shape);
  });

const planes = (v: NodeWriter, x: Node, axis: number): Node[] =>
  Array.from({ length: x.shape[axis]! }, (_, k) => {
    const begin = x.shape.map((_, i) => (i === axis ? k : 0));
    return cut(
      v,
      x,
      begin,
      x.shape.map((size, i) => (i === axis ? 1 : size)),
    );
  });

/** A row of `matrix` for each entry along a new axis: sums of the parts, by its factors. */
function combine(
  v: NodeWriter,
  parts: readonly Node[],
  matrix: readonly (readonly number[])[],
  axis: number,
): Node {
  const along = (length: number) => (_: number, i: number) => (i === axis ? length : 1);
  const shape = parts[0]!.shape.map((size, i) => (i === axis ? matrix.length : size));
  const terms = parts.map((part, k) => {
    const factors = Float32Array.from(matrix, (row) => row[k]!);
    const spread = v.constant(factors, shape.map(along(matrix.length)));
    return v.elementwise("Mul", [part, spread], shape);
  });
  return sumOf(v, terms);
}

const sumOf = (v: NodeWriter, terms: readonly Node[]): Node =>
  terms.reduce((a, b) => v.elementwise("AddV2", [a, b], a.shape));
