/** The x at which the cumulative distribution of Beta(a, b) reaches `p`, for 0 <= p <= 1, to about 1e-14. */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  let [low, high] = [0, 1];
  for (let i = 0; i < 200 && high - low > Number.EPSILON * low; i++) {
    const middle = (low + high) / 2;
    if (betaCumulative(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The regularised incomplete beta function I_x(a, b): DLMF 8.17.22, by Lentz's method. */
function betaCumulative(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaCumulative(1 - x, b, a);
  const front = Math.exp(a * Math.log(x) + b * Math.log1p(-x) - logBeta(a, b)) / a;
  let [c, d, fraction] = [1, 0, 1];
  for (let m = 0; m < 300; m++) {
    const k = Math.floor(m / 2);
    let term = 1;
    if (m > 0)
      term =
        m % 2 === 0
          ? (k * (b - k) * x) / ((a + m - 1) * (a + m))
          : (-(a + k) * (a + b + k) * x) / ((a + m - 1) * (a + m));
    d = 1 / (1 + term * d);
    c = 1 + term / c;
    fraction *= c * d;
    if (m > 0 && Math.abs(c * d - 1) < 1e-16) break;
  }
  return front * (fraction - 1);
}

const logBeta = (a: number, b: number): number => logGamma(a) + logGamma(b) - logGamma(a + b);

/** ln of the gamma function: Lanczos's approximation with g = 7 and nine terms. */
function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const coefficients = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  const y = x - 1;
  const sum = coefficients.reduce((total, c, i) => (i === 0 ? c : total + c / (y + i)), 0);
  const t = y + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}
