import { expect, test } from "vitest";
import { batched, repeatBatch, rowsOf } from "./batch.js";

const values = (shape: number[], ...numbers: number[]) => ({ shape, data: Float32Array.from(numbers) });
const two = values([2, 1, 2], 1, 2, 3, 4);

test("several become one, entries in their order", () => {
  expect(batched([two, values([1, 1, 2], 5, 6)])).toEqual(values([3, 1, 2], 1, 2, 3, 4, 5, 6));
});

test("entries are picked in any order, and more than once", () => {
  expect(rowsOf(two, [1, 0, 1])).toEqual(values([3, 1, 2], 3, 4, 1, 2, 3, 4));
  expect(rowsOf(two, [1])).toEqual(values([1, 1, 2], 3, 4));
  expect(rowsOf(two, [])).toEqual(values([0, 1, 2]));
});

test("a batch is repeated as a whole, to a multiple of itself", () => {
  expect(repeatBatch(two, 4)).toEqual(values([4, 1, 2], 1, 2, 3, 4, 1, 2, 3, 4));
  expect(repeatBatch(two, 2)).toBe(two);
  expect(() => repeatBatch(two, 3)).toThrow("internal: cannot repeat a batch of 2 to 3");
});
