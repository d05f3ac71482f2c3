import { internal } from "../errors.js";

/** Above this cosine the two directions count as one and the line between them is taken. */
const NEARLY_PARALLEL = 0.9995;

/**
 * Spherical interpolation from noise `a` (t = 0) to noise `b` (t = 1), which keeps the variance that a straight
 * line would lose (Shoemake, 1985). The web UI's variation seeds: `slerp(strength, noise, subseedNoise, shape)`.
 *
 * @param shape [channels, height, width] of one image's noise in torch's order. With it, every column of every
 *   channel turns by its own angle, as in the web UI (`modules/rng.py`); without it the whole noise by one.
 */
export function slerp(
  t: number,
  a: Float32Array,
  b: Float32Array,
  shape: readonly [channels: number, height: number, width: number] = [1, a.length, 1],
): Float32Array {
  const [channels, height, width] = shape;
  if (a.length !== b.length || channels * height * width !== a.length)
    throw internal(`slerp of ${a.length} and ${b.length} numbers with shape [${shape.join(", ")}]`);

  const starts = Array.from(
    { length: channels * width },
    (_, i) => Math.floor(i / width) * height * width + (i % width),
  );
  const cosines = starts.map((start) => cosine(a, b, start, height, width));
  const parallel = cosines.reduce((sum, c) => sum + c, 0) / cosines.length > NEARLY_PARALLEL;

  const out = new Float32Array(a.length);
  for (const [column, start] of starts.entries()) {
    const angle = Math.acos(Math.min(1, Math.max(-1, cosines[column]!)));
    const sine = Math.sin(angle);
    const straight = parallel || sine === 0;
    const [fromA, fromB] = straight
      ? [1 - t, t]
      : [Math.sin((1 - t) * angle) / sine, Math.sin(t * angle) / sine];
    for (let y = 0, i = start; y < height; y++, i += width) out[i] = fromA * a[i]! + fromB * b[i]!;
  }
  return out;
}

/** Cosine of the angle between two vectors of `length` numbers that lie `stride` apart. */
function cosine(a: Float32Array, b: Float32Array, start: number, length: number, stride: number): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let y = 0, i = start; y < length; y++, i += stride) {
    ab += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}
