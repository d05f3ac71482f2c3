import { describe, expect, test } from "vitest";
import { plainMatMul } from "../adapters/lora-delta.js";
import { toTensorFlow, type WeightView } from "../ops/layout.js";
import { change, product } from "../testing/low-rank.js";
import { lowRankView } from "./low-rank-view.js";

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
