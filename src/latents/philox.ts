import { size } from "./latents.js";
import type { Rng } from "./random-stream.js";

const ROUNDS = 10;
const UNIT = 2 ** -32;

/**
 * Philox 4x32-10 (Salmon et al., 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") as torch's CUDA generator
 * counts it: each draw has its own offset in counter word 0, each element its index in word 2; the key is the
 * 64-bit seed. Noise made on a GPU (the web UI's default, and its `RNG: NV`) can be had again from it.
 */
export function philox(seed: bigint): Rng {
  const key: [number, number] = [Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn)];
  let offset = 0;
  const draw = (shape: readonly number[], value: (a: number, b: number) => number) => {
    const values = new Float32Array(size(shape));
    const words = new Uint32Array(4);
    for (let i = 0; i < values.length; i++) {
      words.set([offset, 0, i, 0]);
      scramble(words, key);
      values[i] = value(words[0]!, words[1]!);
    }
    offset += 1;
    return values;
  };
  return {
    normal: (shape) =>
      draw(shape, (a, b) => {
        const radius = Math.sqrt(-2 * Math.log((a + 0.5) * UNIT));
        return radius * Math.sin((b + 0.5) * UNIT * 2 * Math.PI);
      }),
    uniform: (shape) => draw(shape, (a) => (a >>> 8) / 0x1000000),
  };
}

/** Ten rounds of Philox on a counter of four words, in place. */
function scramble(counter: Uint32Array, key: readonly [number, number]): void {
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const [high0, low0] = multiply(counter[0]!, 0xd2511f53);
    const [high1, low1] = multiply(counter[2]!, 0xcd9e8d57);
    counter[0] = high1 ^ counter[1]! ^ k0;
    counter[1] = low1;
    counter[2] = high0 ^ counter[3]! ^ k1;
    counter[3] = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
}

/** The 64-bit product of two unsigned 32-bit integers as two words. */
function multiply(a: number, b: number): [high: number, low: number] {
  const high = a * (b >>> 16); // below 2^48: exact
  const low = a * (b & 0xffff);
  const sum = (high % 0x10000) * 0x10000 + low; // below 2^49: exact
  return [Math.floor(high / 0x10000) + Math.floor(sum / 0x100000000), sum >>> 0];
}
