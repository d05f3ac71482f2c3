import type { Values } from "../latents/latents.js";

/**
 * A change of a weight [out, in, ...kernel] that is not multiplied out yet (LoRA, arXiv:2106.09685): up [out, rank]
 * times down [rank, in, ...kernel], in PyTorch's layout.
 */
export interface LowRank {
  readonly up: Values;
  readonly down: Values;
}

/** The sum of several changes of one weight, each times its factor: their ranks lie side by side. */
export function sumLowRank(changes: readonly (LowRank & { readonly factor: number })[]): LowRank {
  const rank = changes.reduce((sum, { down }) => sum + down.shape[0]!, 0);
  const { up, down } = changes[0]!;
  const [out = 0] = up.shape;
  const inner = down.data.length / down.shape[0]!;
  const ups = new Float32Array(out * rank);
  const downs = new Float32Array(rank * inner);
  let first = 0;
  for (const { up, down, factor } of changes) {
    const [own = 0] = down.shape;
    for (let row = 0; row < out; row++)
      for (let r = 0; r < own; r++) ups[row * rank + first + r] = factor * up.data[row * own + r]!;
    downs.set(down.data, first * inner);
    first += own;
  }
  return {
    up: { shape: [out, rank], data: ups },
    down: { shape: [rank, ...down.shape.slice(1)], data: downs },
  };
}
