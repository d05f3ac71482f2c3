import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fma, log, sincos } from "./float32-math.js";

describe("fused multiply and add in float32", () => {
  const float32 = fc.float({ noDefaultInfinity: true, noNaN: true, min: -1024, max: 1024 });

  /** a*b + c in exact arithmetic, as an integer multiple of 2^-400. */
  const exactly = (a: number, b: number, c: number): bigint => {
    const scaled = (x: number) => BigInt(x * 2 ** 160); // exact: float32 below 1024 with at most 149 places
    return scaled(a) * scaled(b) + (scaled(c) << 160n);
  };

  it("rounds once: no float32 is closer to the exact result", () => {
    fc.assert(
      fc.property(float32, float32, float32, (a, b, c) => {
        const exact = exactly(a, b, c);
        const got = fma(a, b, c);
        const bits = new Int32Array(Float32Array.of(got).buffer);
        const off = (x: number) => {
          const difference = exactly(x, 1, 0) - exact;
          return difference < 0n ? -difference : difference;
        };
        if (Math.abs(got) < 2 ** -100) return; // below, neighbours run out of places
        for (const step of [-1, 1]) {
          const neighbour = new Float32Array(Int32Array.of(bits[0]! + step).buffer)[0]!;
          expect(off(got) <= off(neighbour)).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("does not round twice where float64 lands on the middle of two float32", () => {
    const [a, b] = [2 ** -24 * (1 + 2 ** -15), 1 - 2 ** -15]; // a*b = 2^-24 - 2^-54: the last part is lost in float64
    expect(fma(a, b, 1 + 2 ** -23)).toBe(1 + 2 ** -23);
    expect(fma(-a, b, 1 + 3 * 2 ** -23)).toBe(1 + 3 * 2 ** -23);
    expect(fma(-a, b, -1 - 2 ** -23)).toBe(-1 - 2 ** -23);
    expect(fma(a, b, -1 - 3 * 2 ** -23)).toBe(-1 - 3 * 2 ** -23);
  });
});

it("takes logarithms, sines and cosines to within a unit in the last place or two", () => {
  fc.assert(
    fc.property(
      fc.float({ min: Math.fround(2 ** -24), max: 1, noNaN: true }),
      fc.float({ min: 0, max: 8, noNaN: true }),
      (x, angle) => {
        expect([log(x)]).toBeCloseTo32([Math.log(x)], { rel: 2e-7, abs: 1e-8 });
        expect(sincos(angle)).toBeCloseTo32([Math.sin(angle), Math.cos(angle)], { abs: 1.2e-7 });
      },
    ),
    { numRuns: 2000 },
  );
});
