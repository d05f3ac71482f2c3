import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenNumber, goldenTensor } from "../testing/golden.js";
import { mersenneTwister } from "./mersenne.js";
import { createRng, numericSeed, type RngName } from "./rng.js";

interface Call {
  readonly fn: "randn" | "rand" | "randint" | "randperm";
  readonly shape: readonly number[];
  readonly dtype?: string;
}

const cases = goldenCases("rng").map((c) => ({
  ...c,
  calls: c.expected.calls as Call[],
  seed: BigInt(c.config.seed),
}));
const isFloat32 = (c: (typeof cases)[number]) =>
  c.calls.every(({ fn, dtype }) => (fn === "randn" || fn === "rand") && dtype !== "float64");

/** Of torch: `golden-extra/large-draws/make.py`. */
const largeDraws = JSON.parse(
  readFileSync(new URL("../testing/golden-extra/large-draws/draws.json", import.meta.url), "utf8"),
) as { seed: number; length: number; border: number[]; last: number[]; next: number }[];

describe("torch's CPU generator, to the bit", () => {
  const float32 = cases.filter(isFloat32);
  it("is compared on most of the reference cases", () => {
    expect(float32.length).toBeGreaterThanOrEqual(cases.length - 12);
  });

  it.each(float32)("$id", ({ seed, expected }) => {
    const rng = createRng("torch", seed);
    for (const call of expected.calls) {
      const got = call.fn === "rand" ? rng.uniform(call.shape) : rng.normal(call.shape);
      if (call.out) expect(got).toEqual(goldenTensor(call.out).data);
      else {
        expect([...got.slice(0, call.first.length)]).toEqual(call.first);
        expect([...got.slice(-call.last.length)]).toEqual(call.last);
        expect(got.filter((_, i) => i % 1000 === 0)).toEqual(Float32Array.from(call.every_1000th));
        expect(got.reduce((sum, x) => sum + x, 0)).toBeCloseTo(call.sum, 6);
        expect(got.reduce((sum, x) => sum + Math.abs(x), 0)).toBeCloseTo(call.sum_abs, 6);
      }
    }
    expect(rng.uniform([1])[0]).toBe(goldenNumber(expected.next_rand));
  });

  it.each(largeDraws)("$length numbers of seed $seed, which are drawn in several pieces", (expected) => {
    const rng = createRng("torch", expected.seed);
    const values = rng.normal([expected.length]);
    expect([...values.slice(32_760, 32_776)].slice(0, expected.border.length)).toEqual(expected.border);
    expect([...values.slice(-24)]).toEqual(expected.last);
    expect(rng.uniform([1])[0]).toBe(expected.next);
  });

  it("agrees with the published values for seed 42", () => {
    const noise = createRng("torch", 42).normal([1, 4, 64, 64]);
    expect(noise.subarray(0, 6)).toBeCloseTo32([1.9269, 1.4873, 0.9007, -2.1055, 0.6784, -1.2345], {
      abs: 5e-5,
    });
    expect(noise.reduce((sum, x) => sum + x, 0)).toBeCloseTo(149.765, 2);
  });
});

describe("Philox", () => {
  it("gives the reference numbers of the web UI", () => {
    expect(createRng("philox", 0).normal([3, 4])).toBeCloseTo32(
      [
        -0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709,
        -1.07454231, -0.36314407, -1.67105067, 2.26550497,
      ],
      { rel: 1.2e-7 },
    );
  });

  it("multiplies exactly: the words of ten rounds, computed with whole numbers of any size", () => {
    const mask = 0xffffffffn;
    const words = (seed: bigint, index: bigint): [bigint, bigint] => {
      let [k0, k1] = [seed & mask, seed >> 32n];
      let [c0, c1, c2, c3] = [0n, 0n, index, 0n];
      for (let round = 0; round < 10; round++) {
        const [p0, p1] = [c0 * 0xd2511f53n, c2 * 0xcd9e8d57n];
        [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
        [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
      }
      return [c0, c1];
    };
    const uniform = ([a]: [bigint, bigint]) => Number(a >> 8n) / 0x1000000;
    for (const seed of [0n, 7n, 2n ** 64n - 1n]) {
      const drawn = createRng("philox", seed).uniform([40_000]);
      for (const i of [...Array(1000).keys(), 32_767, 32_768, 39_999])
        expect([seed, i, drawn[i]]).toEqual([seed, i, uniform(words(seed, BigInt(i)))]);
    }
  });

  it("starts a new counter with every draw, and uses all 64 bits of the seed", () => {
    const rng = createRng("philox", 7);
    const [first, second] = [rng.normal([8]), rng.normal([8])];
    expect(second).not.toEqual(first);
    expect(createRng("philox", 7).normal([16]).slice(0, 8)).toEqual(first);
    expect(createRng("philox", 7n + 2n ** 32n).normal([8])).not.toEqual(first);
  });
});

describe("every generator", () => {
  const names: RngName[] = ["torch", "philox", "seedrandom"];

  it("draws standard normals and uniforms", () => {
    for (const name of names) {
      const rng = createRng(name, "a seed");
      const normal = rng.normal([2, 4, 64, 64]);
      const mean = normal.reduce((sum, x) => sum + x, 0) / normal.length;
      const variance = normal.reduce((sum, x) => sum + (x - mean) ** 2, 0) / normal.length;
      expect(Math.abs(mean)).toBeLessThan(0.03);
      expect(Math.abs(variance - 1)).toBeLessThan(0.04);
      const uniform = rng.uniform([10_000]);
      expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...uniform)).toBeLessThan(1);
      expect(uniform.reduce((sum, x) => sum + x, 0) / uniform.length).toBeCloseTo(0.5, 1);
    }
  });

  it("gives the same numbers for the same seed, and others for another", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.oneof(fc.nat(), fc.bigInt(0n, 2n ** 64n - 1n), fc.string()),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 3 }),
        (name, seed, shape) => {
          const draw = () => createRng(name, seed).normal(shape);
          expect(draw()).toEqual(draw());
          expect(draw().length).toBe(shape.reduce((a, b) => a * b, 1));
          expect(draw().every(Number.isFinite)).toBe(true);
          expect(createRng(name, `${seed}, another`).normal([4])).not.toEqual(
            createRng(name, seed).normal([4]),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it("gives the same numbers a piece at a time", () => {
    for (const name of names)
      for (const length of [5, 32_768, 100_003]) {
        const [rng, slow] = [createRng(name, 11), createRng(name, 11)];
        const pieces = slow.normalInPieces([length]);
        let times = 0;
        let step = pieces.next();
        for (; !step.done; step = pieces.next()) times++;
        const whole = rng.normal([length]);
        expect(step.value.findIndex((value, i) => value !== whole[i])).toBe(-1);
        expect(times).toBe(length < 16 && name === "torch" ? 0 : Math.ceil(length / 32_768));
        expect(slow.normal([40])).toEqual(rng.normal([40]));
      }
  });

  it("takes a text as the number that seedrandom makes of it", () => {
    const seed = numericSeed("kite");
    expect(Number.isInteger(seed)).toBe(true);
    expect(createRng("torch", "kite").normal([20])).toEqual(createRng("torch", seed).normal([20]));
    expect(createRng("seedrandom", "7").normal([20])).toEqual(createRng("seedrandom", 7).normal([20]));
  });

  it.each<[unknown, RegExp]>([
    [-1, /got -1/],
    [-5n, /got -5/],
    [1.5, /got 1.5/],
    [Number.NaN, /got NaN/],
    [Number.POSITIVE_INFINITY, /got Infinity/],
    [2n ** 64n, /got 18446744073709551616/],
    [2 ** 60, /cannot hold exactly/],
    [undefined, /got a undefined/],
    [null, /got null/],
  ])("refuses the seed %s", (seed, message) => {
    for (const name of names)
      expect(() => createRng(name, seed as number)).toThrow(
        expect.objectContaining({ code: "BAD_OPTION", message: expect.stringMatching(message) }),
      );
  });

  it("refuses an unknown generator and suggests a known one", () => {
    expect(() => createRng("phillox" as RngName, 1)).toThrow(
      expect.objectContaining({ code: "BAD_OPTION", hint: 'Did you mean "philox"?' }),
    );
    expect(() => createRng("constructor" as RngName, 1)).toThrow(/rng: torch/);
  });
});

describe("the Mersenne twister", () => {
  it("gives the published first numbers for seed 5489", () => {
    const bits = mersenneTwister(5489n);
    expect(Array.from({ length: 5 }, bits)).toEqual([
      3499211612, 581869302, 3890346734, 3586334585, 545404204,
    ]);
    for (let i = 5; i < 9999; i++) bits();
    expect(bits()).toBe(4123659995); // the 10,000th, as the C++ standard demands of std::mt19937
  });
});
