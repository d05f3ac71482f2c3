import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { loadNative } from "../runtime/native.js";
import { openSession } from "../runtime/session.js";
import { pseudoRandom } from "../testing/tiny.js";
import { graphOps } from "./graph.js";
import { toTensorFlow } from "./layout.js";

const native = loadNative();
const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Without AVX-512, products of few rows with matrices whose rows lie a multiple of 4 KB apart take them transposed. */
test.each([
  { rows: 77, output: 1024, gelu: false, directConvolution: false, isTransposed: true },
  { rows: 77, output: 1024, gelu: true, directConvolution: false, isTransposed: true },
  { rows: 77, output: 1024, gelu: true, directConvolution: true, isTransposed: false },
  { rows: 300, output: 1024, gelu: false, directConvolution: false, isTransposed: false },
  { rows: 77, output: 1000, gelu: false, directConvolution: false, isTransposed: false },
])(
  "$rows rows times 24x$output, with GELU: $gelu, AVX-512: $directConvolution, is tfjs's product; transposed: $isTransposed",
  ({ rows, output, gelu, directConvolution, isTransposed }) => {
    const input = 24;
    // GEGLU's weight: two matrices beside each other, of which the second is used.
    const stored = [2 * output, input];
    const weight = pseudoRandom(2 * output * input, 3);
    const bias = pseudoRandom(2 * output, 4);
    const x = pseudoRandom(rows * input, 5);
    const layouts: string[] = [];
    const graph = graphOps({
      compute: "DT_FLOAT",
      fused: { layerNorm: true, swish: true, linearGelu: true, functions: false },
      directConvolution,
      weightValues: (_, view) => bias.slice(...view.columns!),
      weightFile(_, view) {
        layouts.push(view.layout);
        const path = join(folder, `${rows}-${output}-${gelu}-${directConvolution}`);
        const values = toTensorFlow(weight, stored, view);
        writeFileSync(path, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
        return { path, type: "DT_FLOAT" };
      },
    });
    const [, second] = graph.split(graph.weight("weight", [input, 2 * output]), 2, 1);
    const [, shift] = graph.split(graph.weight("bias", [2 * output]), 2, 0);
    const given = graph.input("x", [rows, input], "float32");
    const body = graph.body({ y: graph.linear(given, second!, shift!, gelu ? "gelu" : undefined) });
    const { binding, tf } = native;
    const session = openSession(native, body);
    const fed = binding.createTensor([rows, input], binding.TF_FLOAT, x);
    const [result] = session.run([fed]) as [number];
    const got = binding.tensorDataSync(result) as Float32Array;
    const want = tf.tidy(() => {
      const matrix = tf.tensor2d(weight, stored as [number, number]).slice([output, 0]);
      const y = tf.matMul(tf.tensor2d(x, [rows, input]), matrix, false, true).add(bias.slice(output));
      return (gelu ? y.mul(0.5).mul(y.mul(Math.SQRT1_2).erf().add(1)) : y).dataSync<"float32">();
    });
    expect(got).toBeCloseTo32(want, { abs: 1e-5, rel: 1e-5 });
    expect(layouts).toEqual([isTransposed ? "rows" : "matrix"]);
  },
);
