import type { Attributes, Node } from "../src/ops/graph-def.js";
import type { NodeWriter } from "../src/ops/node-writer.js";
import { type Form, type Race, randomWeight } from "./race.js";

type Image = readonly [batch: number, height: number, width: number, channels: number];
const groups = 32;
const epsilon = 1e-5;

const add = (w: NodeWriter, a: Node, b: Node): Node => w.elementwise("AddV2", [a, b], a.shape);
const mul = (w: NodeWriter, a: Node, b: Node): Node => w.elementwise("Mul", [a, b], a.shape);
const silu = (w: NodeWriter, x: Node): Node => mul(w, x, w.elementwise("Sigmoid", [x], x.shape));
const filled = (w: NodeWriter, value: number, shape: readonly number[]): Node =>
  w.constant(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);
const squaredDifference = (w: NodeWriter, a: Node, b: Node): Node =>
  w.elementwise("SquaredDifference", [a, b], a.shape);

/** Joins means and variances of channels into the groups', and gives each channel a factor and an offset. */
function affine(
  w: NodeWriter,
  means: Node,
  variances: Node,
  [b, , , c]: Image,
): [factor: Node, offset: Node] {
  const shape = [b, groups, c / groups];
  const mean = w.reshape(means, shape);
  const joint = w.mean(mean, 2);
  const spread = w.mean(add(w, w.reshape(variances, shape), squaredDifference(w, mean, joint)), 2);
  const inverse = w.elementwise("Rsqrt", [add(w, spread, w.scalar(epsilon))], spread.shape);
  const scale = w.reshape(randomWeight(w, [c], "scale"), [groups, c / groups]);
  const factor = w.elementwise("Mul", [inverse, scale], shape);
  const shift = w.reshape(randomWeight(w, [c], "shift"), [groups, c / groups]);
  const offset = w.elementwise("Sub", [shift, w.elementwise("Mul", [joint, factor], shape)], shape);
  return [w.reshape(factor, [b, 1, c]), w.reshape(offset, [b, 1, c])];
}

type Average = (w: NodeWriter, rows: Node) => Node;

const rowOfOnes: Average = (w, rows) => {
  const pixels = rows.shape[1]!;
  return w.batchMatmul(filled(w, 1 / pixels, [1, 1, pixels]), rows);
};
const meanNode: Average = (w, rows) => w.mean(rows, 1);

const groupNorm = (image: Image, name: string, average: Average): Form => ({
  name,
  write(w, [x]) {
    const [b, height, width, c] = image;
    const rows = w.reshape(x!, [b, height * width, c]);
    const means = average(w, rows);
    const variances = average(w, squaredDifference(w, rows, means));
    const [factor, offset] = affine(w, means, variances, image);
    return w.reshape(silu(w, add(w, mul(w, rows, factor), offset)), image);
  },
});

function batchNorm(w: NodeWriter, x: Node, parameters: readonly Node[], training: boolean): Node {
  return w.emit("FusedBatchNormV3", [x, ...parameters], x.shape, "DT_FLOAT", {
    T: { type: "DT_FLOAT" },
    U: { type: "DT_FLOAT" },
    epsilon: { float: training ? 0 : epsilon },
    exponential_avg_factor: { float: 1 },
    data_format: { string: "NHWC" },
    is_training: { bool: training },
  });
}

/** One pass in training mode for the statistics of channels, one in inference mode with those of the groups. */
const groupNormByBatchNorm = (image: Image): Form => ({
  name: "a pair of FusedBatchNormV3 per sample",
  write(w, [x]) {
    const [b, height, width, c] = image;
    const one = (sample: Node): Node => {
      const none = w.constant(new Float32Array(0), [0]);
      const first = batchNorm(w, sample, [filled(w, 1, [c]), filled(w, 0, [c]), none, none], true);
      const output = (i: number): Node => ({ name: `${first.name}:${i}`, shape: [c], type: "DT_FLOAT" });
      const count = height * width;
      const mean = w.reshape(output(1), [groups, c / groups]);
      // The node gives the unbiased variance.
      const variance = mul(w, w.reshape(output(2), [groups, c / groups]), w.scalar((count - 1) / count));
      const joint = w.mean(mean, 1);
      const spread = w.mean(add(w, variance, squaredDifference(w, mean, joint)), 1);
      const ofChannels = (y: Node): Node =>
        w.reshape(w.elementwise("Mul", [y, filled(w, 1, [1, c / groups])], [groups, c / groups]), [c]);
      const [scale, shift] = [randomWeight(w, [c], "scale"), randomWeight(w, [c], "shift")];
      return batchNorm(w, sample, [scale, shift, ofChannels(joint), ofChannels(spread)], false);
    };
    const samples = b === 1 ? [x!] : w.split(x!, b, 0, [1, height, width, c]);
    const normal = samples.map(one);
    return silu(w, b === 1 ? normal[0]! : w.concat(normal, 0, image));
  },
});

export const groupNorms = (): Race[] =>
  (
    [
      [2, 64, 64, 320],
      [2, 32, 32, 640],
      [2, 16, 16, 1280],
      [1, 256, 256, 256],
    ] as const
  ).map((image) => ({
    title: `group norm and SiLU, ${image.join("x")}`,
    inputs: [image],
    forms: [
      groupNorm(image, "products with a row of ones", rowOfOnes),
      groupNormByBatchNorm(image),
      groupNorm(image, "Mean over rows", meanNode),
    ],
  }));

const gelu = (w: NodeWriter, x: Node): Node => {
  const erf = w.elementwise("Erf", [mul(w, x, w.scalar(Math.SQRT1_2))], x.shape);
  return mul(w, mul(w, x, w.scalar(0.5)), add(w, erf, w.scalar(1)));
};

const fusedProduct = (w: NodeWriter, x: Node, matrix: Node, bias: Node, fused: readonly string[]): Node => {
  const attributes: Attributes = {
    T: { type: "DT_FLOAT" },
    transpose_a: { bool: false },
    transpose_b: { bool: false },
    num_args: { int: 1 },
    fused_ops: { strings: fused },
    epsilon: { float: 0 },
    leakyrelu_alpha: { float: 0.2 },
  };
  return w.emit("_FusedMatMul", [x, matrix, bias], [x.shape[0]!, matrix.shape[1]!], "DT_FLOAT", attributes);
};

/** The gated half of a transformer's feed-forward: value * gelu(gate). */
function gatedLinear(
  name: string,
  k: number,
  n: number,
  gate: (w: NodeWriter, x: Node, matrix: Node, bias: Node) => Node,
): Form {
  return {
    name,
    write(w, [x]) {
      const [value, gates] = ["value", "gate"].map((part) => randomWeight(w, [k, n], part)) as [Node, Node];
      const [first, second] = ["value", "gate"].map((part) => randomWeight(w, [n], part)) as [Node, Node];
      return mul(w, w.biasAdd(w.matmul(x!, value), first), gate(w, x!, gates, second));
    },
  };
}

export const gatedLinears = (): Race[] =>
  (
    [
      [8192, 320, 1280],
      [2048, 640, 2560],
      [512, 1280, 5120],
    ] as const
  ).map(([m, k, n]) => ({
    title: `GEGLU ${m}x${k} to ${n}`,
    inputs: [[m, k]],
    flops: 4 * m * k * n,
    forms: [
      gatedLinear("MatMul, BiasAdd, erf from nodes", k, n, (w, x, matrix, bias) =>
        gelu(w, w.biasAdd(w.matmul(x, matrix), bias)),
      ),
      gatedLinear("_FusedMatMul with BiasAdd, GeluExact", k, n, (w, x, matrix, bias) =>
        fusedProduct(w, x, matrix, bias, ["BiasAdd", "GeluExact"]),
      ),
      gatedLinear("_FusedMatMul with BiasAdd, erf from nodes", k, n, (w, x, matrix, bias) =>
        gelu(w, fusedProduct(w, x, matrix, bias, ["BiasAdd"])),
      ),
      gatedLinear("no activation", k, n, (w, x, matrix, bias) => w.biasAdd(w.matmul(x, matrix), bias)),
    ],
  }));
