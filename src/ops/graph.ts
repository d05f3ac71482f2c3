import { activate, leakyRelu, prelu } from "./activate.js";
import { attend } from "./attend.js";
import { type ConvolutionTraits, convolution } from "./convolution.js";
import type { FunctionBody, Node } from "./graph-def.js";
import {
  type ElementwisePass,
  type GivenWeight,
  type GraphTensor,
  type GraphTensors,
  graphTensors,
  isWeight,
  tensorOf,
  type WeightStore,
  weightColumns,
} from "./graph-tensors.js";
import * as infer from "./infer.js";
import { NodeWriter, rowsOf } from "./node-writer.js";
import { normalizeGroups, normalizeRows } from "./normalize.js";
import type { Activation, Ops, Shape, Tensor } from "./ops.js";
import { matchRows, meanInto } from "./token-merging.js";

/** Kernels beyond the documented ones; where this machine's TensorFlow lacks one, the plain form is written. */
export interface FusedNodes {
  readonly layerNorm: boolean;
  readonly swish: boolean;
  /** A product with its bias and GELU in one. */
  readonly linearGelu: boolean;
  /** Functions that XLA compiles. */
  readonly functions: boolean;
}

export interface GraphOptions extends WeightStore, Omit<ConvolutionTraits, "fusesFunctions"> {
  readonly fused: FusedNodes;
  readonly compute: "DT_FLOAT" | "DT_BFLOAT16";
  /** Writes no functions. */
  readonly isFlat?: boolean;
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

/** Writes each op down as TensorFlow nodes. */
export function graphOps(asked: GraphOptions): GraphOps {
  const { isFlat, fused } = asked;
  const options = { ...asked, fused: { ...fused, functions: fused.functions && !isFlat } };
  const w = new NodeWriter(isFlat);
  const tensors = graphTensors(w, options, options.compute);
  const inputs: Node[] = [];
  const writing: Writing = { w, tensors, options };
  return {
    input(name, shape, dtype) {
      const argument: Node = { name, shape, type: dtype === "int32" ? "DT_INT32" : "DT_FLOAT" };
      inputs.push(argument);
      return tensorOf(argument);
    },
    body: (results) => ({
      arguments: inputs,
      shared: [...tensors.given.values()].map(({ node }) => node),
      given: [...tensors.given.values()].map(({ name, view }) => ({ name, view })),
      results: Object.entries(results).map(([name, x]) => [name, w.written(tensors.node(x))]),
      nodes: w.nodes,
      functions: w.functions,
    }),
    weight: (name, shape): GraphTensor => ({ shape, dtype: "float32", weight: name }),
    scope(name, body) {
      const before = w.prefix;
      w.prefix = name ? `${name.replaceAll(".", "/")}/` : "";
      try {
        return body();
      } finally {
        w.prefix = before;
      }
    },
    ...arithmetic(writing),
    ...products(writing),
    ...shapes(writing),
  };
}

/** Where ops are written down, and how. */
interface Writing {
  readonly w: NodeWriter;
  readonly tensors: GraphTensors;
  readonly options: GraphOptions;
}

/** What is computed element by element, and norms. */
function arithmetic({ w, tensors: { node, addedTo, activated, valuesOf }, options }: Writing) {
  const { fused } = options;
  const binary = (op: string) => (a: Tensor, b: Tensor) =>
    tensorOf(w.elementwise(op, [node(a), node(b)], infer.broadcast(a.shape, b.shape)));
  return {
    constant: (values, shape, dtype = "float32") =>
      tensorOf(w.constant(dtype === "int32" ? Int32Array.from(values) : Float32Array.from(values), shape)),
    add: (a, b) => addedTo(a, b) ?? addedTo(b, a) ?? binary("AddV2")(a, b),
    sub: binary("Sub"),
    mul: binary("Mul"),
    // XLA has no swish of its own.
    activate: (x, activation) =>
      activated(x, { name: activation, write: (v, y) => activate(v, y, activation, false) }) ??
      tensorOf(activate(w, node(x), activation, fused.swish)),
    leakyRelu(x, slope) {
      if (typeof slope !== "number") return tensorOf(prelu(w, node(x), node(slope), valuesOf(slope)));
      const name = `leaky_relu_${String(slope).replaceAll(/\W/g, "_")}`;
      const pass: ElementwisePass = { name, write: (v, y) => leakyRelu(v, y, slope) };
      return activated(x, pass) ?? tensorOf(pass.write(w, node(x)));
    },
    groupNorm(x, scale, shift, { groups, epsilon, activation }) {
      const [b, h, wd, c] = infer.groupNorm(x.shape, groups) as [number, number, number, number];
      const rows = node(x, [b, h * wd, c]);
      const norm = { scale: node(scale), shift: node(shift), groups, epsilon, activation };
      return tensorOf(w.reshape(normalizeGroups(w, rows, norm, fused), x.shape));
    },
    layerNorm(x, scale, shift, epsilon) {
      const rows = node(x, [rowsOf(x.shape), x.shape.at(-1)!]);
      const affine = { scale: node(scale), shift: node(shift), epsilon };
      return tensorOf(w.reshape(normalizeRows(w, rows, affine, fused.layerNorm), x.shape));
    },
  } satisfies Partial<Ops>;
}

/** What multiplies matrices, and looks up rows. */
function products({ w, tensors, options }: Writing) {
  const { node, operand, stored } = tensors;
  const { compute, fused } = options;
  const traits: ConvolutionTraits = { ...options, fusesFunctions: fused.functions };
  return {
    linear(x, weight, bias, activation?: Activation) {
      const shape = infer.linear(x.shape, weight.shape);
      const rows = operand(x, [rowsOf(x.shape), x.shape.at(-1)!]);
      const { matrix, isTransposed } = matrixFor({ w, tensors, options }, weight, rows);
      if (activation === "gelu" && bias && fused.linearGelu && compute === "DT_FLOAT")
        return tensorOf(w.reshape(w.linearGelu(rows, matrix, node(bias), isTransposed), shape));
      const product = w.cast(w.matmul(rows, matrix, isTransposed), "DT_FLOAT");
      const y = bias ? w.biasAdd(product, node(bias)) : product;
      return tensorOf(w.reshape(activation ? activate(w, y, activation, fused.swish) : y, shape));
    },
    conv2d: (x, kernel, bias, given = {}) => convolution({ w, tensors, traits }, [x, kernel, bias], given),
    attention(q, k, v, { heads, causal = false }) {
      infer.attention(q.shape, k.shape, v.shape, heads);
      return tensorOf(attend(w, [node(q), node(k), node(v)], { heads, causal, compute }));
    },
    // Only the rows that are asked for are cast up.
    gather: (rows, ids) => tensorOf(w.cast(w.gather(stored(rows), node(ids)), "DT_FLOAT")),
    matchRows: (sources, destinations, merged) =>
      matchRows(w, node(sources), node(destinations), merged).map(tensorOf),
    meanInto: (x, rows, target) => tensorOf(meanInto(w, node(x), node(rows), node(target))),
  } satisfies Partial<Ops>;
}

/**
 * Products of few rows with a matrix whose rows lie a multiple of 4 KB apart: what is read of it for one block evicts
 * itself from the cache. Without AVX-512 they take the matrix transposed; with it, that is slower (bench/NOTES.md).
 */
const TRANSPOSED_MOST_ROWS = 256;
const ALIASED_COLUMNS = 1024;

/** A linear layer's weight for a product with these rows. */
function matrixFor(
  { tensors, options }: Writing,
  weight: Tensor,
  rows: Node,
): { matrix: Node; isTransposed: boolean } {
  const [input, output] = weight.shape as [number, number];
  const { compute, directConvolution } = options;
  const isAliased = output % ALIASED_COLUMNS === 0 && rows.shape[0]! <= TRANSPOSED_MOST_ROWS;
  const isTransposed = isWeight(weight) && isAliased && compute === "DT_FLOAT" && !directConvolution;
  const form = isTransposed
    ? ({ layout: "rows", shape: [output, input] } as const)
    : ({ layout: "matrix", shape: [input, output] } as const);
  return { matrix: tensors.factor(weight, rows, form), isTransposed };
}

/** What moves elements about. */
function shapes({ w, tensors: { node } }: Writing) {
  return {
    upsample: (x, height, width): GraphTensor => ({
      shape: [x.shape[0]!, height, width, x.shape[3]!],
      dtype: "float32",
      enlarge: node(x),
    }),
    reshape(x, shape) {
      infer.reshape(x.shape, shape);
      return tensorOf(node(x, shape));
    },
    concat(xs, axis) {
      const joined = infer.concat(
        xs.map((x) => x.shape),
        axis,
      );
      return tensorOf(
        w.concat(
          xs.map((x) => node(x)),
          axis,
          joined,
        ),
      );
    },
    slice(x, axis, from, size) {
      const shape = infer.slice(x.shape, axis, from, size);
      const begin = shape.map((_, i) => (i === axis ? from : 0));
      return tensorOf(w.slice(node(x), begin, shape));
    },
    split(x, parts, axis) {
      const shape = infer.split(x.shape, parts, axis);
      if (isWeight(x) && axis === x.shape.length - 1) return weightColumns(x, parts);
      return w.split(node(x), parts, axis, shape).map(tensorOf);
    },
  } satisfies Partial<Ops>;
}
