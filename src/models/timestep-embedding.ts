/** How a network's config wants its timesteps embedded. */
export interface TimestepEmbedding {
  readonly width: number;
  readonly flipSinToCos: boolean;
  readonly freqShift: number;
}

/**
 * Sinusoidal embedding of timesteps [B] to [B, width] (Ho et al. 2020, section 3.3): half sines, half cosines
 * of t * 10000^(-i / (half - freqShift)). Rounded to float32 after each operation, as torch does, because the
 * argument of a sine near 1000 radians is only known to 6e-5 in float32. An odd width ends in a zero.
 */
export function embedTimesteps(timesteps: readonly number[], options: TimestepEmbedding): Float32Array {
  const { width, flipSinToCos, freqShift } = options;
  const half = Math.floor(width / 2);
  const out = new Float32Array(timesteps.length * width);
  const step = Math.fround(-Math.log(10000));
  for (let i = 0; i < half; i++) {
    const exponent = Math.fround(Math.fround(step * i) / Math.fround(half - freqShift));
    const frequency = Math.fround(Math.exp(exponent));
    timesteps.forEach((t, row) => {
      const angle = Math.fround(Math.fround(t) * frequency);
      out[row * width + i] = flipSinToCos ? Math.cos(angle) : Math.sin(angle);
      out[row * width + half + i] = flipSinToCos ? Math.sin(angle) : Math.cos(angle);
    });
  }
  return out;
}
