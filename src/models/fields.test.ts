import { expect, test } from "vitest";
import { type Fields, listFields, mapFields } from "./fields.js";

const leaf = (size: number) => ({ shape: [size] });
const fields: Fields<{ readonly shape: readonly number[] }> = {
  sample: leaf(1),
  deep: undefined,
  residuals: [leaf(2), leaf(3)],
  pictures: [{ tokens: leaf(4), scale: leaf(5) }],
};

test("fields are listed in their order, each with its path; those that are absent are not", () => {
  expect(listFields(fields)).toEqual([
    ["sample", leaf(1)],
    ["residuals.0", leaf(2)],
    ["residuals.1", leaf(3)],
    ["pictures.0.tokens", leaf(4)],
    ["pictures.0.scale", leaf(5)],
  ]);
});

test("other fields of the same form keep lists lists, and groups groups", () => {
  expect(mapFields(fields, ({ shape }, path) => ({ shape: [...shape, path.length] }))).toEqual({
    sample: { shape: [1, 6] },
    residuals: [{ shape: [2, 11] }, { shape: [3, 11] }],
    pictures: [{ tokens: { shape: [4, 17] }, scale: { shape: [5, 16] } }],
  });
  expect(mapFields({}, () => 1)).toEqual({});
});
