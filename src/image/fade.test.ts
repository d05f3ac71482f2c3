import { expect, it } from "vitest";
import { fadeIn } from "./fade.js";
import type { Mask } from "./image.js";

const rowOf = (text: string): Mask => ({
  width: text.length,
  height: 1,
  data: Uint8Array.from(text, (c) => (c === "#" ? 255 : c === "+" ? 100 : 0)),
});

it("rises inside the mask over the width, and leaves what is kept at 0", () => {
  expect([...fadeIn(rowOf("..########.."), 4).data]).toEqual([
    0, 0, 64, 128, 191, 255, 255, 191, 128, 64, 0, 0,
  ]);
});

it("reaches full weight in parts that are thinner than the ramp", () => {
  expect([...fadeIn(rowOf("..#...###.."), 8).data]).toEqual([0, 0, 128, 0, 0, 0, 128, 255, 128, 0, 0]);
  expect([...fadeIn(rowOf("..#........"), 8).data]).toEqual([0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 0]);
});

it("has no ramp at the edges of the picture, nor in a mask that covers it", () => {
  expect([...fadeIn(rowOf("####...."), 4).data]).toEqual([255, 191, 128, 64, 0, 0, 0, 0]);
  expect([...fadeIn(rowOf("####"), 4).data]).toEqual([255, 255, 255, 255]);
});

it("keeps grey levels as upper limits", () => {
  expect([...fadeIn(rowOf(".++++++."), 2).data]).toEqual([0, 100, 100, 100, 100, 100, 100, 0]);
});

it("measures diagonals", () => {
  const mask = { width: 5, height: 5, data: new Uint8Array(25).fill(255) };
  mask.data[0] = 0;
  const { data } = fadeIn(mask, 3);
  expect(data[6]).toBe(Math.round((255 * Math.SQRT2) / 3));
  expect(data[24]).toBe(255);
});
