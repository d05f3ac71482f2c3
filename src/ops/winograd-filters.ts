/**
 * Winograd's minimal filtering F(m, 3) along one axis: m results of a filter with three taps from m + 2 pixels, by
 * m + 2 multiplications (Lavin and Gray 2015; the matrices as Toom and Cook make them, Barabasz et al. 2018,
 * "Error analysis and improving the accuracy of Winograd convolution"). Along both axes they work on rows, then on
 * columns.
 */
export interface Filter {
  /** From a tile's pixels to the places of the products, as many of both. */
  readonly pixels: readonly (readonly number[])[];
  /** From the three taps to the places. */
  readonly taps: readonly (readonly [number, number, number])[];
  /** From the places to the tile's results. */
  readonly results: readonly (readonly number[])[];
}

/**
 * The filter of these points and infinity: a place holds the product of two polynomials, whose coefficients are pixels
 * and taps, at its point.
 *
 * @param points as many as pixels, without the last
 */
export function filterOf(points: readonly number[]): Filter {
  const results = points.length - 1;
  /** The polynomial that is zero at these points, lowest coefficient first. */
  const vanishing = (at: readonly number[]): number[] => {
    let polynomial = [1];
    for (const point of at)
      polynomial = [...polynomial, 0].map((_, i) => (polynomial[i - 1] ?? 0) - point * (polynomial[i] ?? 0));
    return polynomial;
  };
  const others = points.map((point) => points.filter((other) => other !== point));
  const exact = (x: number) => (Math.abs(x) < 1e-12 ? 0 : x);
  return {
    pixels: [...others.map((at) => [...vanishing(at), 0]), vanishing(points)].map((row) => row.map(exact)),
    taps: [
      ...points.map((point, i): [number, number, number] => {
        // By size, so that opposite points have the same to the last bit.
        const differences = others[i]!.map((other) => point - other);
        const scale = differences.sort((a, b) => Math.abs(a) - Math.abs(b)).reduce((a, b) => a * b, 1);
        return [1 / scale, point / scale, point ** 2 / scale];
      }),
      [0, 0, 1],
    ],
    results: Array.from({ length: results }, (_, power) => [
      ...points.map((point) => point ** power),
      power === results - 1 ? 1 : 0,
    ]),
  };
}

/**
 * F(4x4, 3x3). The usual points 0, 1, -1, 2, -2 lose a decimal place to rounding; with these it is as near as F(2x2, 3x3)
 * (bench/NOTES.md), since a point, its opposite and its inverse keep all coefficients near one.
 */
export const filter4 = filterOf([0, Math.SQRT1_2, -Math.SQRT1_2, Math.SQRT2, -Math.SQRT2]);
