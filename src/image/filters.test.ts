import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mirror } from "../latents/extent.js";
import { goldenCases, goldenTensor } from "../testing/golden.js";
import { goldenImage } from "../testing/golden-image.js";
import { binarise, blurMask, gaussianBlur, grayscale, invert, roundHalfToEven } from "./filters.js";

describe("gaussianBlur", () => {
  it.each(goldenCases("blur").map((c) => [c.id, c] as const))("%s is Pillow's, to the bit", (_, c) => {
    const got = gaussianBlur(goldenImage(c.inputs.image), c.config.blur_factor);
    expect(got.data).toEqual(Uint8Array.from(goldenTensor(c.expected.image).data));
  });

  it("leaves a plain picture and one pixel as they are", () => {
    fc.assert(
      fc.property(
        fc.nat(255),
        fc.double({ min: 0, max: 300, noNaN: true }),
        fc.nat(6),
        (level, radius, n) => {
          const image = { width: n + 1, height: 2, data: new Uint8Array(2 * (n + 1)).fill(level) };
          expect(gaussianBlur(image, radius)).toEqual(image);
          expect(blurMask(image, Math.min(radius, 40))).toEqual(image);
        },
      ),
    );
  });

  it("refuses a negative radius", () => {
    const image = { width: 1, height: 1, data: Uint8Array.of(9) };
    expect(() => gaussianBlur(image, -1)).toThrow(/at least 0, got -1/);
    expect(() => blurMask(image, 2, Number.NaN)).toThrow(/at least 0, got NaN/);
  });
});

describe("blurMask", () => {
  it("is OpenCV's GaussianBlur with the web UI's kernel size, to the bit", () => {
    const data = new Uint8Array(42);
    for (const y of [2, 3]) data.fill(255, y * 7 + 3, y * 7 + 7);
    expect([...blurMask({ width: 7, height: 6, data }, 2, 1.5).data]).toEqual([
      15, 19, 30, 44, 57, 66, 69, 19, 24, 38, 56, 73, 83, 87, 25, 32, 51, 75, 97, 111, 116, 25, 32, 51, 75,
      97, 111, 116, 19, 24, 38, 56, 73, 83, 87, 15, 19, 30, 44, 57, 66, 69,
    ]);
  });
});

describe("grayscale, invert, binarise", () => {
  it("grayscale is Pillow's mode L", () => {
    const [c] = goldenCases("grayscale");
    const got = grayscale(goldenImage(c!.inputs.image));
    expect(got.data).toEqual(Uint8Array.from(goldenTensor(c!.expected.image).data));
  });

  it("grey stays grey, with and without alpha", () => {
    expect([...grayscale({ width: 1, height: 1, data: Uint8Array.of(77, 77, 77, 3) }).data]).toEqual([77]);
    expect([...grayscale({ width: 1, height: 1, data: Uint8Array.of(77) }).data]).toEqual([77]);
  });

  it("invert twice is nothing, half counts as white", () => {
    const mask = { width: 4, height: 1, data: Uint8Array.of(0, 127, 128, 255) };
    expect([...invert(mask).data]).toEqual([255, 128, 127, 0]);
    expect(invert(invert(mask))).toEqual(mask);
    expect([...binarise(mask).data]).toEqual([0, 0, 255, 255]);
    expect([...binarise(mask, 1).data]).toEqual([0, 255, 255, 255]);
  });
});

describe("mirror and roundHalfToEven", () => {
  it("mirror walks to and fro without repeating the ends", () => {
    expect([-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5].map((i) => mirror(i, 3))).toEqual([
      1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1,
    ]);
    expect(mirror(-7, 1)).toBe(0);
  });

  it("halves go to the even neighbour", () => {
    expect([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, 254.5].map(roundHalfToEven)).toEqual([0, 2, 2, 0, -2, 2, 254]);
  });
});
