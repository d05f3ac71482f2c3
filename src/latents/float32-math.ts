/**
 * Logarithm, sine and cosine with the rounding of torch's vector code on x86: the Cephes polynomials
 * (Moshier, `logf.c` and `sincosf.c`) in float32, each product-and-sum fused. Only with the same rounding at
 * every step are random numbers equal to torch's to the last bit; `Math.log` differs in two of three.
 */

const round = Math.fround;
const constants = (...values: number[]): readonly number[] => values.map(round);

const [SQRT_HALF, LN2_LOW, LN2_HIGH] = constants(Math.SQRT1_2, -2.1219444e-4, 0.693359375) as [
  number,
  number,
  number,
];
const LOG = constants(
  7.0376836292e-2,
  -1.151461031e-1,
  1.167699874e-1,
  -1.2420140846e-1,
  1.4249322787e-1,
  -1.6668057665e-1,
  2.0000714765e-1,
  -2.4999993993e-1,
  3.3333331174e-1,
);
const FOUR_OVER_PI = round(4 / Math.PI);
/** -pi/4 in three parts, so that multiples of it can be taken off without losing bits. */
const MINUS_QUARTER_PI = constants(-0.78515625, -2.4187564849853516e-4, -3.774894977445941e-8);
const SIN = constants(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1);
const COS = constants(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2);

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer); // [low, high]: x86 and ARM are little-endian
const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

/**
 * a*b + c rounded once to float32, for float32 arguments. Their product is exact in float64; the sum is not,
 * so that a sum that float64 rounds onto the middle between two float32 numbers has to be put back on the side
 * where the exact one lies (the error of the sum: Knuth's TwoSum).
 */
export function fma(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const part = sum - product;
  const error = product - (sum - part) + (c - part);
  if (error === 0) return round(sum);
  double[0] = sum;
  if ((doubleWords[0]! & 0x1fffffff) === 0x10000000) doubleWords[0]! += error > 0 === sum > 0 ? 1 : -1;
  return round(double[0]!);
}

const polynomial = (coefficients: readonly number[], x: number): number =>
  coefficients.reduce((y, coefficient) => fma(y, x, coefficient));

/** Natural logarithm of a normal positive float32. */
export function log(x: number): number {
  single[0] = x;
  let exponent = (singleBits[0]! >>> 23) - 126;
  singleBits[0] = (singleBits[0]! & 0x007fffff) | 0x3f000000;
  let m = single[0]!; // x = m * 2^exponent, 0.5 <= m < 1
  if (m < SQRT_HALF) {
    exponent -= 1;
    m = round(round(m - 1) + m);
  } else m = round(m - 1);
  const square = round(m * m);
  const tail = fma(round(polynomial(LOG, m) * m), square, round(exponent * LN2_LOW));
  return fma(exponent, LN2_HIGH, round(m + fma(-square, 0.5, tail)));
}

/** Sine and cosine of a float32 in [0, 8192). */
export function sincos(x: number): [sin: number, cos: number] {
  const octant = (Math.trunc(round(x * FOUR_OVER_PI)) + 1) & ~1;
  const r = MINUS_QUARTER_PI.reduce((rest, part) => fma(octant, part, rest), x);
  const square = round(r * r);
  const cos = round(fma(round(polynomial(COS, square) * square), square, -round(square * 0.5)) + 1);
  const sin = fma(round(polynomial(SIN, square) * square), r, r);
  const swapped = (octant & 2) !== 0;
  return [
    octant & 4 ? -(swapped ? cos : sin) : swapped ? cos : sin,
    (octant - 2) & 4 ? (swapped ? sin : cos) : -(swapped ? sin : cos),
  ];
}
