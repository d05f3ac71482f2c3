import type { Attributes, FunctionBody, Node, NodeDef, NodeType } from "./graph-def.js";
import { elements, type Shape } from "./ops.js";

/** Of a called function: the usual one of TensorFlow, which holds less memory, or one without queues and threads of its own. */
type Executor = "" | "SINGLE_THREADED_EXECUTOR";

const NO_OUTPUT = 1 << 20;

/**
 * ConfigProto { graph_options { rewrite_options { disable_meta_optimizer: true } } }: TensorFlow's graph optimizer
 * would take longer than many steps, and what it finds is written down as it should be from the start.
 */
const NO_OPTIMIZER = Uint8Array.of(0x52, 5, 0x52, 3, 0x98, 1, 1);

/** Writes TensorFlow's own operations down, one method for each that is used; shapes are the caller's to know. */
export class NodeWriter {
  readonly nodes: NodeDef[] = [];
  readonly functions = new Map<string, FunctionBody>();
  /** Put before the names of nodes: "down_blocks/0/resnets/0/". */
  prefix = "";
  readonly #shared = new Map<string, Node>();
  readonly #names = new Set<string>();
  readonly #called = new Map<string, string>();

  /** @param isFlat writes what would be functions in their callers' places */
  constructor(private readonly isFlat = false) {}

  /** @param after further inputs: `^` and the name of a node that is only waited for */
  emit(
    op: string,
    inputs: readonly Node[],
    shape: Shape,
    type: NodeType,
    attributes: Attributes = {},
    after: readonly string[] = [],
  ): Node {
    // A name must not begin with an underscore, as those of internal operations do.
    const name = `${this.prefix}${op.replace(/^_/, "")}_${this.nodes.length}`;
    const names = inputs.map((x) => this.written(x).name);
    this.#push({ name, op, inputs: [...names, ...after], attributes });
    return { name, shape, type };
  }

  #push(node: NodeDef): void {
    this.nodes.push(node);
    this.#names.add(node.name);
  }

  /** The same node; if it is a reshape that nothing has asked for yet, it is written now. */
  written(x: Node): Node {
    if (!x.source || this.#names.has(x.name)) return x;
    const inputs = [x.source.name, this.ints(...x.shape).name];
    const attributes: Attributes = { T: { type: x.type }, Tshape: { type: "DT_INT32" } };
    this.#push({ name: x.name, op: "Reshape", inputs, attributes });
    return x;
  }

  /** A node that is written once, however often it is asked for. */
  shared(key: string, write: () => Node): Node {
    const node = this.#shared.get(key) ?? write();
    this.#shared.set(key, node);
    return node;
  }

  /**
   * What `write` makes of the inputs, in a function: TensorFlow prepares a function once, however often it is called.
   *
   * @param name with the inputs' shapes and types it says all of what is written
   */
  call(name: string, inputs: readonly Node[], write: (w: NodeWriter, inputs: readonly Node[]) => Node): Node {
    if (this.isFlat) return write(this, inputs);
    const key = `${name} ${inputs.map(({ type, shape }) => `${type} [${shape}]`)}`;
    const called = this.#called.get(key) ?? `${name}_${this.#called.size}`;
    this.#called.set(key, called);
    return this.invoke(called, this.functions.get(called) ?? functionOf(inputs, write), inputs)[0]!;
  }

  /** The same, in a function that XLA compiles: one pass over memory for all that `write` computes element by element. */
  fused(
    name: string,
    inputs: readonly Node[],
    write: (w: NodeWriter, inputs: readonly Node[]) => Node,
  ): Node {
    const key = `${name} ${inputs.map(({ type, shape }) => `${type} [${shape}]`)}`;
    const called = this.#called.get(key) ?? `fused_${name}_${this.#called.size}`;
    this.#called.set(key, called);
    const body = this.functions.get(called) ?? { ...functionOf(inputs, write), isFused: true };
    return this.invoke(called, body, inputs)[0]!;
  }

  /** The results of a function that is known by this name throughout the graph. */
  invoke(name: string, body: FunctionBody, inputs: readonly Node[], executor: Executor = ""): Node[] {
    this.functions.set(name, body);
    const outputs = body.results.map(([, node]) => node);
    const attributes: Attributes = {
      ...NodeWriter.callAttributes(name, inputs, outputs, executor),
      ...(body.isFused && { _XlaMustCompile: { bool: true } }),
    };
    const first = this.emit("PartitionedCall", inputs, outputs[0]!.shape, outputs[0]!.type, attributes);
    return outputs.map(({ shape, type }, i) => ({
      name: i === 0 ? first.name : `${first.name}:${i}`,
      shape,
      type,
    }));
  }

  static callAttributes(
    name: string,
    inputs: readonly Node[],
    outputs: readonly Node[],
    executor: Executor = "",
  ): Attributes {
    return {
      Tin: { types: inputs.map(({ type }) => type) },
      Tout: { types: outputs.map(({ type }) => type) },
      f: { function: name },
      config: { string: "" },
      config_proto: { bytes: NO_OPTIMIZER },
      executor_type: { string: executor },
    };
  }

  constant(values: Float32Array | Int32Array, shape: Shape): Node {
    const type = values instanceof Float32Array ? "DT_FLOAT" : "DT_INT32";
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const key = `${type} [${shape}] ${Buffer.from(bytes).toString("latin1")}`;
    const attributes: Attributes = { dtype: { type }, value: { tensor: { type, shape, bytes } } };
    return this.shared(key, () => this.emit("Const", [], shape, type, attributes));
  }

  scalar(value: number): Node {
    return this.constant(Float32Array.of(value), []);
  }

  ints(...values: number[]): Node {
    return this.constant(Int32Array.from(values), [values.length]);
  }

  int(value: number): Node {
    return this.constant(Int32Array.of(value), []);
  }

  /**
   * The contents of a file, mapped into memory. Before its first run a session folds constants: it would copy every
   * weight of the network, and keep the copies of those up to 10 MB. It leaves nodes alone that name a scoped
   * allocator (tensorflow/core/common_runtime/constant_folding.cc); this one is for an output that no node has.
   */
  mapped(path: string, shape: Shape, type: NodeType): Node {
    const attributes: Attributes = {
      dtype: { type },
      shape: { shape },
      memory_region_name: { string: path },
      _scoped_allocator: { ints: [NO_OUTPUT, 0] },
    };
    return this.shared(`${path} [${shape}]`, () => this.emit("ImmutableConst", [], shape, type, attributes));
  }

  /** Element by element; the shape is that of the broadcast. The same of the same is written once. */
  elementwise(op: string, inputs: readonly Node[], shape: Shape, attributes: Attributes = {}): Node {
    const { type } = inputs[0]!;
    const before = this.#beforeReshape(inputs, shape);
    const from = before?.inputs ?? inputs;
    const key = `${op} ${JSON.stringify(attributes)} of ${from.map((x) => x.name).join()}`;
    const result = this.shared(key, () =>
      this.emit(op, from, before?.shape ?? shape, type, { T: { type }, ...attributes }),
    );
    return before ? this.reshape(result, shape) : result;
  }

  /** If all inputs are reshapes of one shape, broadcast scalars and rows aside, the reshapes can wait for the result. */
  #beforeReshape(
    inputs: readonly Node[],
    shape: Shape,
  ): { readonly inputs: readonly Node[]; readonly shape: Shape } | undefined {
    const source = inputs.find((x) => isSameShape(x.shape, shape))?.source?.shape;
    if (!source) return undefined;
    const isRow = (x: Node) =>
      x.shape.length === 1 && x.shape[0] === source.at(-1) && source.at(-1) === shape.at(-1);
    const seen = inputs.map((x) => {
      if (isSameShape(x.shape, shape))
        return x.source && isSameShape(x.source.shape, source) ? x.source : undefined;
      return x.shape.length === 0 || isRow(x) ? x : undefined;
    });
    return seen.every((x) => x !== undefined) ? { inputs: seen, shape: source } : undefined;
  }

  /** In another type; made when `before` is there, if given: made as soon as they can, all weights would be held at once. */
  cast(x: Node, to: NodeType, before?: Node): Node {
    if (x.type === to) return x;
    const attributes: Attributes = { SrcT: { type: x.type }, DstT: { type: to }, Truncate: { bool: false } };
    // What is used twice is made for its first use.
    return this.shared(`${x.name} as ${to}`, () =>
      this.emit("Cast", [x], x.shape, to, attributes, this.#waitFor(before)),
    );
  }

  /** The further input that waits for a node; arguments are there from the start. */
  #waitFor(x: Node | undefined): string[] {
    const name = x && (x.source ?? x).name.replace(/:\d+$/, "");
    return name !== undefined && this.#names.has(name) ? [`^${name}`] : [];
  }

  reshape(x: Node, shape: Shape): Node {
    const source = x.source ?? x;
    if (isSameShape(source.shape, shape)) return source;
    const name = `${source.name.replace(":", "_")}_as_${shape.join("x") || "scalar"}`;
    return { name, shape, type: x.type, source };
  }

  transpose(x: Node, order: readonly number[]): Node {
    const attributes: Attributes = { T: { type: x.type }, Tperm: { type: "DT_INT32" } };
    const shape = order.map((axis) => x.shape[axis]!);
    return this.emit("Transpose", [x, this.ints(...order)], shape, x.type, attributes);
  }

  concat(xs: readonly Node[], axis: number, shape: Shape): Node {
    if (xs.length === 1) return xs[0]!;
    const { type } = xs[0]!;
    const attributes: Attributes = { N: { int: xs.length }, T: { type }, Tidx: { type: "DT_INT32" } };
    return this.emit("ConcatV2", [...xs, this.int(axis)], shape, type, attributes);
  }

  split(x: Node, parts: number, axis: number, shape: Shape): Node[] {
    const attributes: Attributes = { T: { type: x.type }, num_split: { int: parts } };
    const first = this.emit("Split", [this.int(axis), x], shape, x.type, attributes);
    return Array.from({ length: parts }, (_, i) =>
      i === 0 ? first : { ...first, name: `${first.name}:${i}` },
    );
  }

  /** Made when `before` is there, if given. What lies together is cut out of the first axis, where TensorFlow need not copy. */
  slice(x: Node, begin: readonly number[], shape: readonly number[], before?: Node): Node {
    const axis = x.shape.findLastIndex((size, i) => shape[i] !== size);
    if (axis < 0) return x;
    if (axis > 0 && shape.slice(0, axis).every((size) => size === 1)) {
      const rows = elements(x.shape.slice(0, axis + 1));
      const first = begin.slice(0, axis + 1).reduce((at, index, i) => at * x.shape[i]! + index, 0);
      const row = elements(x.shape.slice(axis + 1));
      const part = this.slice(this.reshape(x, [rows, row]), [first, 0], [shape[axis]!, row], before);
      return this.reshape(part, shape);
    }
    const attributes: Attributes = { T: { type: x.type }, Index: { type: "DT_INT32" } };
    const inputs = [x, this.ints(...begin), this.ints(...shape)];
    return this.emit("Slice", inputs, shape, x.type, attributes, this.#waitFor(before));
  }

  /** Zeros around height and width of [B, H, W, C]; made when `before` is there, if given. */
  pad(x: Node, [top, bottom, left, right]: readonly [number, number, number, number], before?: Node): Node {
    const [b, h, w, c] = x.shape as [number, number, number, number];
    const amounts = this.constant(Int32Array.of(0, 0, top, bottom, left, right, 0, 0), [4, 2]);
    const attributes: Attributes = { T: { type: x.type }, Tpaddings: { type: "DT_INT32" } };
    const shape = [b, h + top + bottom, w + left + right, c];
    return this.emit("Pad", [x, amounts], shape, x.type, attributes, this.#waitFor(before));
  }

  mean(x: Node, axis: number): Node {
    const attributes: Attributes = {
      T: { type: x.type },
      Tidx: { type: "DT_INT32" },
      keep_dims: { bool: true },
    };
    const shape = x.shape.map((d, i) => (i === axis ? 1 : d));
    return this.emit("Mean", [x, this.ints(axis)], shape, x.type, attributes);
  }

  /** [M, K] times [K, N], or [N, K] when `transposeB`. */
  matmul(a: Node, b: Node, transposeB = false): Node {
    const attributes: Attributes = {
      T: { type: a.type },
      transpose_a: { bool: false },
      transpose_b: { bool: transposeB },
    };
    return this.emit("MatMul", [a, b], [a.shape[0]!, b.shape[transposeB ? 0 : 1]!], a.type, attributes);
  }

  /** GELU of [M, K] times [K, N] ([N, K] when `transposeB`) plus bias [N], without a pass over the memory for each. */
  linearGelu(a: Node, b: Node, bias: Node, transposeB = false): Node {
    const attributes: Attributes = {
      T: { type: a.type },
      transpose_a: { bool: false },
      transpose_b: { bool: transposeB },
      num_args: { int: 1 },
      fused_ops: { strings: ["BiasAdd", "GeluExact"] },
      epsilon: { float: 0 },
      leakyrelu_alpha: { float: 0.2 },
    };
    return this.emit("_FusedMatMul", [a, b, bias], [a.shape[0]!, bias.shape[0]!], a.type, attributes);
  }

  /** [.., M, K] times [.., K, P], or [.., P, K] when `transposeB`; an axis before them may be 1 in one of the two. */
  batchMatmul(a: Node, b: Node, transposeB = false): Node {
    const attributes: Attributes = {
      T: { type: a.type },
      adj_x: { bool: false },
      adj_y: { bool: transposeB },
    };
    const batch = a.shape.slice(0, -2).map((d, i) => Math.max(d, b.shape[i]!));
    const shape = [...batch, a.shape.at(-2)!, b.shape.at(transposeB ? -2 : -1)!];
    return this.emit("BatchMatMulV2", [a, b], shape, a.type, attributes);
  }

  biasAdd(x: Node, bias: Node): Node {
    const attributes: Attributes = { T: { type: x.type }, data_format: { string: "NHWC" } };
    const rows = x.source?.shape.at(-1) === x.shape.at(-1) ? (x.source ?? x) : x;
    return this.reshape(this.emit("BiasAdd", [rows, bias], rows.shape, x.type, attributes), x.shape);
  }

  /** Over the last axis. */
  softmax(x: Node): Node {
    return this.emit("Softmax", [x], x.shape, x.type, { T: { type: x.type } });
  }

  gather(table: Node, ids: Node): Node {
    const attributes: Attributes = {
      Tparams: { type: table.type },
      Tindices: { type: "DT_INT32" },
      Taxis: { type: "DT_INT32" },
      batch_dims: { int: 0 },
    };
    const shape = [...ids.shape, ...table.shape.slice(1)];
    return this.emit("GatherV2", [table, ids, this.int(0)], shape, table.type, attributes);
  }

  /** Nearest neighbour to [height, width]. */
  resize(x: Node, height: number, width: number): Node {
    const shape = [x.shape[0]!, height, width, x.shape[3]!];
    return this.emit("ResizeNearestNeighbor", [x, this.ints(height, width)], shape, x.type, {
      T: { type: x.type },
      align_corners: { bool: false },
      half_pixel_centers: { bool: false },
    });
  }
}

function functionOf(
  inputs: readonly Node[],
  write: (w: NodeWriter, inputs: readonly Node[]) => Node,
): FunctionBody {
  const w = new NodeWriter(true);
  const given = inputs.map(({ shape, type }, i): Node => ({ name: `x${i}`, shape, type }));
  const result = w.written(write(w, given));
  return { arguments: given, nodes: w.nodes, results: [["y", result]] };
}

const isSameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i]);

/** Rows of [.., C] when all axes but the last are one. */
export const rowsOf = (shape: Shape): number => elements(shape.slice(0, -1));
