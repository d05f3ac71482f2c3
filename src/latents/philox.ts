import { size } from "./latents.js";
import { inOne, oneByOne, type Rng } from "./random-stream.js";

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
    const words = new Uint32Array(4);
    const own = offset++;
    return oneByOne(size(shape), (i) => {
      words[0] = own;
      words[1] = 0;
      words[2] = i;
      words[3] = 0;
      scramble(words, key);
      return value(words[0], words[1]);
    });
  };
  const normalInPieces = (shape: readonly number[]) =>
    draw(shape, (a, b) => {
      const radius = Math.sqrt(-2 * Math.log((a + 0.5) * UNIT));
      return radius * Math.sin((b + 0.5) * UNIT * 2 * Math.PI);
    });
  return {
    normal: (shape) => inOne(normalInPieces(shape)),
    normalInPieces,
    uniform: (shape) => inOne(draw(shape, (a) => (a >>> 8) / 0x1000000)),
  };
}

/** Ten rounds of Philox on a counter of four words, in place. */
function scramble(counter: Uint32Array, key: readonly [number, number]): void {
  let [k0, k1] = key;
  let [c0, c1, c2, c3] = [counter[0]!, counter[1]!, counter[2]!, counter[3]!];
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highWord(c0, 0xd2511f53);
    const low0 = Math.imul(c0, 0xd2511f53);
    const high1 = highWord(c2, 0xcd9e8d57);
    const low1 = Math.imul(c2, 0xcd9e8d57);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  counter[0] = c0;
  counter[1] = c1;
  counter[2] = c2;
  counter[3] = c3;
}

/** The upper word of the 64-bit product of two unsigned 32-bit integers, by halves: no sum exceeds 32 bits. */
function highWord(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) >>> 0;
  const other = (Math.imul(a0, b1) + (middle & 0xffff)) >>> 0;
  return (Math.imul(a1, b1) + (middle >>> 16) + (other >>> 16)) >>> 0;
}
