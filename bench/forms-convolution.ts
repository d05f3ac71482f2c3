import { convolve, convolveUpsampled } from "../src/ops/direct-convolution.js";
import type { Node } from "../src/ops/graph-def.js";
import { toTensorFlow } from "../src/ops/layout.js";
import type { NodeWriter } from "../src/ops/node-writer.js";
import { elements, type Shape } from "../src/ops/ops.js";
import { upsampledWinogradConvolution } from "../src/ops/winograd.js";
import { type Form, noise, type Race, randomWeight, weight } from "./race.js";

interface Convolution {
  readonly batch: number;
  readonly side: number;
  readonly input: number;
  readonly output: number;
}

const imageOf = ({ batch, side, input }: Convolution): Shape => [batch, side, side, input];
const resultOf = ({ batch, side, output }: Convolution): Shape => [batch, side, side, output];
const kernelOf = ({ input, output }: Convolution): Shape => [3, 3, input, output];
let drawn: { readonly key: string; readonly values: Float32Array } | undefined;

/** The plain kernel; the last one is kept, because its transforms are made from it one after the other. */
function drawKernel(c: Convolution): Float32Array {
  const key = kernelKey(c);
  if (drawn?.key !== key) drawn = { key, values: noise(kernelOf(c), Math.sqrt(1 / (3 * c.input)), 7) };
  return drawn.values;
}

const kernelKey = (c: Convolution): string => `kernel ${c.input}x${c.output}`;

/** The kernel's file, seen in a shape of as many elements. */
const kernel = (w: NodeWriter, c: Convolution, shape: Shape = kernelOf(c)): Node =>
  weight(w, kernelKey(c), shape, () => drawKernel(c));

const sum = (w: NodeWriter, a: Node, b: Node): Node => w.elementwise("AddV2", [a, b], a.shape);
const ones = [1, 1, 1, 1] as const;

const direct = (c: Convolution): Form => ({
  name: "Conv2D",
  write: (w, [x]) => convolve(w, x!, kernel(w, c), { stride: 1, padding: "SAME", shape: resultOf(c) }),
});

/** Nine shifted copies side by side, one product; `rows` of the image at a time. */
const im2col = (c: Convolution, rows = c.side): Form => ({
  name: rows === c.side ? "im2col" : `im2col, ${rows} rows at a time`,
  write(w, [x]) {
    const { batch, side, input, output } = c;
    const padded = w.pad(x!, ones);
    const columns = kernel(w, c, [9 * input, output]);
    const strips: Node[] = [];
    for (let from = 0; from < side; from += rows) {
      const window = [batch, rows, side, input];
      const shifted = Array.from({ length: 9 }, (_, i) =>
        w.slice(padded, [0, from + Math.floor(i / 3), i % 3, 0], window),
      );
      const joined = w.concat(shifted, 3, [batch, rows, side, 9 * input]);
      const product = w.matmul(w.reshape(joined, [batch * rows * side, 9 * input]), columns);
      strips.push(w.reshape(product, [batch, rows, side, output]));
    }
    return strips.length === 1 ? strips[0]! : w.concat(strips, 1, resultOf(c));
  },
});

/** Three copies, shifted along the width; the rows of the kernel are three products over rows of the same copies. */
const im2row = (c: Convolution): Form => ({
  name: "three products on copies shifted along width",
  write(w, [x]) {
    const { batch, side, input, output } = c;
    const padded = w.pad(x!, ones);
    const shifted = [0, 1, 2].map((i) => w.slice(padded, [0, 0, i, 0], [batch, side + 2, side, input]));
    const wide = w.concat(shifted, 3, [batch, side + 2, side, 3 * input]);
    const products = [0, 1, 2].map((row) => {
      const rows = w.slice(wide, [0, row, 0, 0], [batch, side, side, 3 * input]);
      const part = weight(w, `${kernelKey(c)} row ${row}`, [3 * input, output], () =>
        drawKernel(c).slice(row * 3 * input * output, (row + 1) * 3 * input * output),
      );
      return w.matmul(w.reshape(rows, [batch * side * side, 3 * input]), part);
    });
    return w.reshape(sum(w, sum(w, products[0]!, products[1]!), products[2]!), resultOf(c));
  },
});

interface Winograd {
  /** Pixels of a tile's result in each direction. */
  readonly tile: number;
  readonly input: readonly (readonly number[])[];
  readonly kernel: readonly (readonly number[])[];
  readonly output: readonly (readonly number[])[];
}

/** F(2x2, 3x3) of Lavin and Gray 2015 (arXiv 1509.09308, section 4.1): B^T, G and A^T; 4/9 of the arithmetic. */
const f2: Winograd = {
  tile: 2,
  input: [
    [1, 0, -1, 0],
    [0, 1, 1, 0],
    [0, -1, 1, 0],
    [0, 1, 0, -1],
  ],
  kernel: [
    [1, 0, 0],
    [1 / 2, 1 / 2, 1 / 2],
    [1 / 2, -1 / 2, 1 / 2],
    [0, 0, 1],
  ],
  output: [
    [1, 1, 1, 0],
    [0, 1, -1, -1],
  ],
};

/** F(4x4, 3x3), section 4.2: 1/4 of the arithmetic, and larger numbers on the way. */
const f4: Winograd = {
  tile: 4,
  input: [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
  ],
  kernel: [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
  ],
  output: [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
  ],
};

/** The transform of both axes as one matrix. */
const twice = (m: readonly (readonly number[])[]): Float32Array =>
  Float32Array.from(
    m.flatMap((first) => m.flatMap((second) => first.flatMap((a) => second.map((b) => a * b)))),
  );

/** Sums of the kernel's nine matrices, in the given proportions: one matrix [input, output]. */
function mixedKernel(c: Convolution, factors: ArrayLike<number>): Float32Array {
  const [plain, size] = [drawKernel(c), c.input * c.output];
  const out = new Float32Array(size);
  for (let tap = 0; tap < 9; tap++) {
    const factor = factors[tap]!;
    if (factor !== 0) for (let i = 0; i < size; i++) out[i] = out[i]! + factor * plain[tap * size + i]!;
  }
  return out;
}

/** One of the transformed kernel's matrices [input, output]. */
const winogradPlane = (c: Convolution, f: Winograd, i: number): Float32Array =>
  mixedKernel(c, twice(f.kernel).subarray(9 * i, 9 * (i + 1)));

const joined = (parts: readonly Float32Array[]): Float32Array => {
  const out = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** Rows of tiles [from, from + count), their pixels apart: [(tile + 2)^2, tiles * input]. */
function tilePixels(
  w: NodeWriter,
  padded: Node,
  c: Convolution,
  f: Winograd,
  from: number,
  count: number,
): Node {
  const { tile } = f;
  const [across, edge] = [c.side / tile, tile + 2];
  const blocks = w.reshape(padded, [c.batch, across + 1, tile, across + 1, tile, c.input]);
  const length = c.batch * count * across * c.input;
  const pixels = Array.from({ length: edge ** 2 }, (_, i) => {
    const [row, column] = [Math.floor(i / edge), i % edge];
    const begin = [0, from + Math.floor(row / tile), row % tile, Math.floor(column / tile), column % tile, 0];
    return w.reshape(w.slice(blocks, begin, [c.batch, count, 1, across, 1, c.input]), [1, length]);
  });
  return w.concat(pixels, 0, [edge ** 2, length]);
}

/** [planes, tiles, input] times the transformed kernel: as one batch, or plane by plane. */
function planeProducts(w: NodeWriter, u: Node, c: Convolution, f: Winograd, isBatch: boolean): Node {
  const [planes, tiles] = u.shape as [number, number, number];
  const key = `${kernelKey(c)} winograd ${f.tile}`;
  const all = [planes, tiles * c.output];
  if (isBatch) {
    const kernels = weight(w, key, [planes, c.input, c.output], () =>
      joined(Array.from({ length: planes }, (_, i) => winogradPlane(c, f, i))),
    );
    return w.reshape(w.batchMatmul(u, kernels), all);
  }
  const products = Array.from({ length: planes }, (_, i) => {
    const plane = w.reshape(w.slice(u, [i, 0, 0], [1, tiles, c.input]), [tiles, c.input]);
    const matrix = weight(w, `${key} ${i}`, [c.input, c.output], () => winogradPlane(c, f, i));
    return w.reshape(w.matmul(plane, matrix), [1, tiles * c.output]);
  });
  return w.concat(products, 0, all);
}

/** Transforms as products with constant matrices; `rows` of the image at a time, so that a strip fits the cache. */
const winogradForm = (c: Convolution, f: Winograd, isBatch: boolean, rows = c.side): Form => ({
  name: `F(${f.tile}x${f.tile}), ${isBatch ? "one batch" : "plane by plane"}${rows < c.side ? `, ${rows} rows at a time` : ""}`,
  write(w, [x]) {
    const { tile } = f;
    const [edge, across, count] = [tile + 2, c.side / tile, rows / tile];
    const padded = w.pad(x!, [1, tile - 1, 1, tile - 1]);
    const strips = Array.from({ length: c.side / rows }, (_, strip) => {
      const pixels = tilePixels(w, padded, c, f, strip * count, count);
      const u = w.matmul(w.constant(twice(f.input), [edge ** 2, edge ** 2]), pixels);
      const tiles = c.batch * count * across;
      const products = planeProducts(w, w.reshape(u, [edge ** 2, tiles, c.input]), c, f, isBatch);
      const y = w.matmul(w.constant(twice(f.output), [tile ** 2, edge ** 2]), products);
      const apart = w.reshape(y, [tile, tile, c.batch, count, across, c.output]);
      return w.reshape(w.transpose(apart, [2, 3, 0, 4, 1, 5]), [c.batch, rows, c.side, c.output]);
    });
    return strips.length === 1 ? strips[0]! : w.concat(strips, 1, resultOf(c));
  },
});

const race = (c: Convolution, forms: readonly Form[]): Race => ({
  title: `convolution 3x3, ${c.batch}x${c.side}x${c.side}, ${c.input} to ${c.output}`,
  inputs: [imageOf(c)],
  flops: 2 * c.batch * c.side * c.side * elements(kernelOf(c)),
  forms,
});

const shape = (batch: number, side: number, input: number, output: number): Convolution => ({
  batch,
  side,
  input,
  output,
});

export const convolutions = (): Race[] =>
  [
    shape(2, 64, 320, 320),
    shape(2, 64, 640, 320),
    shape(2, 32, 640, 640),
    shape(2, 32, 1280, 640),
    shape(2, 16, 1280, 1280),
    shape(2, 8, 1280, 1280),
  ].map((c) => race(c, [direct(c), im2col(c), im2row(c)]));

export const winograd = (): Race[] =>
  [
    shape(2, 8, 1280, 1280),
    shape(2, 8, 2560, 1280),
    shape(2, 16, 1280, 1280),
    shape(2, 16, 2560, 1280),
    shape(2, 32, 640, 640),
    shape(2, 32, 1280, 640),
    shape(2, 64, 320, 320),
    shape(2, 64, 640, 320),
  ].map((c) =>
    race(c, [
      c.side <= 16 ? im2col(c) : direct(c),
      winogradForm(c, f2, true),
      winogradForm(c, f2, false),
      winogradForm(c, f4, true),
      ...(c.side >= 32 ? [winogradForm(c, f2, true, 8), winogradForm(c, f2, true, 16)] : []),
      ...(c.side >= 32 ? [winogradForm(c, f4, true, 16)] : []),
    ]),
  );

export const decoderConvolutions = (): Race[] =>
  [
    shape(1, 64, 512, 512),
    shape(1, 128, 512, 512),
    shape(1, 256, 512, 256),
    shape(1, 256, 256, 256),
    shape(1, 512, 128, 128),
  ].map((c) =>
    race(c, [
      direct(c),
      im2col(c, 1),
      im2col(c, 4),
      im2row(c),
      ...[4, 8, 16].map((rows) => winogradForm(c, f2, true, rows)),
      ...[8, 16].map((rows) => winogradForm(c, f4, true, rows)),
    ]),
  );

/** Nearest neighbour to twice the size. */
const upsampled = (c: Convolution): Form => ({
  name: "ResizeNearestNeighbor",
  write: (w, [x]) => w.resize(x!, 2 * c.side, 2 * c.side),
});

const upsampleBroadcast = (c: Convolution): Form => ({
  name: "product with ones of [1, 1, 2, 1, 2, 1]",
  write(w, [x]) {
    const { batch, side, input } = c;
    const apart = w.reshape(x!, [batch, side, 1, side, 1, input]);
    const spread = w.constant(new Float32Array(4).fill(1), [1, 1, 2, 1, 2, 1]);
    const y = w.elementwise("Mul", [apart, spread], [batch, side, 2, side, 2, input]);
    return w.reshape(y, [batch, 2 * side, 2 * side, input]);
  },
});

const upsampleConcat = (c: Convolution): Form => ({
  name: "two ConcatV2",
  write(w, [x]) {
    const { batch, side, input } = c;
    const row = 2 * side * input;
    const wide = w.reshape(w.concat([x!, x!], 3, [batch, side, side, 2 * input]), [batch, side, row]);
    const tall = w.concat([wide, wide], 2, [batch, side, 2 * row]);
    return w.reshape(tall, [batch, 2 * side, 2 * side, input]);
  },
});

export const upsampling = (): Race[] =>
  [shape(2, 32, 640, 640), shape(2, 16, 1280, 1280), shape(1, 128, 512, 512), shape(1, 256, 256, 256)].map(
    (c) => ({
      title: `nearest neighbour, ${imageOf(c).join("x")} to twice the size`,
      inputs: [imageOf(c)],
      forms: [upsampled(c), upsampleBroadcast(c), upsampleConcat(c)],
    }),
  );

/**
 * A 3x3 convolution of a picture in which every pixel stands four times is four 2x2 convolutions of the picture
 * itself, whose kernels are sums of the 3x3 one's: 4/9 of the arithmetic. `phase` is 2 * (odd row) + (odd column).
 */
function phaseKernel(w: NodeWriter, c: Convolution, phase: number, shape: Shape): Node {
  // Which of the two small taps a tap of the 3x3 kernel falls on, in one direction.
  const place = (odd: number, tap: number): number => (odd ? Number(tap === 2) : Number(tap > 0));
  const taps = [0, 1, 2, 3].map((to) => {
    const lands = (tap: number) =>
      place(phase >> 1, Math.floor(tap / 3)) * 2 + place(phase & 1, tap % 3) === to;
    return mixedKernel(
      c,
      Array.from({ length: 9 }, (_, tap) => Number(lands(tap))),
    );
  });
  return weight(w, `${kernelKey(c)} phase ${phase}`, shape, () => joined(taps));
}

const joinPhases = (w: NodeWriter, phases: readonly Node[], { batch, side, output }: Convolution): Node => {
  const row = 2 * side * output;
  const rows = [phases.slice(0, 2), phases.slice(2)].map((pair) =>
    w.reshape(w.concat(pair, 3, [batch, side, side, 2 * output]), [batch, side, row]),
  );
  return w.reshape(w.concat(rows, 2, [batch, side, 2 * row]), [batch, 2 * side, 2 * side, output]);
};

const resizeThenConvolve = (c: Convolution): Form => ({
  name: "ResizeNearestNeighbor, Conv2D 3x3",
  write: (w, [x]) => {
    const large = { ...c, side: 2 * c.side };
    return convolve(w, w.resize(x!, large.side, large.side), kernel(w, c), {
      stride: 1,
      padding: "SAME",
      shape: resultOf(large),
    });
  },
});

const phasesByConvolution = (c: Convolution): Form => ({
  name: "four Conv2D 2x2, interleaved",
  write(w, [x]) {
    const padded = w.pad(x!, ones);
    const window = [c.batch, c.side + 1, c.side + 1, c.input];
    const phases = [0, 1, 2, 3].map((phase) => {
      const part = w.slice(padded, [0, phase >> 1, phase & 1, 0], window);
      return convolve(w, part, phaseKernel(w, c, phase, [2, 2, c.input, c.output]), {
        stride: 1,
        padding: "VALID",
        shape: resultOf(c),
      });
    });
    return joinPhases(w, phases, c);
  },
});

const phasesByProduct = (c: Convolution): Form => ({
  name: "four im2col products 2x2, interleaved",
  write(w, [x]) {
    const { batch, side, input, output } = c;
    const padded = w.pad(x!, ones);
    const shifted = Array.from({ length: 9 }, (_, i) =>
      w.slice(padded, [0, Math.floor(i / 3), i % 3, 0], imageOf(c)),
    );
    const phases = [0, 1, 2, 3].map((phase) => {
      const taps = [0, 1, 3, 4].map((tap) => shifted[tap + (phase >> 1) * 3 + (phase & 1)]!);
      const columns = w.concat(taps, 3, [batch, side, side, 4 * input]);
      const part = phaseKernel(w, c, phase, [4 * input, output]);
      return w.reshape(w.matmul(w.reshape(columns, [batch * side * side, 4 * input]), part), resultOf(c));
    });
    return joinPhases(w, phases, c);
  },
});

/** As the library writes those of many channels. */
const upsampledWinograd = (c: Convolution): Form => ({
  name: "Winograd with 9 places",
  write(w, [x]) {
    const layout = { layout: "upsampled-winograd" } as const;
    const kernels = weight(w, `${kernelKey(c)} upsampled-winograd`, [9, c.input, c.output], () =>
      toTensorFlow(torchKernel(c), [c.output, c.input, 3, 3], layout),
    );
    return upsampledWinogradConvolution(w, x!, kernels);
  },
});

/** The plain kernel as PyTorch has it. */
function torchKernel(c: Convolution): Float32Array {
  const [from, to] = [drawKernel(c), new Float32Array(9 * c.input * c.output)];
  for (let tap = 0; tap < 9; tap++)
    for (let i = 0; i < c.input; i++)
      for (let o = 0; o < c.output; o++)
        to[(o * c.input + i) * 9 + tap] = from[(tap * c.input + i) * c.output + o]!;
  return to;
}

/** As it writes the others. */
const transposedConvolution = (c: Convolution): Form => ({
  name: "transposed convolution 4x4",
  write: (w, [x]) => convolveUpsampled(w, x!, upsampledKernel(w, c)),
});

/** What a pixel adds to the 4x4 results around it: taps 2 - result and 3 - result along each axis. */
function upsampledKernel(w: NodeWriter, c: Convolution): Node {
  const lands = (result: number, tap: number) => tap === 2 - result || tap === 3 - result;
  const places = Array.from({ length: 16 }, (_, place) =>
    transposedPlane(
      mixedKernel(
        c,
        Array.from({ length: 9 }, (_, tap) =>
          Number(lands(place >> 2, Math.floor(tap / 3)) && lands(place & 3, tap % 3)),
        ),
      ),
      c,
    ),
  );
  return weight(w, `${kernelKey(c)} upsampled`, [4, 4, c.output, c.input], () => joined(places));
}

/** [I, O] to [O, I]. */
function transposedPlane(values: Float32Array, { input, output }: Convolution): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < input; i++)
    for (let o = 0; o < output; o++) out[o * input + i] = values[i * output + o]!;
  return out;
}

const winogradAfterResize = (c: Convolution): Form => {
  const large = { ...c, side: 2 * c.side };
  const { write } = winogradForm(large, f2, true, Math.max(1, Math.floor(1024 / large.side)));
  return {
    name: "ResizeNearestNeighbor, Winograd F(2x2)",
    write: (w, [x]) => write(w, [w.resize(x!, large.side, large.side)]),
  };
};

export const upsamplingConvolutions = (): Race[] =>
  [
    shape(2, 8, 1280, 1280),
    shape(2, 16, 1280, 1280),
    shape(2, 32, 640, 640),
    shape(1, 64, 512, 512),
    shape(1, 128, 512, 512),
    shape(1, 256, 256, 256),
    shape(2, 4, 1280, 1280),
    shape(1, 16, 128, 128),
    shape(1, 32, 256, 256),
    shape(2, 16, 192, 192),
    shape(1, 128, 64, 64),
    shape(1, 64, 128, 128),
  ].map((c) => ({
    title: `twice the size and convolution 3x3, ${imageOf(c).join("x")}, to ${c.output}`,
    inputs: [imageOf(c)],
    flops: 8 * c.batch * c.side * c.side * elements(kernelOf(c)),
    forms: [
      resizeThenConvolve(c),
      winogradAfterResize(c),
      phasesByConvolution(c),
      phasesByProduct(c),
      transposedConvolution(c),
      upsampledWinograd(c),
    ],
  }));

/** [M, K] times [K, N] as the library writes a 1x1 convolution or linear layer, and as TensorFlow's convolution. */
export const products = (): Race[] =>
  (
    [
      [8192, 320, 320],
      [2048, 640, 2560],
      [512, 1280, 1280],
      [512, 1280, 5120],
      [512, 5120, 1280],
      [154, 768, 320],
      [128, 1280, 5120],
      [128, 1280, 1280],
      [77, 768, 3072],
      [77, 3072, 768],
      [77, 768, 768],
    ] as const
  ).map(([m, k, n]) => ({
    title: `product ${m}x${k}x${n}`,
    inputs: [[m, k]],
    flops: 2 * m * k * n,
    forms: [
      { name: "MatMul", write: (w, [x]) => w.matmul(x!, randomWeight(w, [k, n])) },
      {
        name: "MatMul, transposed weight",
        write: (w, [x]) =>
          w.matmul(
            x!,
            weight(w, `transposed ${k}x${n}`, [n, k], () => transposed(k, n)),
            true,
          ),
      },
      {
        name: "Conv2D 1x1",
        write(w, [x]) {
          const image = w.reshape(x!, [1, m, 1, k]);
          return w.reshape(
            convolve(w, image, randomWeight(w, [1, 1, k, n], "of"), {
              stride: 1,
              padding: "SAME",
              shape: [1, m, 1, n],
            }),
            [m, n],
          );
        },
      },
    ],
  }));

function transposed(k: number, n: number): Float32Array {
  const plain = noise([k, n], Math.sqrt(3 / k));
  const out = new Float32Array(k * n);
  for (let i = 0; i < k; i++) for (let j = 0; j < n; j++) out[j * k + i] = plain[i * n + j]!;
  return out;
}
