import { afterEach, expect, test } from "vitest";
import { loadNative } from "../runtime/native.js";
import { openSession } from "../runtime/session.js";
import { pseudoRandom } from "../testing/tiny.js";
import { activate } from "./activate.js";
import type { Node } from "./graph-def.js";
import { toTensorFlow, viewShape, type WeightView } from "./layout.js";
import { NodeWriter } from "./node-writer.js";
import type { Shape } from "./ops.js";
import { winogradConvolution } from "./winograd.js";
import { filter4, filterOf } from "./winograd-filters.js";
import { fusedWinograd, suitsFusedWinograd } from "./winograd-fused.js";

const native = loadNative();
// Whoever watches the tests hears of them between two.
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)));
type Given = Readonly<Record<string, { readonly shape: Shape; readonly data: Float32Array }>>;

/** What is written with the inputs, by their names. */
function compute(given: Given, write: (w: NodeWriter, nodes: Record<string, Node>) => Node): Float32Array {
  const { binding } = native;
  const w = new NodeWriter();
  const inputs = Object.entries(given).map(([name, { shape }]): Node => ({ name, shape, type: "DT_FLOAT" }));
  const y = w.written(write(w, Object.fromEntries(inputs.map((node) => [node.name, node]))));
  const { nodes, functions } = w;
  const session = openSession(native, { arguments: inputs, nodes, functions, results: [["y", y]] });
  const ids = Object.values(given).map(({ shape, data }) =>
    binding.createTensor(shape, binding.TF_FLOAT, data),
  );
  const [result] = session.run(ids) as [number];
  const values = Float32Array.from(binding.tensorDataSync(result) as Float32Array);
  for (const id of [...ids, result]) binding.deleteTensor(id);
  session.close();
  return values;
}

const drawn = (shape: Shape, seed: number, scale = 1) => ({
  shape,
  data: pseudoRandom(
    shape.reduce((a, b) => a * b, 1),
    seed,
  ).map((v) => scale * v),
});

/** A kernel [out, in, 3, 3] in a layout. */
function kernelIn(layout: WeightView["layout"], input: number, output: number) {
  const stored = [output, input, 3, 3];
  const { data } = drawn(stored, 3, 1 / Math.sqrt(9 * input));
  return { shape: viewShape(stored, { layout }), data: toTensorFlow(data, stored, { layout }) };
}

interface Error {
  /** Relative to the largest result. */
  readonly largest: number;
  /** Root mean squares of errors and results. */
  readonly usual: number;
}

const [PLACES, TILE] = [48, 4];

/** Some of the results of a convolution: their row, column and sample. */
function* somePlaces([batch, height, width]: Shape) {
  for (let at = 0; at < PLACES; at++) {
    const place = (at * 7919) % (batch! * height! * width!);
    yield { place, row: Math.floor(place / width!) % height!, column: place % width! };
  }
}

/** The first value of a pixel of the sample that `place` lies in; undefined beyond the picture. */
function pixelAt([, height, width, input]: Shape, place: number, y: number, x: number): number | undefined {
  if (y < 0 || y >= height! || x < 0 || x >= width!) return undefined;
  const sample = Math.floor(place / (height! * width!));
  return ((sample * height! + y) * width! + x) * input!;
}

/** Of some results, [PLACES, O], against sums in float64. @param kernel [3, 3, I, O] */
function errorOf(got: Float32Array, x: Given[string], kernel: Float32Array, output: number): Error {
  const input = x.shape[3]!;
  const [errors, sums]: [number[], number[]] = [[], []];
  let at = 0;
  for (const { place, row, column } of somePlaces(x.shape))
    for (let o = 0; o < output; o++) {
      let sum = 0;
      for (let tap = 0; tap < 9; tap++) {
        const from = pixelAt(x.shape, place, row + Math.floor(tap / 3) - 1, column + (tap % 3) - 1);
        if (from === undefined) continue;
        for (let i = 0; i < input; i++) sum += x.data[from + i]! * kernel[(tap * input + i) * output + o]!;
      }
      sums.push(sum);
      errors.push(sum - got[at++]!);
    }
  const largest = (values: number[]) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const mean = (values: number[]) => Math.hypot(...values);
  return { largest: largest(errors) / largest(sums), usual: mean(errors) / mean(sums) };
}

/** The results at these places. @param y [B, H, W, O] */
const at = (y: Float32Array, shape: Shape, output: number): Float32Array =>
  Float32Array.from(
    [...somePlaces(shape)].flatMap(({ place }) => [...y.subarray(place * output, (place + 1) * output)]),
  );

/**
 * F(2x2, 3x3) in float32 whose sums over the channels are taken one after the other, each rounded once: as oneDNN has
 * them with AVX-512. Its products for AVX2 sum in parts and lose less, so that what is measured alone would be another
 * yardstick on each CPU. [PLACES, O]
 */
function twoByTwo(x: Given[string], kernel: Float32Array, output: number): Float32Array {
  const input = x.shape[3]!;
  const { fround } = Math;
  const filter = filterOf([0, 1, -1]);
  const transformed = Array.from({ length: TILE ** 2 }, (_, uv) => {
    const [u, v] = [filter.taps[Math.floor(uv / TILE)]!, filter.taps[uv % TILE]!];
    return Float32Array.from({ length: input * output }, (_, io) => {
      let sum = 0;
      for (let tap = 0; tap < 9; tap++)
        sum += u[Math.floor(tap / 3)]! * v[tap % 3]! * kernel[tap * input * output + io]!;
      return sum;
    });
  });
  /** Of four values, by the factors that are not zero. */
  const combined = (factors: readonly number[], values: readonly number[]) =>
    factors.reduce((sum, factor, i) => (factor === 0 ? sum : fround(sum + factor * values[i]!)), 0);
  const columnOf = (rows: readonly (readonly number[])[], k: number) => rows.map((row) => row[k]!);
  /** `matrix` times `square` times the transpose of `matrix`. */
  const both = (matrix: readonly (readonly number[])[], square: readonly (readonly number[])[]) => {
    const first = matrix.map((row) => square.map((_, k) => combined(row, columnOf(square, k))));
    return first.map((line) => matrix.map((row) => combined(row, line)));
  };
  return Float32Array.from(
    [...somePlaces(x.shape)].flatMap(({ place, row, column }) => {
      const [top, left] = [row - (row % 2) - 1, column - (column % 2) - 1];
      const pixels = Array.from({ length: input }, (_, i) =>
        both(
          filter.pixels,
          Array.from({ length: TILE }, (_, y) =>
            Array.from({ length: TILE }, (_, k) => {
              const from = pixelAt(x.shape, place, top + y, left + k);
              return from === undefined ? 0 : x.data[from + i]!;
            }),
          ),
        ),
      );
      return Array.from({ length: output }, (_, o) => {
        const products = Array.from({ length: TILE }, (_, u) =>
          Array.from({ length: TILE }, (_, v) => {
            const kernels = transformed[u * TILE + v]!;
            let sum = 0;
            for (let i = 0; i < input; i++) sum = fround(sum + pixels[i]![u]![v]! * kernels[i * output + o]!);
            return sum;
          }),
        );
        return both(filter.results, products)[row % 2]![column % 2]!;
      });
    }),
  );
}

/** Layers of Stable Diffusion 1.5's UNet and VAE. */
test.each([
  [[2, 32, 32, 320], 320],
  [[2, 16, 16, 1280], 320],
  [[1, 32, 32, 512], 256],
] as [[number, number, number, number], number][])(
  "the error of F(4x4) on %j to %i channels, against float64, is below twice that of F(2x2)",
  (shape, output) => {
    const x = drawn(shape, 5);
    const plain = kernelIn("kernel", shape[3], output).data;
    const four = { x, kernels: kernelIn("winograd4", shape[3], output) };
    const y = compute(four, (w, n) => fusedWinograd(w, n.x!, n.kernels!));
    const ofFour = errorOf(at(y, shape, output), x, plain, output);
    const two = { x, kernels: kernelIn("winograd", shape[3], output) };
    const measured = compute(two, (w, n) => winogradConvolution(w, n.x!, n.kernels!));
    const ofTwo = [twoByTwo(x, plain, output), at(measured, shape, output)].map((results) =>
      errorOf(results, x, plain, output),
    );
    for (const { usual } of ofTwo) expect(usual).toBeGreaterThan(0);
    expect(ofFour.usual).toBeLessThan(2 * Math.max(...ofTwo.map(({ usual }) => usual)));
    expect(ofFour.largest).toBeLessThan(2.5 * Math.max(...ofTwo.map(({ largest }) => largest)));
  },
);

/** Bias, time embedding and residual are added, and activations computed, in the pass that writes the results. */
test.each([
  ["all tiles at once", [2, 16, 12, 96]],
  ["in strips of each sample", [2, 224, 224, 96]],
  ["a width that is no multiple of a tile", [1, 32, 30, 96]],
])("the last pass, %s", (_, shape) => {
  const [batch, , , channels] = shape as [number, number, number, number];
  const given = {
    x: drawn(shape, 5),
    kernels: kernelIn("winograd4", channels, channels),
    bias: drawn([channels], 7),
    time: drawn([batch, 1, 1, channels], 8),
    residual: drawn(shape, 9),
  };
  const activation = { name: "relu", write: (w: NodeWriter, y: Node) => activate(w, y, "relu", false) };
  const got = compute(given, (w, { x, kernels, bias, time, residual }) =>
    fusedWinograd(w, x!, kernels!, { bias: bias!, others: [time!, residual!], activation }),
  );
  const want = compute(given, (w, { x, kernels, bias, time, residual }) => {
    const sum = w.biasAdd(fusedWinograd(w, x!, kernels!), bias!);
    const whole = [time!, residual!].reduce((a, b) => w.elementwise("AddV2", [a, b], shape), sum);
    return activation.write(w, whole);
  });
  expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
});

test.each([16, 224])("kernels in half precision are cast up, at once or part by part: side %i", (side) => {
  const given = { x: drawn([2, side, side, 96], 5), kernels: kernelIn("winograd4", 96, 96) };
  const half = (write: (w: NodeWriter, x: Node, kernels: Node) => Node) =>
    compute(given, (w, { x, kernels }) => write(w, x!, w.cast(kernels!, "DT_HALF")));
  const got = half((w, x, kernels) => fusedWinograd(w, x, kernels));
  const want = half((w, x, kernels) => fusedWinograd(w, x, w.cast(kernels, "DT_FLOAT")));
  expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
});

test("a filter's places give the sums of pixels times taps", () => {
  for (const { pixels, taps, results } of [filter4, filterOf([0, 1, -1])]) {
    const [x, k] = [pixels.map((_, i) => i ** 2 - 3), [2, -5, 7]];
    const places = taps.map((row, p) => {
      const of = (values: readonly number[], factors: readonly number[]) =>
        factors.reduce((sum, f, i) => sum + f * values[i]!, 0);
      return of(k, row) * of(x, pixels[p]!);
    });
    results.forEach((row, i) => {
      const got = row.reduce((sum, f, p) => sum + f * places[p]!, 0);
      expect(got).toBeCloseTo(k[0]! * x[i]! + k[1]! * x[i + 1]! + k[2]! * x[i + 2]!, 9);
    });
  }
});

test("only convolutions that gain by it are written so", () => {
  expect(suitsFusedWinograd([2, 64, 64, 320], 320, true)).toBe(true);
  expect(suitsFusedWinograd([2, 8, 8, 1280], 1280, true)).toBe(false); // too few tiles
  expect(suitsFusedWinograd([2, 64, 64, 64], 64, true)).toBe(false); // too few channels
  expect(suitsFusedWinograd([2, 64, 64, 64], 64, false)).toBe(true); // Conv2D is slow
  expect(suitsFusedWinograd([2, 9, 9, 1280], 1280, true)).toBe(false); // half of it beyond the edge
});
