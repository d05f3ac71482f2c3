import { expect, test } from "vitest";
import { change, product } from "../testing/low-rank.js";
import { sumLowRank } from "./low-rank.js";

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
