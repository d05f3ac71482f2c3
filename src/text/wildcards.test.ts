import { describe, expect, test } from "vitest";
import { namedLists, wildcardLines, wildcards } from "./wildcards.js";

const lists = {
  colour: ["red", "green", "blue", "yellow"],
  animal: ["a __colour__ cat", "{big|small} dog"],
  "places/north": ["in the snow"],
};
const draw = (text: string, seed: number | bigint = 1) => wildcards(seed, lists, "prompt")(text);

test("the same seed draws the same words, for ever: exact values", () => {
  const text = "{a|b|c} __colour__ __animal__, __places/north__";
  expect([1, 2, 3, 4, 2n ** 64n - 1n].map((seed) => draw(text, seed))).toEqual([
    "c green big dog, in the snow",
    "b red big dog, in the snow",
    "c yellow a yellow cat, in the snow",
    "b green a green cat, in the snow",
    "a blue a blue cat, in the snow",
  ]);
  expect(draw(text, 3)).toBe(draw(text, 3));
  expect(wildcards(3, lists, "negative")("{1|2|3|4|5|6|7|8|9}{1|2|3|4|5|6|7|8|9}")).not.toBe(
    draw("{1|2|3|4|5|6|7|8|9}{1|2|3|4|5|6|7|8|9}", 3),
  );
});

test("each part comes about as often as the others, or as its weight says", () => {
  const count = (text: string, word: string) =>
    Array.from({ length: 2000 }, (_, seed) => draw(text, seed)).filter((one) => one === word).length;
  for (const word of ["a", "b", "c", "d"]) expect(Math.abs(count("{a|b|c|d}", word) - 500)).toBeLessThan(75);
  expect(Math.abs(count("{3::a|b}", "a") - 1500)).toBeLessThan(75);
  expect(count("{0::a|b}", "b")).toBe(2000);
});

test("several of a choice: none twice, in the order they were drawn", () => {
  for (let seed = 0; seed < 50; seed++) {
    const drawn = draw("{2$$a|b|c}", seed).split(", ");
    expect(new Set(drawn).size).toBe(2);
    expect(["a", "b", "c"]).toEqual(expect.arrayContaining(drawn));
  }
  expect(draw("{9$$ a | b }").split(", ").sort()).toEqual(["a", "b"]);
  expect(draw("{3$$a|b|c}").split(", ").sort()).toEqual(["a", "b", "c"]);
});

describe("what is no wildcard stays as it is", () => {
  test.each([
    "a dog",
    "{dog}",
    "{dog",
    "dog}|{",
    "[cat|dog]",
    "(a:1.2) [a:b:0.5] a AND b BREAK c",
    "\\{a|b\\}",
    "snake_case __ two__",
  ])("%s", (text) => {
    expect(draw(text)).toBe(text);
  });

  test("signs within brackets are the prompt's own", () => {
    const drawn = Array.from({ length: 30 }, (_, seed) => draw("{[cat|dog]|<lora:x:1>}", seed));
    expect(new Set(drawn)).toEqual(new Set(["[cat|dog]", "<lora:x:1>"]));
  });
});

test("choices lie in each other", () => {
  const drawn = Array.from({ length: 60 }, (_, seed) => draw("{a{1|2}|b}", seed));
  expect(new Set(drawn)).toEqual(new Set(["a1", "a2", "b"]));
});

test("an unknown list, and lists that name each other, are refused by name", () => {
  expect(() => draw("__color__")).toThrow("there is no wildcard color");
  expect(() => draw("__toString__")).toThrow("there is no wildcard toString");
  expect(() => wildcards(1, { a: ["__b__"], b: ["__a__"] }, "prompt")("__a__")).toThrow(
    "wildcards lie more than 20 deep in each other",
  );
});

test("the lists that a text can come to", () => {
  expect(Object.keys(namedLists(["an __animal__, {a|b}"], lists))).toEqual(["animal", "colour"]);
  expect(() => namedLists(["{a|__color__}"], lists)).toThrow("there is no wildcard color");
  expect(namedLists(["{a|__places/north__}"], lists)).toEqual({ "places/north": ["in the snow"] });
});

test("lines of a file", () => {
  expect(wildcardLines("\ufeff# colours\r\nred\r\n\r\n  green \n#blue\n")).toEqual(["red", "green"]);
});
