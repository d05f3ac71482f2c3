/** A stream of random numbers. A tensor is drawn in C order of the shape given; torch draws latents as NCHW. */
export interface Rng {
  /** Standard normal numbers. */
  normal(shape: readonly number[]): Float32Array;
  /** The same, a piece at a time: whoever draws millions lets others have the thread in between. */
  normalInPieces(shape: readonly number[]): Generator<undefined, Float32Array>;
  /** Uniform numbers in [0, 1). */
  uniform(shape: readonly number[]): Float32Array;
}

/** Numbers that are drawn a piece at a time, and are there at the end. */
export type Pieces = Generator<undefined, Float32Array>;

/** Numbers of a piece, which take a few milliseconds. A multiple of 16, the block that torch draws at once. */
export const PIECE = 2 ** 15;

/** All pieces one after the other. */
export function inOne(pieces: Pieces): Float32Array {
  for (;;) {
    const { done, value } = pieces.next();
    if (done) return value;
  }
}

/** Each number drawn by itself, in order. */
export function* oneByOne(length: number, next: (index: number) => number): Pieces {
  const values = new Float32Array(length);
  for (let start = 0; start < length; start += PIECE) {
    const end = Math.min(length, start + PIECE);
    for (let i = start; i < end; i++) values[i] = next(i);
    yield;
  }
  return values;
}
