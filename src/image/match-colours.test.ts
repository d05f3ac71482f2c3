import { describe, expect, it } from "vitest";
import { pseudoRandom } from "../testing/tiny.js";
import type { Image, Mask } from "./image.js";
import { matchColours } from "./match-colours.js";

const [width, height] = [48, 40];

const picture = (pixel: (x: number, y: number) => readonly number[]): Image => ({
  ...{ width, height },
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const at = Math.floor(i / 3);
    return pixel(at % width, Math.floor(at / width))[i % 3]!;
  }),
});
const maskOf = (isNew: (x: number, y: number) => boolean): Mask => ({
  ...{ width, height },
  data: Uint8Array.from({ length: width * height }, (_, i) =>
    isNew(i % width, Math.floor(i / width)) ? 255 : 0,
  ),
});
const noise = pseudoRandom(width * height * 3);
const scene = (x: number, y: number) =>
  [0, 1, 2].map((c) => Math.round(100 + x + y + 10 * noise[(y * width + x) * 3 + c]!));

describe("matchColours", () => {
  it("takes away a shift that the whole picture has, in the new part less with the distance", () => {
    const original = picture(scene);
    const painted = picture((x, y) => scene(x, y).map((v, c) => v + [-20, -10, 12][c]!));
    const matched = matchColours(
      painted,
      original,
      maskOf((x) => x < 32),
    );
    const reds = Array.from({ length: width }, (_, x) => {
      const i = (20 * width + x) * 3;
      return matched.data[i]! - original.data[i]!;
    });
    expect(reds.slice(31).every((red) => Math.abs(red) <= 1)).toBe(true);
    expect(Math.abs(reds[0]! + 10)).toBeLessThanOrEqual(1); // 32 pixels away, half of it
    expect(reds.slice(0, 32)).toEqual([...reds.slice(0, 32)].sort((a, b) => a - b));
  });

  it("follows a shift that changes along the seam", () => {
    const original = picture(() => [120, 120, 120]);
    const painted = picture((_, y) => [120 + Math.round(y / 2), 120, 120]);
    const matched = matchColours(
      painted,
      original,
      maskOf((x) => x >= 40),
    );
    const nextToSeam = matched.data.filter((_, i) => Math.floor(i / 3) % width === 40 && i % 3 === 0);
    expect(Math.max(...nextToSeam.map((v) => Math.abs(v - 120)))).toBeLessThanOrEqual(3);
  });

  it("hardly listens to parts that came out as something else", () => {
    const original = picture((_, y) => (y < 6 ? [250, 20, 20] : [120, 120, 120]));
    const painted = picture(() => [120, 120, 120]);
    const matched = matchColours(
      painted,
      original,
      maskOf((x) => x < 16),
    );
    const below = matched.data.filter((_, i) => Math.floor(i / 3 / width) >= 12);
    expect(Math.max(...below.map((v) => Math.abs(v - 120)))).toBeLessThanOrEqual(6);
  });

  it("leaves the picture as it is where nothing is kept, and takes any size", () => {
    const painted = picture(scene);
    expect(
      matchColours(
        painted,
        painted,
        maskOf(() => true),
      ),
    ).toEqual(painted);
    const dot: Image = { width: 1, height: 1, data: Uint8Array.of(9, 9, 9) };
    const kept: Mask = { width: 1, height: 1, data: Uint8Array.of(0) };
    expect(matchColours(dot, { ...dot, data: Uint8Array.of(12, 9, 9) }, kept).data).toEqual(
      Uint8Array.of(12, 9, 9),
    );
    expect(() =>
      matchColours(
        painted,
        dot,
        maskOf(() => true),
      ),
    ).toThrow(/of one size/);
  });
});
