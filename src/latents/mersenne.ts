/** Numbers of 32 random bits, one per call. */
export type Bits = () => number;

const SIZE = 624;
const SHIFT = 397;

/**
 * MT19937 (Matsumoto and Nishimura, 1998, "Mersenne Twister"), seeded as the reference code's `init_genrand`
 * does. Only the low 32 bits of `seed` count, as in torch.
 */
export function mersenneTwister(seed: bigint): Bits {
  const state = new Uint32Array(SIZE);
  state[0] = Number(seed & 0xffffffffn);
  for (let i = 1; i < SIZE; i++) {
    const previous = state[i - 1]!;
    state[i] = Math.imul(1812433253, previous ^ (previous >>> 30)) + i;
  }
  let position = SIZE;
  return () => {
    if (position === SIZE) {
      twist(state);
      position = 0;
    }
    let y = state[position++]!;
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

function twist(state: Uint32Array): void {
  for (let i = 0; i < SIZE; i++) {
    const y = (state[i]! & 0x80000000) | (state[(i + 1) % SIZE]! & 0x7fffffff);
    state[i] = state[(i + SHIFT) % SIZE]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
  }
}
