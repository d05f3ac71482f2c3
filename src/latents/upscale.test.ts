import fc from "fast-check";
import { describe, expect, it } from "vitest";
import "../testing/matchers.js";
import { type InterpolationMode, resizeValues } from "./upscale.js";

const modes: InterpolationMode[] = [
  "nearest",
  "nearest-exact",
  "bilinear",
  "bicubic",
  "bilinear-antialiased",
  "bicubic-antialiased",
];
const source = {
  shape: [1, 3, 4, 1],
  data: Float32Array.from({ length: 12 }, (_, i) => ((i * 7) % 11) / 4 - 1),
};
/** From OpenCV 5 (the plain modes, which it computes as torch does) and Pillow 13 on floats (the antialiased ones). */
const references: [InterpolationMode, number, number, number[]][] = [
  ["bilinear", 3, 2, [-0.447917, 0.28125, 1.01042, -0.260417, 0.46875, -0.520833]],
  ["bicubic", 3, 2, [-0.463482, 0.264862, 1.09414, -0.261333, 0.675476, -0.608214]],
  ["bilinear-antialiased", 2, 2, [-0.0223214, 0.616071, 0.133929, 0.0357143]],
  ["bicubic-antialiased", 2, 2, [-0.0815784, 0.705539, 0.161563, 0.00748677]],
  [
    "bilinear",
    7,
    5,
    [
      -1, -0.375, 0.625, 0.25, -0.125, 0.875, 1.5, -0.4, -0.167857, 0.203571, 0.3, 0.396429, 0.767857, 1, 0.5,
      0.142857, -0.428571, 0.375, 1.17857, 0.607143, 0.25, -0.25, -0.0178572, 0.353571, 0.45, 0.428571,
      -0.142857, -0.5, -0.75, -0.125, 0.875, 0.5, -0.0714286, -0.642857, -1,
    ],
  ],
  [
    "bicubic",
    7,
    5,
    [
      -1.34382, -0.38001, 0.813154, 0.238, -0.337154, 0.856009, 1.81982, -0.37612, -0.179036, 0.11701,
      0.270938, 0.473319, 0.888569, 1.17276, 0.599216, 0.0516352, -0.52362, 0.375, 1.27362, 0.698365,
      0.150784, -0.20512, -0.00803646, 0.28801, 0.618281, 0.536696, -0.180493, -0.723862, -1.06982, -0.10601,
      1.08715, 0.794562, -0.235603, -0.85699, -1.21922,
    ],
  ],
  [
    "bicubic-antialiased",
    7,
    5,
    [
      -1.26849, -0.475819, 0.79283, 0.240566, -0.311698, 0.956951, 1.74963, -0.47045, -0.221204, 0.21173,
      0.28055, 0.370336, 0.883638, 1.17984, 0.579327, 0.13113, -0.508498, 0.375, 1.2585, 0.61887, 0.170673,
      -0.296942, -0.047697, 0.385237, 0.573344, 0.457453, -0.274943, -0.706632, -0.999626, -0.206951, 1.0617,
      0.694281, -0.176702, -0.838392, -1.17367,
    ],
  ],
];

describe("resizeValues", () => {
  it.each(references)("%s to %dx%d", (mode, width, height, want) => {
    const got = resizeValues(source, { width, height }, mode);
    expect(got.shape).toEqual([1, height, width, 1]);
    expect(got.data).toBeCloseTo32(want, { abs: 1e-5 });
  });

  it("nearest takes floor(i * scale), nearest-exact the cell under the centre", () => {
    const row = { shape: [1, 1, 5, 1], data: Float32Array.of(0, 1, 2, 3, 4) };
    expect([...resizeValues(row, { width: 3, height: 1 }, "nearest").data]).toEqual([0, 1, 3]);
    expect([...resizeValues(row, { width: 3, height: 1 }, "nearest-exact").data]).toEqual([0, 2, 4]);
    expect([...resizeValues(row, { width: 10, height: 1 }, "nearest").data]).toEqual([
      0, 0, 1, 1, 2, 2, 3, 3, 4, 4,
    ]);
  });

  it("the same size changes nothing; batches and channels do not mix", () => {
    fc.assert(
      fc.property(fc.constantFrom(...modes), fc.integer({ min: 1, max: 9 }), (mode, width) => {
        expect(resizeValues(source, { width: 4, height: 3 }, mode).data).toBeCloseTo32(source.data, {
          abs: 1e-6,
        });
        const data = Float32Array.from({ length: 48 }, (_, i) => (i < 24 ? i % 2 : 5));
        const got = resizeValues({ shape: [2, 3, 4, 2], data }, { width, height: 2 }, mode).data;
        const want = got.map((_, i) => (i < got.length / 2 ? i % 2 : 5));
        expect(got).toBeCloseTo32(want, { abs: 1e-5 });
      }),
    );
  });

  it("refuses sizes and modes that do not exist", () => {
    expect(() => resizeValues(source, { width: 0, height: 2 })).toThrow(/at least 1, got 0/);
    expect(() => resizeValues(source, { width: 2, height: 2 }, "bicubik" as "bicubic")).toThrow(
      /no mode "bicubik"/,
    );
  });
});
