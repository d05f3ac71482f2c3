import fc from "fast-check";
import { expect, it } from "vitest";
import { createRng } from "./rng.js";
import { slerp } from "./slerp.js";

const noise = (seed: number, shape: readonly number[]) => createRng("torch", seed).normal(shape);
const length = (x: Float32Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

it("turns a quarter circle", () => {
  const [a, b] = [Float32Array.of(1, 0), Float32Array.of(0, 1)];
  expect(slerp(1 / 3, a, b)).toBeCloseTo32([Math.cos(Math.PI / 6), Math.sin(Math.PI / 6)], { abs: 1e-7 });
});

it("turns every column of every channel by itself when it knows the shape", () => {
  const shape = [2, 3, 2] as const;
  const [a, b] = [noise(1, shape), noise(2, shape)];
  const got = slerp(0.3, a, b, shape);
  for (let c = 0; c < 2; c++)
    for (let x = 0; x < 2; x++) {
      const column = (v: Float32Array) => Float32Array.from([0, 1, 2], (y) => v[c * 6 + y * 2 + x]!);
      expect(column(got)).toBeCloseTo32(slerp(0.3, column(a), column(b)), { abs: 1e-6 });
    }
});

it("begins at the first noise, ends at the second and keeps the length between", () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.double({ min: 0, max: 1, noNaN: true }), (seed, t) => {
      const [a, b] = [noise(seed, [4, 8, 6]), noise(seed + 1, [4, 8, 6])];
      expect(slerp(0, a, b, [4, 8, 6])).toBeCloseTo32(a, { abs: 1e-5 });
      expect(slerp(1, a, b, [4, 8, 6])).toBeCloseTo32(b, { abs: 1e-5 });
      const between = length(slerp(t, a, b));
      expect(between).toBeGreaterThan(0.9 * Math.min(length(a), length(b)));
      expect(between).toBeLessThan(1.1 * Math.max(length(a), length(b)));
    }),
    { numRuns: 30 },
  );
});

it("takes the straight line between parallel noises, and stays finite for zeros and opposites", () => {
  expect(slerp(0.25, Float32Array.of(1, 2), Float32Array.of(2, 4))).toEqual(Float32Array.of(1.25, 2.5));
  expect(slerp(0.25, Float32Array.of(0, 0), Float32Array.of(0, 0))).toEqual(Float32Array.of(0, 0));
  expect(slerp(0.5, Float32Array.of(1, 0), Float32Array.of(-1, 0)).every(Number.isFinite)).toBe(true);
});
