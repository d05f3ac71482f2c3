import { expect, test } from "vitest";
import { loadNative } from "../runtime/native.js";
import { openSession } from "../runtime/session.js";
import { pseudoRandom } from "../testing/tiny.js";
import { attend } from "./attend.js";
import { eagerOps } from "./eager.js";
import type { FunctionBody, Node } from "./graph-def.js";
import { im2col } from "./im2col.js";
import { NodeWriter } from "./node-writer.js";
import { elements, type Shape } from "./ops.js";
import { winogradConvolution } from "./winograd.js";

const native = loadNative();
const argument = (name: string, shape: Shape, type: Node["type"] = "DT_FLOAT"): Node => ({
  name,
  shape,
  type,
});

function compute(body: FunctionBody, given: readonly Float32Array[]): Float32Array {
  const { binding } = native;
  const session = openSession(native, body);
  const ids = body.arguments.map(({ shape }, i) => binding.createTensor(shape, binding.TF_FLOAT, given[i]!));
  const [result] = session.run(ids) as [number];
  const values = Float32Array.from(binding.tensorDataSync(result));
  for (const id of [...ids, result]) binding.deleteTensor(id);
  session.close();
  return values;
}

const bodyOf = (w: NodeWriter, given: readonly Node[], result: Node): FunctionBody => ({
  arguments: given,
  results: [["y", w.written(result)]],
  nodes: w.nodes,
  functions: w.functions,
});

test("what is called with the same shapes is one function", () => {
  const w = new NodeWriter();
  const twice = (v: NodeWriter, [x]: readonly Node[]) => v.elementwise("AddV2", [x!, x!], x!.shape);
  const [a, b] = [argument("a", [2, 3]), argument("b", [3, 2])];
  const results = [w.call("twice", [a], twice), w.call("twice", [b], twice)];
  results.push(w.call("twice", [results[0]!], twice));
  expect(w.functions.size).toBe(2);
  expect(w.nodes.map(({ op }) => op)).toEqual(Array(3).fill("PartitionedCall"));
  const got = compute(bodyOf(w, [a, b], results[2]!), [
    Float32Array.of(1, 2, 3, 4, 5, 6),
    new Float32Array(6),
  ]);
  expect([...got]).toEqual([4, 8, 12, 16, 20, 24]);
});

test.each([
  ["heads of their own functions", false],
  ["all in one function", true],
])("attention in several blocks: %s", (_, isFlat) => {
  // Scores of 3000 queries and keys take more than one block.
  const [length, heads, width] = [3000, 2, 16];
  const w = new NodeWriter(isFlat);
  const shape = [2, length, width];
  const given = ["q", "k", "v"].map((name) => argument(name, shape)) as [Node, Node, Node];
  const y = attend(w, given, { heads, causal: false, compute: "DT_FLOAT" });
  expect(w.functions.size).toBe(isFlat ? 0 : 1);
  const values = given.map((_x, i) => pseudoRandom(2 * length * width, i + 1).map((v) => 3 * v));
  const got = compute(bodyOf(w, given, y), values);
  const { tf } = native;
  const want = tf.tidy(() => {
    const ops = eagerOps(tf);
    const [q, k, v] = values.map((data) => tf.tensor(data, shape)) as unknown as Parameters<
      typeof ops.attention
    >;
    return (ops.attention(q, k, v, { heads }) as unknown as { dataSync(): Float32Array }).dataSync();
  });
  expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
});

const strips = {
  winograd: (w: NodeWriter, x: Node) =>
    winogradConvolution(w, x, w.cast(argument("kernels", [16, 128, 128], "DT_HALF"), "DT_FLOAT", x)),
  im2col(w: NodeWriter, x: Node) {
    const [batch, height, width] = x.shape as [number, number, number];
    const kernel = w.cast(argument("kernel", [9 * 128, 128], "DT_HALF"), "DT_FLOAT", x);
    const window = { size: [3, 3], stride: 1, before: [1, 1] } as const;
    return im2col(w, x, kernel, window, [batch, height, width, 128]);
  },
};

test.each(Object.entries(strips))(
  "strips of %s wait for the kernel, and each for the one before",
  (_, write) => {
    const w = new NodeWriter();
    const before = w.elementwise("Relu", [argument("x", [1, 128, 128, 128])], [1, 128, 128, 128]);
    write(w, before);
    const waited = (inputs: readonly string[]) => inputs.filter((input) => input.startsWith("^"));
    const calls = w.nodes.filter(({ op }) => op === "PartitionedCall");
    expect(calls.length).toBeGreaterThan(3);
    const kernel = w.nodes.find(({ op }) => op === "Cast")!;
    expect(waited(kernel.inputs)).toEqual([`^${before.name}`]);
    const order = w.nodes
      .filter(({ op }) => op === "Slice" || op === "Pad")
      .flatMap(({ inputs }) => waited(inputs));
    expect(order).toEqual([kernel, ...calls.slice(0, -1)].map(({ name }) => `^${name}`));
  },
);

test.each([
  [
    [3, 4, 5, 6],
    [1, 2, 0, 0],
    [1, 1, 5, 6],
    [12, 30],
  ],
  [
    [1, 4, 5, 6],
    [0, 1, 0, 0],
    [1, 3, 5, 6],
    [4, 30],
  ],
  [
    [3, 4, 5, 6],
    [2, 0, 0, 0],
    [1, 4, 5, 6],
    [3, 4, 5, 6],
  ], // of the first axis as it is
  [
    [3, 4, 5, 6],
    [0, 1, 0, 0],
    [3, 2, 5, 6],
    [3, 4, 5, 6],
  ], // not together in memory
])("of [%j], what is at %j of [%j] is cut from it as [%j]", (whole, begin, shape, seen) => {
  const x = argument("x", whole);
  const w = new NodeWriter();
  const y = w.elementwise("AddV2", [w.slice(x, begin, shape), w.scalar(0)], shape);
  expect(y.shape).toEqual(shape);
  const slice = w.nodes.find(({ op }) => op === "Slice")!;
  expect(slice.inputs[0]).toBe(seen.length === whole.length ? "x" : `x_as_${seen.join("x")}`);
  const values = pseudoRandom(elements(whole), 1);
  const want = native.tf.tidy(() =>
    native.tf.slice(native.tf.tensor(values, whole), [...begin], [...shape]).dataSync<"float32">(),
  );
  expect(compute(bodyOf(w, [x], y), [values])).toEqual(want);
});
