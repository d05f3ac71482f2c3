import { expect, test } from "vitest";
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from "./float16.js";

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bits = (values: Float32Array) => new Uint32Array(values.buffer);
const fromBits = (...patterns: number[]) => new Float32Array(Uint32Array.from(patterns).buffer);

/** The value of a half by the definition of IEEE 754, computed in doubles. */
function halfValue(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Infinity;
  return sign * (exponent ? (1 + mantissa / 1024) * 2 ** (exponent - 15) : (mantissa / 1024) * 2 ** -14);
}

test("every float16 widens to its value and narrows back to its pattern", () => {
  const wide = float16ToFloat32(all);
  expect(wide.every((value, i) => Object.is(value, halfValue(i)))).toBe(true);
  const back = float32ToFloat16(wide);
  const changed = all.filter((half, i) => back[i] !== half);
  // Only signalling NaNs change: they become quiet and stay NaN.
  expect(changed.every((half) => (half & 0x7e00) === 0x7c00 && (half & 0x1ff) !== 0)).toBe(true);
  expect(back.every((half, i) => Number.isNaN(halfValue(half)) === Number.isNaN(halfValue(i)))).toBe(true);
});

test("narrowing to float16 takes the nearest, ties to even", () => {
  // Around each pair of neighbours: just below the middle, the middle, just above it.
  for (let half = 0; half < 0x7bff; half += 7) {
    const middle = (halfValue(half) + halfValue(half + 1)) / 2; // exact in float32
    const [pattern] = bits(Float32Array.of(middle));
    const got = float32ToFloat16(
      fromBits(pattern! - 1, pattern!, pattern! + 1, (pattern! | 0x80000000) >>> 0),
    );
    const even = half % 2 ? half + 1 : half;
    expect([...got]).toEqual([half, even, half + 1, even | 0x8000]);
  }
});

test("float16 overflows from 65520 on and underflows below 2^-25", () => {
  const got = float32ToFloat16(
    Float32Array.of(65519.996, 65520, 1e30, Infinity, -Infinity, 2 ** -25, 2 ** -24, -0, 1e-45),
  );
  expect([...got]).toEqual([0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00, 0, 1, 0x8000, 0]);
  expect(float32ToFloat16(fromBits(0x7f800001, 0xffc00000))).toEqual(Uint16Array.of(0x7e00, 0xfe00));
});

test("every bfloat16 widens to the float32 with the same leading bits and narrows back", () => {
  const wide = bfloat16ToFloat32(all);
  expect(bits(wide).every((pattern, i) => pattern === (i << 16) >>> 0)).toBe(true);
  const back = float32ToBfloat16(wide);
  const changed = all.filter((half, i) => back[i] !== half);
  expect(changed.every((half) => (half & 0x7f80) === 0x7f80 && (half & 0x7f) !== 0)).toBe(true);
});

test("narrowing to bfloat16 takes the nearest, ties to even", () => {
  const got = float32ToBfloat16(
    fromBits(0x3f807fff, 0x3f808000, 0x3f808001, 0x3f818000, 0x00008000, 0x00018000, 0x7f7fffff, 0x7f800001),
  );
  expect([...got]).toEqual([0x3f80, 0x3f80, 0x3f81, 0x3f82, 0, 2, 0x7f80, 0x7fc0]);
});
