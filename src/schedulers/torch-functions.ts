import { fma } from "../latents/float32-math.js";
import { rsqrtCorrections } from "./rsqrt-table.js";
import { f32 } from "./vector.js";

/**
 * Square root, exponential and logarithm of float32 numbers with the last bit that PyTorch and numpy give them, where
 * that bit decides: a Brownian path asks for its noise at levels rounded to six digits.
 *
 * PyTorch's x86 builds take these functions from a vector library that has one form for Intel's processors and one for
 * all others. What is computed here is the second, read from its results and compared with them over millions of
 * numbers. The first is correctly rounded but for rare last bits; the arithmetic on samples keeps to Math.sqrt, Math.exp
 * and Math.log, rounded, which both are close to.
 */

const single = new Float32Array(1);
const bits = new Int32Array(single.buffer);

/** torch.sqrt: two Newton steps from an estimate of 1 / sqrt(x) with 12 bits. */
export function sqrt(value: number): number {
  const x = f32(value);
  if (!(x >= 2 ** -126 && x < Number.POSITIVE_INFINITY)) return f32(Math.sqrt(x));
  const estimate = reciprocalRoot(x);
  const [rough, half] = [f32(x * estimate), f32(0.5 * estimate)];
  const error = f32(0.5 - f32(rough * half));
  const root = f32(f32(rough * error) + rough);
  const slope = f32(f32(half * error) + half);
  return f32(f32(f32(x - f32(root * root)) * slope) + root);
}

const corrections = Uint8Array.from(atob(rsqrtCorrections), (character) => character.charCodeAt(0));

/** About 1 / sqrt(x), the same over each of 4096 cells of an octave. */
function reciprocalRoot(x: number): number {
  single[0] = x;
  const above1 = bits[0]! - 0x3f800000;
  const cell = (above1 & 0xffffff) >>> 11;
  const middle = (1 + ((cell & 4095) + 0.5) / 4096) * (cell < 4096 ? 1 : 2);
  const correction = (corrections[cell >> 2]! >> (2 * (cell & 3))) & 3;
  return ((Math.floor(2 ** 13 / Math.sqrt(middle)) + correction) / 2 ** 13) * 2 ** -(above1 >> 24);
}

const LN2_HIGH = 0.693145751953125;
const LN2_LOW = f32(1.428606765330187e-6);
/** ln(1 + r) = r - r^2 / 2 + r^3 (...): the coefficients in brackets, the highest power first. */
const LOG = [
  -0.12891685962677002, 0.1398443728685379, -0.12184260785579681, 0.140058696269989, -0.16680487990379333,
  0.20010405778884888, -0.24999797344207764, 0.3333321511745453, -0.5,
].map(f32);

/** torch.log of a normal positive float32. */
export function log(value: number): number {
  if (!(value >= 2 ** -126 && value < Number.POSITIVE_INFINITY)) return f32(Math.log(value));
  single[0] = value;
  const above = bits[0]! - 0x3f2aaaab; // 2/3: x = m * 2^k with m from 2/3 to 4/3
  const k = above >> 23;
  bits[0] = (above & 0x7fffff) + 0x3f2aaaab;
  const r = f32(single[0]! - 1);
  let p = 0;
  for (const coefficient of LOG) p = f32(f32(p * r) + coefficient);
  const tail = f32(f32(f32(p * r) * r) + r);
  return f32(f32(k * LN2_HIGH) + f32(f32(k * LN2_LOW) + tail));
}

/** 2^(j / 128) as the sum of two float32 numbers. */
const powers = Array.from({ length: 128 }, (_, j) => {
  const exact = 2 ** (j / 128);
  return { high: f32(exact), low: f32(exact - f32(exact)) };
});
const STEP_HIGH = 0.0054168701171875; // ln 2 / 128 in two parts, the second of which is subtracted
const STEP_LOW = f32(1.6577690757912933e-6);
const STEPS = f32(184.6649627685547); // 128 / ln 2
const ROUNDING = 12582912; // 1.5 * 2^23: what is added to it is rounded to a whole number

/** torch.exp of a float32 between -87 and 88. */
export function exp(value: number): number {
  const x = f32(value);
  if (!(Math.abs(x) < 87)) return f32(Math.exp(x));
  const n = f32(f32(x * STEPS) + ROUNDING) - ROUNDING;
  const r = f32(f32(n * STEP_LOW) + f32(x - f32(n * STEP_HIGH)));
  const p = f32(f32(f32(r * r) * 0.5) + r);
  const { high, low } = powers[n & 127]!;
  return f32(f32(f32(f32(p * high) + low) + high) * 2 ** (n >> 7));
}

/** ln(1 + r) as a quotient of polynomials in r, the highest power first. */
const NUMERATOR = [
  0.025899791179079226, 0.3808837741388408, 1.4800006335765066, 2.112677543073053, 0.9999999999999999, 0,
].map(f32);
const DENOMINATOR = [
  0.005875095403124574, 0.15464763749839067, 0.9864942958519419, 2.453006071784736, 2.6126775430731093, 1,
].map(f32);

/** numpy.log of a float32 array's element (not of a float64 one, which is Math.log's). */
export function numpyLog(value: number): number {
  if (!(value >= 2 ** -126 && value < Number.POSITIVE_INFINITY)) return f32(Math.log(value));
  single[0] = value;
  let k = (bits[0]! >> 23) - 126;
  bits[0] = (bits[0]! & 0x7fffff) | 0x3f000000; // 0.5 <= m < 1
  let m = single[0]!;
  if (m <= f32(Math.SQRT1_2)) [k, m] = [k - 1, 2 * m];
  const r = f32(m - 1);
  const polynomial = (coefficients: readonly number[]) => coefficients.reduce((y, c) => fma(y, r, c));
  return fma(k, f32(Math.LN2), f32(polynomial(NUMERATOR) / polynomial(DENOMINATOR)));
}
