import { expect, test } from "vitest";
import { plainMatMul } from "../adapters/lora-delta.js";
import { pseudoRandom } from "../testing/tiny.js";
import { type LowRank, sumLowRank } from "./low-rank.js";

/** Of a weight of this shape. */
function change(shape: readonly number[], rank: number, seed: number) {
  const [out = 0, ...inner] = shape;
  const size = inner.reduce((a, b) => a * b, 1);
  return {
    up: { shape: [out, rank], data: pseudoRandom(out * rank, seed) },
    down: { shape: [rank, ...inner], data: pseudoRandom(rank * size, seed + 1) },
  };
}

const product = ({ up, down }: LowRank) =>
  plainMatMul(up.data, down.data, up.shape[0]!, up.shape[1]!, down.data.length / down.shape[0]!);

test("changes of several ranks add up", () => {
  const shape = [4, 3, 3, 3];
  const [a, b] = [change(shape, 2, 5), change(shape, 5, 9)];
  const sum = sumLowRank([
    { ...a, factor: 0.7 },
    { ...b, factor: -2 },
  ]);
  expect([sum.up.shape, sum.down.shape]).toEqual([
    [4, 7],
    [7, 3, 3, 3],
  ]);
  const second = product(b);
  const want = product(a).map((value, i) => 0.7 * value - 2 * second[i]!);
  expect(product(sum)).toBeCloseTo32(want, { abs: 2e-6, rel: 1e-5 });
});
