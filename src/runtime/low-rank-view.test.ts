import { describe, expect, test } from "vitest";
import { plainMatMul } from "../adapters/lora-delta.js";
import { toTensorFlow, type WeightView } from "../ops/layout.js";
import { pseudoRandom } from "../testing/tiny.js";
import type { LowRank } from "../weights/low-rank.js";
import { lowRankView } from "./low-rank-view.js";

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

describe("factors in the order of a view", () => {
  test.each<[WeightView, number[]]>([
    [{ layout: "matrix" }, [10, 7]],
    [{ layout: "matrix", columns: [5, 10] }, [10, 7]],
    [{ layout: "kernel" }, [6, 5, 3, 3]],
    [{ layout: "kernel" }, [6, 5, 1, 1]],
    [{ layout: "winograd" }, [6, 5, 3, 3]],
    [{ layout: "upsampled-winograd" }, [6, 5, 3, 3]],
  ])("%j of [%s]: their product is the view of the product", (view, shape) => {
    const factors = change(shape, 3, 11);
    const [left, right] = lowRankView(factors, view)!;
    expect(left.shape[1]).toBe(3);
    const got = plainMatMul(left.data, right.data, left.shape[0]!, 3, right.shape[1]!);
    expect(got).toBeCloseTo32(toTensorFlow(product(factors), shape, view), { abs: 2e-6, rel: 1e-5 });
  });
});

test("where outputs are not the last axis there are none", () => {
  expect(lowRankView(change([6, 5, 3, 3], 3, 11), { layout: "upsampled" })).toBeUndefined();
  expect(lowRankView(change([6, 5], 3, 11), { layout: "same" })).toBeUndefined();
});
