import * as infer from "./infer.js";
import { elements, type Ops, type Shape, type Tensor } from "./ops.js";

const shaped = (shape: Shape): Tensor => ({ shape, dtype: "float32" });

/** What a network costs. */
export interface Cost {
  /** Floating-point operations of its products, two per multiply-add. */
  flops: number;
  /** The most numbers that go into one operation and come out of it. */
  largest?: number;
}

/** Follows the shapes only, and adds up the cost. */
export function dryRunOps(cost: Cost = { flops: 0 }): Ops {
  const elementwise = (a: Tensor, b: Tensor) => shaped(infer.broadcast(a.shape, b.shape));
  const held = (inputs: readonly Tensor[], result: Tensor): Tensor => {
    const numbers = [...inputs, result].reduce((sum, { shape }) => sum + elements(shape), 0);
    cost.largest = Math.max(cost.largest ?? 0, numbers);
    return result;
  };
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
      return held([x], shaped(infer.linear(x.shape, weight.shape)));
    },
    conv2d: (x, kernel, _bias, options = {}) => {
      const shape = infer.conv2d(x.shape, kernel.shape, options);
      cost.flops += 2 * elements(shape) * elements(kernel.shape.slice(0, 3));
      return held([x], shaped(shape));
    },
    groupNorm: (x, _scale, _shift, { groups }) => shaped(infer.groupNorm(x.shape, groups)),
    layerNorm: (x) => x,
    attention: (q, k, v, { heads }) => {
      cost.flops += 2 * elements(q.shape) * k.shape[1]! + 2 * q.shape[1]! * elements(v.shape);
      return held([q, k, v], shaped(infer.attention(q.shape, k.shape, v.shape, heads)));
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
    concat(xs, axis) {
      const shapes = xs.map(({ shape }) => shape);
      return held(xs, shaped(infer.concat(shapes, axis)));
    },
    slice: (x, axis, from, size) => shaped(infer.slice(x.shape, axis, from, size)),
    split: (x, parts, axis) => Array.from({ length: parts }, () => shaped(infer.split(x.shape, parts, axis))),
  };
}
