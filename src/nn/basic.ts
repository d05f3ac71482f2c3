import type { Activation, Conv2dOptions, GroupNormOptions, Ops, Tensor } from "../ops/ops.js";
import { layer, type Module } from "./module.js";

export const channels = (x: Tensor): number => x.shape[x.shape.length - 1]!;

export interface LinearOptions {
  readonly bias?: boolean;
  readonly activation?: Activation;
}

/** x [..., I] to [..., out]. */
export const linear = layer(
  (m: Module, x: Tensor, out: number, { bias = true, activation }: LinearOptions = {}) => {
    const weight = m.get("weight", [channels(x), out]);
    return m.ops.linear(x, weight, bias ? m.get("bias", [out]) : undefined, activation);
  },
);

/** x [B, H, W, I] to [B, H', W', out]. */
export const conv2d = layer(
  (m: Module, x: Tensor, out: number, options: Conv2dOptions & { size?: number; bias?: boolean } = {}) => {
    const { size = 3, bias = true } = options;
    const kernel = m.get("weight", [size, size, channels(x), out]);
    return m.ops.conv2d(x, kernel, bias ? m.get("bias", [out]) : undefined, options);
  },
);

export const groupNorm = layer((m: Module, x: Tensor, options: GroupNormOptions) => {
  const shape = [channels(x)];
  return m.ops.groupNorm(x, m.get("weight", shape), m.get("bias", shape), options);
});

export const layerNorm = layer((m: Module, x: Tensor, epsilon: number) => {
  const shape = [channels(x)];
  return m.ops.layerNorm(x, m.get("weight", shape), m.get("bias", shape), epsilon);
});

/** Two linear layers with an activation between: what turns the sinusoidal embedding [B, I] into [B, out]. */
export const timestepEmbedding = layer(
  (m: Module, x: Tensor, out: number, activation: Activation, condition?: Tensor) => {
    const { ops } = m;
    const input = condition
      ? ops.add(x, linear(m.at("cond_proj"), condition, channels(x), { bias: false }))
      : x;
    return linear(m.at("linear_2"), linear(m.at("linear_1"), input, out, { activation }), out);
  },
);

/** x [B, ...] again and again, to so many rows: where the halves of a batch were the same until now. */
export const repeated = (ops: Ops, x: Tensor, rows: number): Tensor =>
  x.shape[0] === rows ? x : ops.concat(Array<Tensor>(rows / x.shape[0]!).fill(x), 0);
