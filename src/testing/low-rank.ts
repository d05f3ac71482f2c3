import { plainMatMul } from "../adapters/lora-delta.js";
import type { LowRank } from "../weights/low-rank.js";
import { pseudoRandom } from "./tiny.js";

/** Pseudo-random factors of a change to a weight of this shape. */
export function change(shape: readonly number[], rank: number, seed: number) {
  const [out = 0, ...inner] = shape;
  const size = inner.reduce((a, b) => a * b, 1);
  return {
    up: { shape: [out, rank], data: pseudoRandom(out * rank, seed) },
    down: { shape: [rank, ...inner], data: pseudoRandom(rank * size, seed + 1) },
  };
}

/** The change itself. */
export const product = ({ up, down }: LowRank) =>
  plainMatMul(up.data, down.data, up.shape[0]!, up.shape[1]!, down.data.length / down.shape[0]!);
