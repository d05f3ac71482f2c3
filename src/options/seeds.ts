import { demand } from "../errors.js";
import { numericSeed, type Seed } from "../latents/rng.js";

/** What the noise of several pictures is made of. */
export interface Seeding {
  readonly seed: Seed;
  /** Turns the seed's noise by `strength` towards another seed's. */
  readonly variation?: { readonly seed: Seed; readonly strength: number };
}

/** The same of one picture, in numbers; a bigint beyond 2^53 - 1. */
export interface PictureSeeding {
  readonly seed: number | bigint;
  readonly variation?: { readonly seed: number | bigint; readonly strength: number };
}

/**
 * Picture i of a generation uses seed + i; where the noise is varied (by more than 0), variation seed + i and the one
 * seed. For those who make the pictures of a generation one by one.
 *
 * @param picture counted from 0
 */
export function seedsOfPicture(seeding: Seeding, picture: number): PictureSeeding {
  demand("seeds", seeding, "object");
  const { seed, variation } = seeding;
  if (!variation || variation.strength === 0) return { seed: plus(seed, picture) };
  const other = { seed: plus(variation.seed, picture), strength: variation.strength };
  return { seed: plus(seed, 0), variation: other };
}

function plus(seed: Seed, count: number): number | bigint {
  const sum = BigInt(numericSeed(seed)) + BigInt(count);
  return sum <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(sum) : sum;
}
