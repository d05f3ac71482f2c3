import { describe, expect, test } from "vitest";
import { defaultView, toTensorFlow, viewName, viewShape, type WeightView } from "./layout.js";

const counted = (shape: readonly number[]) =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i);

/** By the definition: out[y, x, i, o] = values[o, i, y, x], columns counted in o. */
function byDefinition(
  values: Float32Array,
  shape: readonly number[],
  [start, end]: readonly [number, number],
) {
  const [outputs, inputs, height = 1, width = 1] = shape as [number, number, number?, number?];
  expect(end).toBeLessThanOrEqual(outputs);
  const out: number[] = [];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      for (let i = 0; i < inputs; i++)
        for (let o = start; o < end; o++) out.push(values[((o * inputs + i) * height + y) * width + x]!);
  return Float32Array.from(out);
}

describe.each([
  [[5, 3]],
  [[70, 33]],
  [[33, 70]],
  [[1, 1]],
  [[4, 3, 3, 3]],
  [[40, 35, 3, 3]],
  [[35, 40, 1, 1]],
  [[3, 40, 2, 5]],
])("[%s]", (shape) => {
  const values = counted(shape);
  const outputs = shape[0]!;

  test("whole", () => {
    const view: WeightView = { layout: shape.length === 4 ? "kernel" : "matrix" };
    const got = toTensorFlow(values, shape, view);
    expect(got).toEqual(byDefinition(values, shape, [0, outputs]));
    expect(viewShape(shape, view).reduce((a, b) => a * b, 1)).toBe(got.length);
    expect(viewShape(shape, view).at(-1)).toBe(outputs);
  });

  test("rows", () => {
    const columns = [Math.floor(outputs / 2), outputs] as const;
    const got = toTensorFlow(values, shape, { layout: "rows", columns });
    expect(got).toEqual(values.slice((columns[0] * values.length) / outputs));
    if (shape.length === 2)
      expect(viewShape(shape, { layout: "rows", columns })).toEqual([outputs - columns[0], shape[1]]);
    expect(toTensorFlow(values, shape, { layout: "rows" })).toEqual(values);
  });

  test("turned", () => {
    const [outputs = 0, inputs = 0, height = 1, width = 1] = shape as readonly number[];
    const got = toTensorFlow(values, shape, { layout: "turned" });
    expect(viewShape(shape, { layout: "turned" })).toEqual([height, width, outputs, inputs]);
    const kernel = byDefinition(values, shape, [0, outputs]);
    const positions = height * width;
    for (let p = 0; p < positions; p++)
      for (let i = 0; i < inputs; i++)
        for (let o = 0; o < outputs; o++)
          expect(got[((positions - 1 - p) * outputs + o) * inputs + i]).toBe(
            kernel[(p * inputs + i) * outputs + o],
          );
  });

  test("columns", () => {
    const half = Math.ceil(outputs / 2);
    for (const columns of [
      [0, half],
      [outputs - half, outputs],
    ] as const) {
      const got = toTensorFlow(values, shape, { layout: "matrix", columns });
      expect(got).toEqual(byDefinition(values, shape, columns));
      expect(viewShape(shape, { layout: "matrix", columns })).toEqual([got.length / half, half]);
    }
  });
});

test("the default follows rank and name", () => {
  expect(defaultView("down_blocks.0.resnets.0.conv1.weight", [8, 4, 3, 3]).layout).toBe("kernel");
  expect(defaultView("vision_model.embeddings.patch_embedding.weight", [8, 3, 14, 14]).layout).toBe("kernel");
  expect(defaultView("time_embedding.linear_1.weight", [8, 4]).layout).toBe("matrix");
  expect(defaultView("text_projection.weight", [8, 4]).layout).toBe("matrix");
  for (const name of [
    "text_model.embeddings.token_embedding",
    "text_model.embeddings.position_embedding",
    "class_embedding",
    "quantize.embedding",
  ])
    expect(defaultView(`${name}.weight`, [8, 4]).layout).toBe("same");
  expect(defaultView("norm.weight", [8]).layout).toBe("same");
});

test("a kernel's shape and that of the matrix of its patches", () => {
  expect(viewShape([8, 4, 3, 5], { layout: "kernel" })).toEqual([3, 5, 4, 8]);
  expect(viewShape([8, 4, 3, 5], { layout: "matrix" })).toEqual([60, 8]);
  expect(viewName({ layout: "kernel" })).toBe(viewName({ layout: "matrix" }));
  expect(viewName({ layout: "matrix", columns: [0, 4] })).not.toBe(
    viewName({ layout: "matrix", columns: [4, 8] }),
  );
});

test("a vector's columns, and half-precision patterns", () => {
  expect(toTensorFlow(counted([6]), [6], { layout: "same", columns: [2, 5] })).toEqual(
    Float32Array.of(2, 3, 4),
  );
  expect(toTensorFlow(Uint16Array.of(1, 2, 3, 4, 5, 6), [2, 3], { layout: "matrix" })).toEqual(
    Uint16Array.of(1, 4, 2, 5, 3, 6),
  );
  expect(() => toTensorFlow(counted([2, 3]), [2, 3], { layout: "matrix", columns: [1, 3] })).toThrow(
    "internal",
  );
  expect(() => toTensorFlow(counted([2, 3]), [2, 3], { layout: "same", columns: [1, 2] })).toThrow(
    "internal",
  );
});
