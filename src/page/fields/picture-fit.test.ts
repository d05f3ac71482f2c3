import { expect, test } from "vitest";
import { excess, fitted, isLarge, offeredShapes, shapeName, shapes, sizeOfShape } from "./picture-fit.js";

const models = [
  { size: 64, factor: 1 },
  { size: 64, factor: 8 },
  { size: 256, factor: 8 },
  { size: 512, factor: 8 },
  { size: 1024, factor: 8 },
];

test("every shape has about the model's own pixels, in sides that the network takes", () => {
  for (const model of models)
    for (const shape of shapes) {
      const size = sizeOfShape(shape, model);
      const [across, down] = shape.split(":").map(Number) as [number, number];
      expect(excess(size, model), `${shape} of ${model.size}`).toBeGreaterThan(0.69);
      expect(excess(size, model), `${shape} of ${model.size}`).toBeLessThan(1.21);
      expect(size.width / size.height / (across / down)).toBeGreaterThan(0.93);
      expect(size.width / size.height / (across / down)).toBeLessThan(1.08);
      expect([size.width % model.factor, size.height % model.factor]).toEqual([0, 0]);
    }
  expect(sizeOfShape("1:1", { size: 256, factor: 8 })).toEqual({ width: 256, height: 256 });
  expect(sizeOfShape("1:1", { size: 1024, factor: 8 })).toEqual({ width: 1024, height: 1024 });
  expect(sizeOfShape("3:2", { size: 512, factor: 8 })).toEqual({ width: 576, height: 384 });
});

test("no two shapes are one size, so that one button is pressed at most", () => {
  for (const model of [...models, { size: 32, factor: 8 }, { size: 16, factor: 8 }]) {
    const sizes = offeredShapes(model).map(({ width, height }) => `${width}x${height}`);
    expect(new Set(sizes).size, `${model.size}`).toBe(sizes.length);
    expect(sizes).toContain(`${model.size}x${model.size}`);
  }
  for (const model of models)
    expect(
      offeredShapes(model).map(({ shape }) => shape),
      `${model.size} by ${model.factor}`,
    ).toEqual(shapes);
  // 16:9 and 3:2 would both be 40x24.
  expect(offeredShapes({ size: 32, factor: 8 }).map(({ shape }) => shape)).not.toContain("3:2");
});

test("large pictures keep their shape", () => {
  expect(isLarge({ width: 256, height: 256 }, { size: 256, factor: 8 })).toBe(false);
  expect(isLarge({ width: 3000, height: 2000 }, { size: 256, factor: 8 })).toBe(true);
  expect(fitted({ width: 3000, height: 2000 }, { size: 256, factor: 8 })).toEqual({
    width: 312,
    height: 208,
  });
  expect(fitted({ width: 10, height: 4000 }, { size: 256, factor: 8 }).width).toBeGreaterThan(0);
});

test("shapes in words", () => {
  expect(shapeName({ width: 256, height: 256 })).toBe("1:1");
  expect(shapeName({ width: 768, height: 512 })).toBe("3:2");
  expect(shapeName({ width: 576, height: 1024 })).toBe("9:16");
  expect(shapeName({ width: 1003, height: 512 })).toBe("1.96:1");
  expect(shapeName({ width: 512, height: 1003 })).toBe("1:1.96");
});
