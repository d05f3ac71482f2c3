/** A stream of random numbers. A tensor is drawn in C order of the shape given; torch draws latents as NCHW. */
export interface Rng {
  /** Standard normal numbers. */
  normal(shape: readonly number[]): Float32Array;
  /** Uniform numbers in [0, 1). */
  uniform(shape: readonly number[]): Float32Array;
}
