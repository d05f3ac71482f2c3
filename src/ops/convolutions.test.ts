import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadNative } from "../runtime/native.js";
import { openSession } from "../runtime/session.js";
import { pseudoRandom } from "../testing/tiny.js";
import { graphOps } from "./graph.js";
import { toTensorFlow } from "./layout.js";
import { suitsWinograd } from "./winograd.js";

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Given {
  /** The picture is enlarged so many times before. */
  readonly scale?: number;
  readonly directConvolution?: boolean;
  readonly functions?: boolean;
  readonly stride?: number;
  readonly padding?: readonly [number, number, number, number];
  /** Of its results. */
  readonly slope?: number;
}

/** The convolution as the graph writes it, and by tfjs. */
function convolve(shape: [number, number, number, number], output: number, given: Given = {}) {
  const { scale = 1, directConvolution = true, functions = false, slope } = given;
  const { stride = 1, padding = [1, 1, 1, 1] } = given;
  const [batch, height, width, input] = shape;
  const stored = [output, input, 3, 3];
  const kernel = pseudoRandom(output * input * 9, 3).map((v) => v / Math.sqrt(9 * input));
  const x = pseudoRandom(batch * height * width * input, 5);
  const graph = graphOps({
    compute: "DT_FLOAT",
    fused: { layerNorm: true, swish: true, linearGelu: true, functions },
    directConvolution,
    weightValues: () => new Float32Array(0),
    weightFile(name, view) {
      const path = join(folder, `${name}-${shape}-${output}-${view.layout}`);
      const values = toTensorFlow(kernel, stored, view);
      writeFileSync(path, new Uint8Array(values.buffer));
      return { path, type: "DT_FLOAT" };
    },
  });
  const image = graph.input("x", shape, "float32");
  const [high, wide] = [height * scale, width * scale];
  const seen = scale === 1 ? image : graph.upsample(image, high, wide);
  const kernels = graph.weight("kernel", [3, 3, input, output]);
  const sum = graph.conv2d(seen, kernels, undefined, { stride, padding });
  const body = graph.body({ y: slope === undefined ? sum : graph.leakyRelu(sum, slope) });
  const { binding, tf } = native;
  const session = openSession(native, body);
  const fed = binding.createTensor(shape, binding.TF_FLOAT, x);
  const [result] = session.run([fed]) as [number];
  const got = binding.tensorDataSync(result) as Float32Array;
  const want = tf.tidy(() => {
    const hwio = toTensorFlow(kernel, stored, { layout: "kernel" });
    const image = tf.image.resizeNearestNeighbor(tf.tensor4d(x, shape), [high, wide]);
    const [top, bottom, left, right] = padding;
    const around = tf.pad(image, [
      [0, 0],
      [top, bottom],
      [left, right],
      [0, 0],
    ]);
    const sum = tf.conv2d(around, tf.tensor4d(hwio, [3, 3, input, output]), stride, "valid");
    return (slope === undefined ? sum : tf.leakyRelu(sum, slope)).dataSync();
  });
  const bodies = [body, ...(body.functions?.values() ?? [])];
  const opsOf = (some: typeof bodies) => some.flatMap(({ nodes }) => nodes.map(({ op }) => op));
  return { got, want, ops: opsOf(bodies), fusedOps: opsOf(bodies.filter(({ isFused }) => isFused)) };
}

test.each([
  [[2, 16, 16, 256], 256], // one strip
  [[1, 64, 48, 256], 320], // several, not square
] as [[number, number, number, number], number][])(
  "Winograd's form of %j to %i channels is Conv2D's result",
  (shape, output) => {
    const { got, want, ops } = convolve(shape, output);
    expect(ops).not.toContain("Conv2D");
    expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
  },
);

test.each([
  [[2, 8, 6, 16], 24, "Conv2DBackpropInput"],
  [[1, 5, 7, 32], 32, "Conv2DBackpropInput"], // odd
  [[2, 8, 6, 192], 200, "BatchMatMulV2"], // Winograd
  [[1, 35, 34, 192], 192, "BatchMatMulV2"], // odd
  [[1, 36, 35, 192], 192, "BatchMatMulV2"], // in strips
] as [[number, number, number, number], number, string][])(
  "%j enlarged twice, to %i channels by %s, is Conv2D's result of the large picture",
  (shape, output, op) => {
    const { got, want, ops } = convolve(shape, output, { scale: 2 });
    expect(ops).toContain(op);
    expect(ops).not.toContain("ResizeNearestNeighbor");
    expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
  },
);

test("a picture that is enlarged three times is enlarged, then convolved", () => {
  const { got, want, ops } = convolve([1, 4, 5, 8], 8, { scale: 3 });
  expect(ops).toContain("ResizeNearestNeighbor");
  expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
});

/** Where Conv2D is slow, it is not used. */
test.each([
  [[2, 8, 6, 16], 24, {}], // turned
  [[1, 5, 7, 3], 8, {}],
  [[1, 7, 9, 256], 256, {}], // im2col
  [[1, 64, 63, 256], 256, {}], // in strips
  [[1, 8, 8, 128], 128, {}], // Winograd
  [[2, 8, 12, 16], 24, { stride: 2 }],
  [[1, 9, 7, 16], 24, { stride: 2 }],
  [[2, 8, 12, 16], 24, { stride: 2, padding: [0, 1, 0, 1] }],
  [[1, 256, 250, 96], 16, { stride: 2, padding: [0, 1, 0, 1] }], // in strips
] as [[number, number, number, number], number, Given][])(
  "%j to %i channels, %j, without Conv2D",
  (shape, output, given) => {
    const { got, want, ops } = convolve(shape, output, { ...given, directConvolution: false });
    expect(ops).not.toContain("Conv2D");
    expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
  },
);

test("a large kernel at stride 2 is one product, also where Conv2D is fast", () => {
  const { got, want, ops } = convolve([1, 4, 4, 1024], 1024, { stride: 2 });
  expect(ops).not.toContain("Conv2D");
  expect(got).toBeCloseTo32(want, { abs: 1e-4, rel: 1e-5 });
});

/** In functions that XLA compiles. */
test.each([
  [[2, 16, 16, 128], 96, {}], // all tiles at once
  [[2, 14, 15, 100], 97, {}], // sizes that are no multiples of a tile
  [[1, 92, 92, 512], 96, {}], // in strips, the last one shorter
  [[2, 94, 96, 512], 96, {}], // in strips of each sample
] as [[number, number, number, number], number, Given][])(
  "%j to %i channels by F(4x4) is Conv2D's result",
  (shape, output, given) => {
    const { got, want, ops } = convolve(shape, output, { ...given, functions: true });
    expect(ops).not.toContain("Conv2D");
    expect(ops.filter((op) => op === "PartitionedCall").length).toBeGreaterThan(3);
    expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
  },
);

test("an activation is computed where the results are written, not in a pass of its own", () => {
  const written = (functions: boolean) => convolve([1, 16, 20, 96], 96, { functions, slope: 0.2 });
  const { got, want, ops, fusedOps } = written(true);
  for (const all of [ops, fusedOps]) expect(all.filter((op) => op === "LeakyRelu")).toHaveLength(1);
  expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
  expect(written(false).got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
});

test("only convolutions that gain by it take Winograd's form", () => {
  expect(suitsWinograd([2, 64, 64, 320], 320, true)).toBe(true);
  expect(suitsWinograd([2, 8, 8, 1280], 1280, true)).toBe(false); // too few tiles
  expect(suitsWinograd([2, 64, 64, 128], 128, true)).toBe(false); // too few channels
  expect(suitsWinograd([2, 63, 64, 320], 320, true)).toBe(false); // odd
  expect(suitsWinograd([2, 8, 8, 1280], 1280, false)).toBe(true);
});
