import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blendWithout, emphasize, emphasizeFromEmpty } from "./emphasis.js";

const embedding = Float32Array.of(1, 2, 3, 4, 5, 6); // three tokens of two channels
const empty = Float32Array.of(0, 1, 0, 1, 0, 1);

describe("the web UI's weights", () => {
  it("multiply tokens and bring the mean back", () => {
    // 1 2 | 6 8 | 5 6: the sum goes from 21 to 28
    expect(emphasize(embedding, [1, 2, 1])).toBeCloseTo32(
      [1, 2, 6, 8, 5, 6].map((x) => (x * 21) / 28),
      { rel: 1e-6 },
    );
  });

  it("leave the mean as it comes where that is asked for", () => {
    expect([...emphasize(embedding, [1, 2, 1], "no-norm")]).toEqual([1, 2, 6, 8, 5, 6]);
  });

  it("keep the mean of any embedding", () => {
    const numbers = fc.array(fc.integer({ min: -100, max: 1000 }), { minLength: 8, maxLength: 8 });
    const weights = fc.array(fc.double({ min: 0.1, max: 3, noNaN: true }), { minLength: 4, maxLength: 4 });
    const sum = (values: Float32Array) => values.reduce((total, x) => total + x, 0);
    fc.assert(
      fc.property(numbers, weights, (list, w) => {
        const before = Float32Array.from(list);
        const weighted = sum(before.map((x, i) => x * w[i >> 1]!));
        fc.pre(Math.abs(weighted) > 1);
        const scale = Math.abs(sum(before) / weighted) * 3000;
        expect([sum(emphasize(before, w))]).toBeCloseTo32([sum(before)], { abs: 1e-5 * Math.max(1, scale) });
      }),
    );
  });

  it("change nothing at weight 1, and stay finite where the mean is lost", () => {
    expect(emphasize(embedding, [1, 1, 1])).toBe(embedding);
    expect(emphasize(embedding, [0, 0, 0])).toEqual(new Float32Array(6));
  });
});

describe("compel's weights", () => {
  it("move tokens on the line through the empty prompt", () => {
    expect(emphasizeFromEmpty(embedding, [1, 2, 0], empty)).toEqual(Float32Array.of(1, 2, 6, 7, 0, 1));
    expect(emphasizeFromEmpty(embedding, [1, 1, 1], empty)).toBe(embedding);
  });

  it("mix in the prompt without a word the more the less it weighs", () => {
    const without = (weight: number) => blendWithout(embedding, [{ weight, embedding: empty }]);
    expect(without(0.5)).toBeCloseTo32([0.5, 1.5, 1.5, 2.5, 2.5, 3.5], { abs: 1e-6 });
    expect(without(1)).toBeCloseTo32(embedding, { abs: 1e-6 });
    expect(without(0)).toBeCloseTo32(empty, { abs: 1e-3 });
    expect(blendWithout(embedding, [])).toBe(embedding);
  });
});

it("refuse what does not fit, as our own mistake", () => {
  expect(() => emphasize(embedding, [1, 2, 3, 4])).toThrow(/internal/);
  expect(() => emphasizeFromEmpty(embedding, [1, 2, 3], empty.subarray(1))).toThrow(/internal/);
});
