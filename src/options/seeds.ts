import { numericSeed, type Seed } from "../latents/rng.js";

/** What the noise of a generation is made of. */
export interface Seeding {
  readonly seed: Seed;
  /** Turns the seed's noise by `strength` towards another seed's. */
  readonly variation?: { readonly seed: Seed; readonly strength: number } | undefined;
}

/** Seeds of one picture, as numbers; a bigint beyond 2^53 - 1. */
export interface PictureSeeds {
  readonly seed: number | bigint;
  readonly variationSeed?: number | bigint;
}

/**
 * Picture i of a generation uses seed + i; where it is varied (by more than 0), variation seed + i, and the one seed.
 *
 * @param picture counted from 0
 */
export function seedsOfPicture({ seed, variation }: Seeding, picture: number): PictureSeeds {
  if (!variation || variation.strength === 0) return { seed: plus(seed, picture) };
  return { seed: plus(seed, 0), variationSeed: plus(variation.seed, picture) };
}

function plus(seed: Seed, count: number): number | bigint {
  const sum = BigInt(numericSeed(seed)) + BigInt(count);
  return sum <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sum) : sum;
}
