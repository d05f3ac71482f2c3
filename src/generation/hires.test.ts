import { expect, test } from "vitest";
import { cropValues } from "../latents/upscale.js";
import { placed } from "./hires.js";

const s = (width: number, height: number) => ({ width, height });

test.each([
  // First picture, second one; in cells of 8 pixels: how large the first becomes, and what is cut off left and above
  // (`truncate_x // 2` and `truncate_y // 2` of the web UI).
  [s(64, 64), s(128, 128), s(16, 16), [0, 0]],
  [s(64, 64), s(128, 64), s(16, 16), [0, 4]],
  [s(32, 64), s(64, 64), s(8, 16), [0, 4]],
  [s(48, 40), s(64, 64), s(9, 8), [0, 0]],
  [s(120, 40), s(64, 64), s(24, 8), [8, 0]],
  [s(512, 768), s(1024, 1024), s(128, 192), [0, 32]],
  [s(48, 40), s(72, 56), s(9, 7), [0, 0]],
])("a first picture of %o covers a second one of %o", (first, second, covering, [left, top]) => {
  const cells = s(second.width / 8, second.height / 8);
  expect(placed(first, second, 8)).toEqual({ cells, covering, at: { left, top } });
});

test("a part of latents keeps its channels together", () => {
  const values = { shape: [1, 3, 4, 2], data: Float32Array.from({ length: 24 }, (_, i) => i) };
  expect(cropValues(values, { left: 1, top: 1 }, s(2, 2))).toEqual({
    shape: [1, 2, 2, 2],
    data: Float32Array.of(10, 11, 12, 13, 18, 19, 20, 21),
  });
});
