import type { Node } from "./graph-def.js";
import type { NodeWriter } from "./node-writer.js";
import type { Activation } from "./ops.js";

/** @param hasSwish `FusedNodes.swish` */
export function activate(w: NodeWriter, x: Node, activation: Activation, hasSwish: boolean): Node {
  const unary = (op: string, y: Node) => w.elementwise(op, [y], y.shape);
  const add = (a: Node, b: Node) => w.elementwise("AddV2", [a, b], a.shape);
  const mul = (a: Node, b: Node) => w.elementwise("Mul", [a, b], a.shape);
  const half = () => mul(x, w.scalar(0.5));
  switch (activation) {
    case "silu":
      return hasSwish ? unary("_MklSwish", x) : mul(x, unary("Sigmoid", x));
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
}

export const leakyRelu = (w: NodeWriter, x: Node, slope: number): Node =>
  w.elementwise("LeakyRelu", [x], x.shape, { alpha: { float: slope } });

/** @param values of the slopes, where they are known: with none above 1 it takes two passes over memory, not four */
export function prelu(w: NodeWriter, x: Node, slopes: Node, values: Float32Array | undefined): Node {
  const by = (op: string, a: Node, b: Node) => w.elementwise(op, [a, b], x.shape);
  if (values?.every((slope) => slope <= 1)) return by("Maximum", x, by("Mul", x, slopes));
  const above = w.elementwise("Relu", [x], x.shape);
  return by("AddV2", above, by("Mul", by("Minimum", x, w.scalar(0)), slopes));
}
