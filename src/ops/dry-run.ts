import * as infer from "./infer.js";
import { elements, type Ops, type Shape, type Tensor } from "./ops.js";

const shaped = (shape: Shape): Tensor => ({ shape, dtype: "float32" });

/** What a network costs: floating-point operations, two per multiply-add, of its products alone. */
export interface Cost {
  flops: number;
}

/** Follows the shapes only, and adds up the cost. */
export function dryRunOps(cost: Cost = { flops: 0 }): Ops {
  const elementwise = (a: Tensor, b: Tensor) => shaped(infer.broadcast(a.shape, b.shape));
  return {
    scope: (_name, body) => body(),
    constant: (_values, shape, dtype = "float32") => ({ shape, dtype }),
    add: elementwise,
    sub: elementwise,
    mul: elementwise,
    activate: (x) => x,
    leakyRelu: (x, slope) => (typeof slope === "number" ? x : elementwise(x, slope)),
    linear: (x, weight) => {
      cost.flops += 2 * elements(x.shape) * weight.shape[1]!;
      return shaped(infer.linear(x.shape, weight.shape));
    },
    conv2d: (x, kernel, _bias, options = {}) => {
      const shape = infer.conv2d(x.shape, kernel.shape, options);
      cost.flops += 2 * elements(shape) * elements(kernel.shape.slice(0, 3));
      return shaped(shape);
    },
    groupNorm: (x, _scale, _shift, { groups }) => shaped(infer.groupNorm(x.shape, groups)),
    layerNorm: (x) => x,
    attention: (q, k, v, { heads }) => {
      cost.flops += 2 * elements(q.shape) * k.shape[1]! + 2 * q.shape[1]! * elements(v.shape);
      return shaped(infer.attention(q.shape, k.shape, v.shape, heads));
    },
    upsample: (x, height, width) => shaped([x.shape[0]!, height, width, x.shape[3]!]),
    gather: (table, ids) => shaped([...ids.shape, table.shape[1]!]),
    matchRows(sources, destinations, merged) {
      const [count, width] = sources.shape as [number, number];
      cost.flops += 2 * count * width * destinations.shape[0]!;
      const left = merged === count ? [] : [count - merged];
      return [merged, merged, count, ...left].map((size) => ({ shape: [size], dtype: "int32" }));
    },
    meanInto: (x) => x,
    reshape: (x, shape) => shaped(infer.reshape(x.shape, shape)),
    concat: (xs, axis) =>
      shaped(
        infer.concat(
          xs.map((x) => x.shape),
          axis,
        ),
      ),
    slice: (x, axis, from, size) => shaped(infer.slice(x.shape, axis, from, size)),
    split: (x, parts, axis) => Array.from({ length: parts }, () => shaped(infer.split(x.shape, parts, axis))),
  };
}
