import seedrandom from "seedrandom";
import { DiffusionError, demand, nearest } from "../errors.js";
import { boxMuller } from "./box-muller.js";
import { size } from "./latents.js";
import { philox } from "./philox.js";
import { inOne, oneByOne, type Rng } from "./random-stream.js";
import { torchCpu } from "./torch-cpu.js";

export type { Rng };

/** "torch" is torch's CPU generator, "philox" its CUDA one, "seedrandom" the npm package of that name. */
export type RngName = "torch" | "philox" | "seedrandom";
export type Seed = number | bigint | string;

const MAX_SEED = 2n ** 64n - 1n;

const generators: Record<RngName, (seed: Seed) => Rng> = {
  torch: (seed) => torchCpu(BigInt(numericSeed(seed))),
  philox: (seed) => philox(BigInt(numericSeed(seed))),
  seedrandom: (seed) => fromSeedrandom(String(typeof seed === "string" ? seed : checkedSeed(seed))),
};

/**
 * A generator of random numbers.
 *
 * @param seed a whole number from 0 to 2^64 - 1 (as a bigint above 2^53 - 1), or any text. Torch's CPU generator
 *   uses the low 32 bits of it. Text goes through seedrandom: with "torch" and "philox" it becomes the number
 *   that `numericSeed` returns, so that the picture can be made again from that number.
 */
export function createRng(name: RngName, seed: Seed): Rng {
  if (!Object.hasOwn(generators, name)) {
    const names = Object.keys(generators);
    const guess = nearest(String(name), names);
    throw new DiffusionError(
      "BAD_OPTION",
      `rng: ${names.join(", ")} are known, got ${typeof name === "string" ? JSON.stringify(name) : String(name)}`,
      {
        ...(guess && { hint: `Did you mean "${guess}"?` }),
      },
    );
  }
  const rng = generators[name](seed);
  return {
    normal: (shape) => rng.normal(checkedShape(shape)),
    normalInPieces: (shape) => rng.normalInPieces(checkedShape(shape)),
    uniform: (shape) => rng.uniform(checkedShape(shape)),
  };
}

function checkedShape(shape: readonly number[]): readonly number[] {
  demand("shape", shape, "list");
  const odd = shape.find((extent) => !(Number.isInteger(extent) && extent >= 0));
  if (odd === undefined) return shape;
  throw new DiffusionError("BAD_OPTION", `shape: expected whole numbers, got ${odd}`);
}

/** The seed as a number: text becomes the first 32 bits that seedrandom draws from it. */
export const numericSeed = (seed: Seed): number | bigint =>
  typeof seed === "string" ? seedrandom(seed).int32() >>> 0 : checkedSeed(seed);

function checkedSeed(seed: number | bigint): number | bigint {
  const problem = (what: string, hint: string) =>
    new DiffusionError("BAD_OPTION", `seed: expected a whole number from 0 to 2^64 - 1, got ${what}`, {
      hint,
    });
  if (typeof seed !== "bigint" && typeof seed !== "number")
    throw problem(seed === null ? "null" : `a ${typeof seed}`, "Pass a number, a bigint or a text.");
  if (typeof seed === "number" && !Number.isInteger(seed))
    throw problem(String(seed), "Leave out the fraction; a text such as a name is a seed too.");
  if (seed < 0) throw problem(String(seed), "Leave the seed out to have one drawn.");
  if (seed > MAX_SEED) throw problem(String(seed), "Use a smaller number.");
  if (typeof seed === "number" && !Number.isSafeInteger(seed))
    throw problem(`${seed}, which a number cannot hold exactly`, `Write it as a bigint: ${seed}n.`);
  return seed;
}

/** seedrandom's ARC4 stream as normals: Box-Muller on pairs of its doubles, the radius drawn before the angle. */
function fromSeedrandom(seed: string): Rng {
  const random = seedrandom(seed);
  const next = boxMuller(() => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return { radius, angle: 2 * Math.PI * random() };
  });
  const normalInPieces = (shape: readonly number[]) => oneByOne(size(shape), next);
  return {
    normal: (shape) => inOne(normalInPieces(shape)),
    normalInPieces,
    // 24 bits fit a float32 exactly; rounding a double could give 1
    uniform: (shape) => new Float32Array(size(shape)).map(() => (random.int32() >>> 8) / 0x1000000),
  };
}
