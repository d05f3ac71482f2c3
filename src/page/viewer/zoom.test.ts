import { expect, test } from "vitest";
import { fitIn, fitted, held, zoomAt } from "./zoom.js";

const stage = { width: 800, height: 600 };

test("a picture fits its stage whole, small ones enlarged", () => {
  expect(fitIn({ width: 256, height: 256 }, stage)).toEqual({ width: 600, height: 600 });
  expect(fitIn({ width: 4000, height: 1000 }, stage)).toEqual({ width: 800, height: 200 });
});

test("what lies under the pointer stays there", () => {
  const at = { x: 120, y: -80 };
  const before = { scale: 1.5, x: 30, y: 10 };
  const after = zoomAt(before, 2, at);
  const under = ({ scale, x, y }: typeof before) => [(at.x - x) / scale, (at.y - y) / scale];
  expect(after.scale).toBe(3);
  expect(under(after)).toEqual(under(before));
});

test("never smaller than fitted, never beyond 32 times", () => {
  expect(zoomAt(fitted, 0.2, { x: 0, y: 0 }).scale).toBe(1);
  expect(zoomAt({ ...fitted, scale: 30 }, 9, { x: 0, y: 0 }).scale).toBe(32);
});

test("it cannot be pulled past its edges, and what fits stays in the middle", () => {
  const fit = { width: 600, height: 600 };
  expect(held({ scale: 1, x: 50, y: 50 }, fit, stage)).toEqual({ scale: 1, x: 0, y: 0 });
  expect(held({ scale: 2, x: 900, y: -900 }, fit, stage)).toEqual({ scale: 2, x: 200, y: -300 });
});
