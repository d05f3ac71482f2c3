import { internal } from "../errors.js";
import { attend } from "./attend.js";
import { im2col } from "./im2col.js";
import * as infer from "./infer.js";
import { type FunctionBody, type Node, NodeWriter, rowsOf } from "./nodes.js";
import { normalizeGroups } from "./normalize-groups.js";
import type { Activation, Ops, Shape, Tensor } from "./ops.js";
import { matchRows, meanInto } from "./token-merging.js";
import {
  suitsUpsampledWinograd,
  suitsWinograd,
  upsampledWinogradConvolution,
  winogradConvolution,
} from "./winograd.js";

/**
 * A stored weight as it is, columns [from, to) of its last axis, a kernel in one of four other forms, or a matrix or
 * its columns transposed (weights/layout.ts).
 */
export type WeightView =
  | "whole"
  | "winograd"
  | "upsampled"
  | "upsampled-winograd"
  | "turned"
  | "rows"
  | { readonly columns: readonly [number, number]; readonly layout?: "rows" };

/** Where the bytes of a kernel, matrix or table lie: a raw little-endian file that TensorFlow maps into memory. */
export interface WeightFile {
  readonly path: string;
  readonly type: "DT_FLOAT" | "DT_HALF" | "DT_BFLOAT16";
}

/** Kernels beyond the documented ones; where this machine's TensorFlow lacks one, the plain form is written. */
export interface FusedNodes {
  readonly layerNorm: boolean;
  readonly swish: boolean;
  /** A product with its bias and GELU in one. */
  readonly linearGelu: boolean;
}

export interface GraphOptions {
  /** The file of a weight that is not given at each run, in TensorFlow's layout. */
  readonly weightFile?: (name: string, view: WeightView) => WeightFile;
  /** The values of a weight with one axis: a bias, or the scale or shift of a norm. */
  readonly weightValues: (name: string, view: WeightView) => Float32Array;
  /** The type in which a weight is given at each run, for those that are (`GraphBody.given`). */
  readonly givenType?: (name: string) => WeightFile["type"] | undefined;
  readonly fused: FusedNodes;
  /** Whether Conv2D is computed from the picture as it lies; else it is the slowest of all ways (bench/NOTES.md). */
  readonly directConvolution: boolean;
  /** Type that products and convolutions compute in. */
  readonly compute: "DT_FLOAT" | "DT_BFLOAT16";
  /** Writes no functions. */
  readonly isFlat?: boolean;
}

/**
 * The graph's side of a tensor: a node; or what is written once its use says in which form: a weight, or a picture that
 * has to be enlarged.
 */
type Origin =
  | { readonly node: Node }
  | { readonly weight: string; readonly view: WeightView }
  | { readonly enlarge: Node };
type GraphTensor = Tensor & Origin;

/** A weight that is given at each run, as an argument of the network. */
export interface GivenWeight {
  readonly name: string;
  readonly view: WeightView;
}

/** A network as a function, and the weights among its arguments, in the order of `shared`. */
export interface GraphBody extends FunctionBody {
  readonly given: readonly GivenWeight[];
}

export interface GraphOps extends Ops {
  /** A value given at each run. */
  input(name: string, shape: Shape, dtype: Tensor["dtype"]): Tensor;
  /** What has been written, with these results. */
  body(results: Readonly<Record<string, Tensor>>): GraphBody;
  /** A weight of the checkpoint; no node is written before an op uses it. */
  weight(name: string, shape: Shape): Tensor;
}

/**
 * Up to this many output pixels, and from this many weights (input times output channels) on, 3x3 convolutions are
 * faster as one matrix product (bench/NOTES.md).
 */
const im2colLimits = {
  direct: { mostPixels: 16 * 16, leastWeights: 512 * 512 },
  indirect: { mostPixels: 64 * 64, leastWeights: 256 * 256 },
};

/**
 * Products of few rows with a matrix whose rows lie a multiple of 4 KB apart: what is read of it for one block evicts
 * itself from the cache. They take the matrix transposed (bench/NOTES.md).
 */
const TRANSPOSED_MOST_ROWS = 256;
const ALIASED_COLUMNS = 1024;

const tensorOf = (node: Node): GraphTensor => ({
  shape: node.shape,
  dtype: node.type === "DT_INT32" ? "int32" : "float32",
  node,
});

/** Writes each op down as TensorFlow nodes. */
export function graphOps(options: GraphOptions): GraphOps {
  const w = new NodeWriter(options.isFlat);
  const inputs: Node[] = [];
  const given = new Map<string, GivenWeight & { readonly node: Node }>();
  const { compute } = options;

  const givenNode = (name: string, view: WeightView, shape: Shape, type: Node["type"]): Node => {
    const key = JSON.stringify([name, view]);
    const known = given.get(key) ?? { name, view, node: { name: `weight_${given.size}`, shape, type } };
    given.set(key, known);
    return known.node;
  };
  const weightNode = (x: Tensor, shape: Shape, as?: WeightView): Node => {
    const { weight, view } = x as Extract<GraphTensor, { weight: string }>;
    const givenType = options.givenType?.(weight);
    if (givenType) return w.reshape(givenNode(weight, as ?? view, as ? shape : x.shape, givenType), shape);
    if (!options.weightFile) throw internal(`the weight ${weight} is neither given nor in a file`);
    const { path, type } = options.weightFile(weight, as ?? view);
    return w.mapped(path, shape, type);
  };
  const isWeight = (x: Tensor): boolean => "weight" in x;
  /**
   * The node of any tensor but a mapped weight in float32 (or int32), seen in a shape of as many elements. Vectors
   * of the checkpoint are constants of the graph: what computes element by element may write its result into its
   * input's memory, and mapped memory cannot be written.
   */
  const node = (x: Tensor, shape: Shape = x.shape): Node => {
    if (isWeight(x)) {
      if (x.shape.length !== 1) throw internal(`a mapped weight [${x.shape}] is used element by element`);
      const { weight, view } = x as Extract<GraphTensor, { weight: string }>;
      if (options.givenType?.(weight)) return w.reshape(givenNode(weight, view, x.shape, "DT_FLOAT"), shape);
      return w.constant(options.weightValues(weight, view), shape);
    }
    if ("enlarge" in x) {
      const { enlarge } = x as Extract<GraphTensor, { enlarge: Node }>;
      const [, height, width] = x.shape as [number, number, number];
      return w.reshape(w.resize(enlarge, height, width), shape);
    }
    if (!("node" in x)) throw internal("a tensor of another interpreter came into the graph");
    return w.reshape((x as { node: Node }).node, shape);
  };
  /** The same in the type that products compute in. */
  const operand = (x: Tensor, shape: Shape = x.shape): Node => w.cast(node(x, shape), compute);
  /** A kernel or matrix in that type, for a product with `other`; computed ones occur in tests. */
  const factor = (x: Tensor, other: Node, shape: Shape = x.shape, view?: WeightView): Node =>
    isWeight(x) ? w.cast(weightNode(x, shape, view), compute, other) : operand(x, shape);

  /** A linear layer's weight for a product with these rows. */
  const matrixFor = (weight: Tensor, rows: Node): { matrix: Node; isTransposed: boolean } => {
    const [input, output] = weight.shape as [number, number];
    const isAliased = output % ALIASED_COLUMNS === 0 && rows.shape[0]! <= TRANSPOSED_MOST_ROWS;
    if (!isWeight(weight) || !isAliased || compute !== "DT_FLOAT")
      return { matrix: factor(weight, rows), isTransposed: false };
    const { view } = weight as Extract<GraphTensor, { weight: string }>;
    const rowsOfView: WeightView = typeof view === "string" ? "rows" : { ...view, layout: "rows" };
    return { matrix: factor(weight, rows, [output, input], rowsOfView), isTransposed: true };
  };

  const binary = (op: string) => (a: Tensor, b: Tensor) =>
    tensorOf(w.elementwise(op, [node(a), node(b)], infer.broadcast(a.shape, b.shape)));
  const add = (a: Node, b: Node, shape: Shape = a.shape) => w.elementwise("AddV2", [a, b], shape);
  const mul = (a: Node, b: Node, shape: Shape = a.shape) => w.elementwise("Mul", [a, b], shape);
  const unary = (op: string, x: Node) => w.elementwise(op, [x], x.shape);
  const withBias = (y: Node, bias?: Tensor): Node => {
    const sum = w.cast(y, "DT_FLOAT");
    return bias ? w.biasAdd(sum, node(bias)) : sum;
  };

  const activate = (x: Node, activation: Activation): Node => {
    const half = () => mul(x, w.scalar(0.5));
    switch (activation) {
      case "silu":
        return options.fused.swish ? unary("_MklSwish", x) : mul(x, unary("Sigmoid", x));
      case "quick_gelu":
        return mul(x, unary("Sigmoid", mul(x, w.scalar(1.702))));
      case "gelu":
        return mul(half(), add(unary("Erf", mul(x, w.scalar(Math.SQRT1_2))), w.scalar(1)));
      case "gelu_tanh": {
        const cubic = add(x, mul(mul(mul(x, x), x), w.scalar(0.044715)));
        return mul(half(), add(unary("Tanh", mul(cubic, w.scalar(Math.sqrt(2 / Math.PI)))), w.scalar(1)));
      }
      case "relu":
        return unary("Relu", x);
      case "tanh":
        return unary("Tanh", x);
      default:
        return activation satisfies never;
    }
  };

  const layerNorm = (x: Tensor, scale: Tensor, shift: Tensor, epsilon: number): Node => {
    const rows = node(x, [rowsOf(x.shape), x.shape.at(-1)!]);
    if (options.fused.layerNorm) {
      const attributes = { T: { type: "DT_FLOAT" }, epsilon: { float: epsilon } } as const;
      const y = w.emit("_MklLayerNorm", [rows, node(scale), node(shift)], rows.shape, "DT_FLOAT", attributes);
      return w.reshape(y, x.shape);
    }
    const difference = w.elementwise("Sub", [rows, w.mean(rows, 1)], rows.shape);
    const variance = w.mean(mul(difference, difference), 1);
    const normal = mul(difference, unary("Rsqrt", add(variance, w.scalar(epsilon))));
    return w.reshape(add(mul(normal, node(scale)), node(shift)), x.shape);
  };

  const conv2d: Ops["conv2d"] = (x, kernel, bias, given = {}) => {
    const shape = infer.conv2d(x.shape, kernel.shape, given);
    const [h, wd, input, output] = kernel.shape as [number, number, number, number];
    const { stride = 1 } = given;
    const pads = infer.padding(kernel.shape, given);
    if (h === 1 && wd === 1 && stride === 1) {
      const rows = operand(x, [rowsOf(x.shape), input]);
      const product = w.matmul(rows, factor(kernel, rows, [input, output]));
      return tensorOf(w.reshape(withBias(product, bias), shape));
    }
    const keepsSize = stride === 1 && h === 3 && wd === 3 && pads.every((p) => p === 1);
    // Sums and differences of weights need more digits than bfloat16 has.
    const isTransformable = keepsSize && isWeight(kernel) && compute === "DT_FLOAT";
    const small = isTransformable ? halfOf(x) : undefined;
    if (small && suitsUpsampledWinograd(small.shape, output)) {
      const kernels = factor(kernel, small, [9, input, output], "upsampled-winograd");
      return tensorOf(withBias(upsampledWinogradConvolution(w, small, kernels), bias));
    }
    if (small) {
      const large = factor(kernel, small, [4, 4, output, input], "upsampled");
      return tensorOf(withBias(w.convolveUpsampled(small, large), bias));
    }
    const isDirect = options.directConvolution;
    if (isTransformable && suitsWinograd(shape, input, isDirect)) {
      const kernels = factor(kernel, node(x), [16, input, output], "winograd");
      return tensorOf(withBias(winogradConvolution(w, node(x), kernels), bias));
    }
    const { mostPixels, leastWeights } = im2colLimits[isDirect ? "direct" : "indirect"];
    const isDeep = input * output >= leastWeights && shape[1]! * shape[2]! <= mostPixels;
    if (stride === 1 ? isDeep : stride === 2 && !isDirect) {
      const window = { size: [h, wd], stride, before: [pads[0], pads[2]] } as const;
      const image = operand(x);
      const matrix = factor(kernel, image, [h * wd * input, output]);
      return tensorOf(withBias(im2col(w, image, matrix, window, shape), bias));
    }
    // The paddings of Conv2D itself: SAME is not symmetric at stride 2, and EXPLICIT leaves the fast kernels.
    const isSame = stride === 1 && pads.every((p) => p === (h - 1) / 2) && h === wd;
    if (isSame && isWeight(kernel) && !isDirect) {
      const turned = factor(kernel, node(x), [h, wd, output, input], "turned");
      return tensorOf(withBias(w.convolveTurned(operand(x), turned), bias));
    }
    const source = isSame || pads.every((p) => p === 0) ? operand(x) : w.pad(operand(x), pads);
    // Not made when the padded picture is there: TensorFlow joins Pad and Conv2D, which would then wait for itself.
    const y = w.conv2d(source, factor(kernel, node(x)), stride, isSame ? "SAME" : "VALID", shape);
    return tensorOf(withBias(y, bias));
  };

  return {
    input(name, shape, dtype) {
      const argument: Node = { name, shape, type: dtype === "int32" ? "DT_INT32" : "DT_FLOAT" };
      inputs.push(argument);
      return tensorOf(argument);
    },
    body: (results) => ({
      arguments: inputs,
      shared: [...given.values()].map(({ node }) => node),
      given: [...given.values()].map(({ name, view }) => ({ name, view })),
      results: Object.entries(results).map(([name, x]) => [name, w.written(node(x))]),
      nodes: w.nodes,
      functions: w.functions,
    }),
    weight: (name, shape): GraphTensor => ({ shape, dtype: "float32", weight: name, view: "whole" }),

    scope(name, body) {
      const before = w.prefix;
      w.prefix = name ? `${name.replaceAll(".", "/")}/` : "";
      try {
        return body();
      } finally {
        w.prefix = before;
      }
    },
    constant: (values, shape, dtype = "float32") =>
      tensorOf(w.constant(dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values), shape)),
    add: binary("AddV2"),
    sub: binary("Sub"),
    mul: binary("Mul"),
    activate: (x, activation) => tensorOf(activate(node(x), activation)),
    linear(x, weight, bias, activation) {
      const shape = infer.linear(x.shape, weight.shape);
      const rows = operand(x, [rowsOf(x.shape), x.shape.at(-1)!]);
      const { matrix, isTransposed } = matrixFor(weight, rows);
      if (activation === "gelu" && bias && options.fused.linearGelu && compute === "DT_FLOAT")
        return tensorOf(w.reshape(w.linearGelu(rows, matrix, node(bias), isTransposed), shape));
      const y = withBias(w.matmul(rows, matrix, isTransposed), bias);
      return tensorOf(w.reshape(activation ? activate(y, activation) : y, shape));
    },
    conv2d,
    groupNorm(x, scale, shift, { groups, epsilon, activation }) {
      const [b, h, wd, c] = infer.groupNorm(x.shape, groups) as [number, number, number, number];
      const rows = node(x, [b, h * wd, c]);
      const y = normalizeGroups(w, rows, { scale: node(scale), shift: node(shift), groups, epsilon });
      return tensorOf(w.reshape(activation ? activate(y, activation) : y, x.shape));
    },
    layerNorm: (x, scale, shift, epsilon) => tensorOf(layerNorm(x, scale, shift, epsilon)),
    attention(q, k, v, { heads, causal = false }) {
      infer.attention(q.shape, k.shape, v.shape, heads);
      return tensorOf(
        attend(w, [q, k, v].map((x) => node(x)) as [Node, Node, Node], { heads, causal, compute }),
      );
    },
    upsample: (x, height, width): GraphTensor => ({
      shape: [x.shape[0]!, height, width, x.shape[3]!],
      dtype: "float32",
      enlarge: node(x),
    }),
    gather(table, ids) {
      // Only the rows that are asked for are cast up.
      const stored = isWeight(table) ? weightNode(table, table.shape) : node(table);
      return tensorOf(w.cast(w.gather(stored, node(ids)), "DT_FLOAT"));
    },
    matchRows: (sources, destinations, merged) =>
      matchRows(w, node(sources), node(destinations), merged).map(tensorOf),
    meanInto: (x, rows, target) => tensorOf(meanInto(w, node(x), node(rows), node(target))),
    reshape(x, shape) {
      infer.reshape(x.shape, shape);
      return tensorOf(node(x, shape));
    },
    concat: (xs, axis) =>
      tensorOf(
        w.concat(
          xs.map((x) => node(x)),
          axis,
          infer.concat(
            xs.map((x) => x.shape),
            axis,
          ),
        ),
      ),
    slice(x, axis, from, size) {
      const shape = infer.slice(x.shape, axis, from, size);
      const begin = shape.map((_, i) => (i === axis ? from : 0));
      return tensorOf(w.slice(node(x), begin, shape));
    },
    split(x, parts, axis) {
      const shape = infer.split(x.shape, parts, axis);
      if (isWeight(x) && axis === x.shape.length - 1) return weightColumns(x as GraphTensor, parts, shape);
      return w.split(node(x), parts, axis, shape).map(tensorOf);
    },
  };
}

/** The picture that x is to be at twice the size, if it is. */
function halfOf(x: Tensor): Node | undefined {
  if (!("enlarge" in x)) return undefined;
  const { enlarge } = x as Extract<GraphTensor, { enlarge: Node }>;
  return [1, 2].every((axis) => x.shape[axis] === 2 * enlarge.shape[axis]!) ? enlarge : undefined;
}

/** Columns of a weight are files of their own: nothing is split at run time. */
function weightColumns(x: GraphTensor, parts: number, shape: Shape): GraphTensor[] {
  if (!("weight" in x) || x.view !== "whole") throw internal("a part of a weight cannot be split again");
  const width = shape.at(-1)!;
  return Array.from({ length: parts }, (_, i) => ({
    shape,
    dtype: "float32",
    weight: x.weight,
    view: { columns: [i * width, (i + 1) * width] },
  }));
}
