import { expect } from "vitest";

export interface Tolerance {
  readonly abs?: number;
  readonly rel?: number;
}

/** The largest violation of |got - want| <= abs + rel*|want|, described for a person. */
function compare(got: ArrayLike<number>, want: ArrayLike<number>, { abs = 0, rel = 0 }: Tolerance) {
  if (got.length !== want.length)
    return { pass: false, text: `got ${got.length} numbers, want ${want.length}` };
  let [worst, where, largest] = [0, -1, 0];
  for (let i = 0; i < want.length; i++) {
    const [g, w] = [got[i]!, want[i]!];
    const same = g === w || (Number.isNaN(g) && Number.isNaN(w));
    const difference = same ? 0 : Math.abs(g - w);
    const excess = same ? -Infinity : difference - (abs + rel * Math.abs(w));
    largest = Math.max(largest, difference);
    if (!(excess <= 0) && !(excess <= worst && where >= 0)) [worst, where] = [excess, i];
  }
  const pairs = Array.from({ length: Math.min(5, want.length) }, (_, i) => `${got[i]} / ${want[i]}`);
  const text =
    where < 0
      ? `largest difference ${largest}`
      : `at ${where} of ${want.length}: got ${got[where]}, want ${want[where]}; largest difference ${largest} (abs ${abs}, rel ${rel}); first got / want: ${pairs.join(", ")}`;
  return { pass: where < 0, text };
}

expect.extend({
  /** Elementwise |got - want| <= abs + rel*|want|. */
  toBeCloseTo32(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: Tolerance) {
    const { pass, text } = compare(got, want, tolerance);
    return { pass, message: () => text };
  },
});

interface NumericMatchers<R = unknown> {
  toBeCloseTo32(want: ArrayLike<number>, tolerance: Tolerance): R;
}

declare module "vitest" {
  // biome-ignore lint/suspicious/noExplicitAny: vitest's own signature
  interface Assertion<T = any> extends NumericMatchers<T> {}
  interface AsymmetricMatchersContaining extends NumericMatchers {}
}
