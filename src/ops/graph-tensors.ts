import { internal } from "../errors.js";
import type { Node, NodeType } from "./graph-def.js";
import type { WeightView } from "./layout.js";
import type { NodeWriter } from "./node-writer.js";
import type { Shape, Tensor } from "./ops.js";

/** Where the bytes of a kernel, matrix or table lie: a raw little-endian file that TensorFlow maps into memory. */
export interface WeightFile {
  readonly path: string;
  readonly type: "DT_FLOAT" | "DT_HALF" | "DT_BFLOAT16";
}

/** How a graph comes by the weights of a checkpoint. */
export interface WeightStore {
  /** The file of a weight that is not given at each run, in TensorFlow's layout. */
  readonly weightFile?: (name: string, view: WeightView) => WeightFile;
  /** The values of a weight with one axis: a bias, or the scale or shift of a norm. */
  readonly weightValues: (name: string, view: WeightView) => Float32Array;
  /** The type in which a weight is given at each run, for those that are (`GraphBody.given`). */
  readonly givenType?: (name: string) => WeightFile["type"] | undefined;
}

/** A weight that is given at each run, as an argument of the network. */
export interface GivenWeight {
  readonly name: string;
  readonly view: WeightView;
}

interface StoredWeight {
  readonly weight: string;
  /** For a part of it, the range of its last axis. */
  readonly columns?: WeightView["columns"];
}

/** What is computed of each element by itself. */
export interface ElementwisePass {
  /** Names what `write` writes. */
  readonly name: string;
  readonly write: (w: NodeWriter, x: Node) => Node;
}

/** A result whose last pass over memory does more to it, if that comes before it is used. */
interface Unfinished {
  /** Writes it with these added, each of its shape or [B, 1, 1, C], and with this activation. */
  readonly finish: (others: readonly Node[], activation?: ElementwisePass) => Node;
}

/**
 * The graph's side of a tensor: a node; or what is written once its use says in which form: a weight, a picture that
 * has to be enlarged, or a sum that may go on.
 */
export type GraphTensor = Tensor &
  ({ readonly node: Node } | StoredWeight | { readonly enlarge: Node } | Unfinished);

export const tensorOf = (node: Node): GraphTensor => ({
  shape: node.shape,
  dtype: node.type === "DT_INT32" ? "int32" : "float32",
  node,
});

export const isWeight = (x: Tensor): x is Tensor & StoredWeight => "weight" in x;

/** The picture that x is to be at twice the size, if it is. */
export function halfOf(x: Tensor): Node | undefined {
  if (!("enlarge" in x)) return undefined;
  const { enlarge } = x as Tensor & { enlarge: Node };
  return [1, 2].every((axis) => x.shape[axis] === 2 * enlarge.shape[axis]!) ? enlarge : undefined;
}

const isUnfinished = (x: Tensor): x is Tensor & Unfinished => "finish" in x;

/** Columns of a weight are files of their own: nothing is split at run time. */
export function weightColumns(x: Tensor & StoredWeight, parts: number): GraphTensor[] {
  if (x.columns) throw internal("a part of a weight cannot be split again");
  const width = x.shape.at(-1)! / parts;
  const shape = [...x.shape.slice(0, -1), width];
  return Array.from({ length: parts }, (_, i) => ({
    shape,
    dtype: "float32",
    weight: x.weight,
    columns: [i * width, (i + 1) * width],
  }));
}

interface Form {
  readonly layout: WeightView["layout"];
  readonly shape: Shape;
}

/** Which node stands for a tensor, as its use asks for it. */
export interface GraphTensors {
  /** Weights that are given at each run, with their nodes, in the order in which they were asked for. */
  readonly given: ReadonlyMap<string, GivenWeight & { readonly node: Node }>;
  /**
   * Of any tensor but a mapped weight, in float32 (or int32), seen in a shape of as many elements. Vectors of the
   * checkpoint are constants of the graph: what computes element by element may write its result into its input's
   * memory, and mapped memory cannot be written.
   */
  node(x: Tensor, shape?: Shape): Node;
  /** The same in the type that products compute in. */
  operand(x: Tensor, shape?: Shape): Node;
  /** A kernel or matrix in that type and this layout, for a product with `other`; computed ones occur in tests. */
  factor(x: Tensor, other: Node, form: Form): Node;
  /** The numbers of a vector of the checkpoint that is a constant of the graph. */
  valuesOf(x: Tensor): Float32Array | undefined;
  /** `sum` and x, if the pass that writes `sum` can add x. */
  addedTo(sum: Tensor, x: Tensor): GraphTensor | undefined;
  /** x with this activation, if the pass that writes x can compute it. */
  activated(x: Tensor, activation: ElementwisePass): GraphTensor | undefined;
  /** A weight in the type in which it is stored: what rows are looked up in, or is cast part by part. */
  stored(x: Tensor, form?: Form): Node;
}

export function graphTensors(w: NodeWriter, store: WeightStore, compute: NodeType): GraphTensors {
  const given = new Map<string, GivenWeight & { readonly node: Node }>();
  const finished = new Map<Tensor, Node>();

  const weightNode = (
    { weight, columns }: StoredWeight,
    layout: WeightView["layout"],
    shape: Shape,
    type?: NodeType,
  ): Node => {
    const view: WeightView = { layout, ...(columns && { columns }) };
    const givenType = store.givenType?.(weight);
    if (givenType) {
      const key = JSON.stringify([weight, view]);
      const node: Node = { name: `weight_${given.size}`, shape, type: type ?? givenType };
      const known = given.get(key) ?? { name: weight, view, node };
      given.set(key, known);
      return w.reshape(known.node, shape);
    }
    if (type === "DT_FLOAT") return w.constant(store.weightValues(weight, view), shape);
    if (!store.weightFile) throw internal(`the weight ${weight} is neither given nor in a file`);
    const file = store.weightFile(weight, view);
    return w.mapped(file.path, shape, file.type);
  };

  const node = (x: Tensor, shape: Shape = x.shape): Node => {
    if (isWeight(x)) {
      if (x.shape.length !== 1) throw internal(`a mapped weight [${x.shape}] is used element by element`);
      return w.reshape(weightNode(x, "same", x.shape, "DT_FLOAT"), shape);
    }
    if ("enlarge" in x) {
      const { enlarge } = x as Tensor & { enlarge: Node };
      const [, height, width] = x.shape as [number, number, number];
      return w.reshape(w.resize(enlarge, height, width), shape);
    }
    if (isUnfinished(x)) {
      const result = finished.get(x) ?? x.finish([]);
      finished.set(x, result);
      return w.reshape(result, shape);
    }
    if (!("node" in x)) throw internal("a tensor of another interpreter came into the graph");
    return w.reshape((x as { node: Node }).node, shape);
  };
  const operand = (x: Tensor, shape?: Shape): Node => w.cast(node(x, shape), compute);

  return {
    given,
    node,
    operand,
    factor: (x, other, { layout, shape }) =>
      isWeight(x) ? w.cast(weightNode(x, layout, shape), compute, other) : operand(x, shape),
    valuesOf: (x) =>
      isWeight(x) && x.shape.length === 1 && !store.givenType?.(x.weight)
        ? store.weightValues(x.weight, { layout: "same" })
        : undefined,
    addedTo(sum, x) {
      const [batch, , , channels] = sum.shape;
      const fits = [sum.shape, [batch, 1, 1, channels]].some((shape) => shape.join() === x.shape.join());
      if (!isUnfinished(sum) || finished.has(sum) || !fits) return undefined;
      const other = node(x);
      return {
        shape: sum.shape,
        dtype: sum.dtype,
        finish: (others, activation) => sum.finish([other, ...others], activation),
      };
    },
    activated: (x, activation) =>
      isUnfinished(x) && !finished.has(x) ? tensorOf(x.finish([], activation)) : undefined,
    stored: (x, { layout, shape } = { layout: "same", shape: x.shape }) =>
      isWeight(x) ? weightNode(x, layout, shape) : node(x, shape),
  };
}
