import type { GroupNormOptions, Tensor } from "../ops/ops.js";
import { channels, linear } from "./basic.js";
import { layer, type Module } from "./module.js";

/** A group norm whose scale and shift [B, 2C] are computed from the time embedding [B, E] (AdaGroupNorm of diffusers). */
export const adaGroupNorm = layer(
  (m: Module, x: Tensor, time: Tensor, { activation, ...options }: GroupNormOptions) => {
    const { ops } = m;
    const c = channels(x);
    const embedded = linear(m.at("linear"), time, 2 * c);
    const [scale, shift] = ops.split(ops.reshape(embedded, [time.shape[0]!, 1, 1, 2 * c]), 2, 3) as [
      Tensor,
      Tensor,
    ];
    const one = ops.constant([1], []);
    const all = (value: number) => ops.constant(Array<number>(c).fill(value), [c]);
    const normal = ops.groupNorm(x, all(1), all(0), options);
    const y = ops.add(ops.mul(normal, ops.add(scale, one)), shift);
    return activation ? ops.activate(y, activation) : y;
  },
);
