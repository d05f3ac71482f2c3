import { expect, it } from "vitest";
import { numericSeed } from "../latents/rng.js";
import { seedsOfPicture } from "./seeds.js";

it("counts seeds upwards from a number or a text, beyond 2^53 as bigints", () => {
  expect(seedsOfPicture({ seed: 7 }, 2)).toEqual({ seed: 9 });
  expect(seedsOfPicture({ seed: 2 ** 53 - 1 }, 1)).toEqual({ seed: 2n ** 53n });
  expect(seedsOfPicture({ seed: 5n }, 0)).toEqual({ seed: 5 });
  expect(seedsOfPicture({ seed: "a text" }, 1)).toEqual({ seed: Number(numericSeed("a text")) + 1 });
});

it("counts the variation's seeds where there is one, and keeps the seed", () => {
  const variation = { seed: 3, strength: 0.5 };
  expect(seedsOfPicture({ seed: 7, variation }, 2)).toEqual({
    seed: 7,
    variation: { seed: 5, strength: 0.5 },
  });
  expect(seedsOfPicture({ seed: 7, variation: { seed: 3, strength: 0 } }, 2)).toEqual({ seed: 9 });
});
