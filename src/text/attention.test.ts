import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Piece, parseAttention } from "./attention.js";
import { parseCompel } from "./compel.js";

const pairs = (pieces: Piece[]) =>
  pieces.map((piece) => (piece === "break" ? piece : [piece.text, piece.weight]));

describe("attention of the web UI", () => {
  it.each<[string, unknown[]]>([
    ["normal text", [["normal text", 1]]],
    [
      "an (important) word",
      [
        ["an ", 1],
        ["important", 1.1],
        [" word", 1],
      ],
    ],
    ["(unbalanced", [["unbalanced", 1.1]]],
    ["\\(literal\\]", [["(literal]", 1]]],
    ["(unnecessary)(parens)", [["unnecessaryparens", 1.1]]],
    [
      "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
      [
        ["a ", 1],
        ["house", 1.5730000000000004],
        [" ", 1.1],
        ["on", 1],
        [" a ", 1.1],
        ["hill", 0.55],
        [", sun, ", 1.1],
        ["sky", 1.4641000000000006],
        [".", 1.1],
      ],
    ],
    ["", [["", 1]]],
    ["[less]", [["less", 1 / 1.1]]],
    [
      "(x: 1.5 ) (y:-1)",
      [
        ["x", 1.5],
        [" ", 1],
        ["y", -1],
      ],
    ],
    ["a) b] c:d 1:2", [["a) b] c:d 1:2", 1]]],
    ["(a:b)", [["a:b", 1.1]]],
    ["(a:1.2.3)", [["a:1.2.3)", 1.1]]],
    ["a\\\\b \\c", [["a\\b c", 1]]],
  ])("%s", (prompt, want) => {
    expect(pairs(parseAttention(prompt))).toEqual(want);
  });

  it("breaks at the word BREAK alone, inside brackets too", () => {
    expect(pairs(parseAttention("a  BREAK\n b"))).toEqual([["a", 1], "break", ["b", 1]]);
    expect(pairs(parseAttention("(a BREAK b)"))).toEqual([["a", 1.1], "break", ["b", 1.1]]);
    expect(pairs(parseAttention("BREAKFAST, break"))).toEqual([["BREAKFAST, break", 1]]);
  });

  it("keeps every other character, whatever the weights", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", " b", "[", "]", "(", ")", ",", "\\(", "\\]"),
      maxLength: 30,
    });
    fc.assert(
      fc.property(text, (prompt) => {
        const words = (s: string) => s.replace(/[^ab,]/g, "");
        const pieces = parseAttention(prompt).map((piece) => (piece === "break" ? "" : piece.text));
        expect(words(pieces.join(""))).toBe(words(prompt));
      }),
    );
  });
});

describe("weights of compel", () => {
  const up = (n: number) => 1.1 ** n;
  const down = (n: number) => 0.9 ** n;
  it.each<[string, unknown[]]>([
    ["fire flames", [["fire flames", 1]]],
    ["fire (flames)", [["fire flames", 1]]],
    ["fire, flames , fire", [["fire, flames , fire", 1]]],
    ["cat hot-dog eating", [["cat hot-dog eating", 1]]],
    ["", [["", 1]]],
    ["(flames)0.5", [["flames", 0.5]]],
    ["(fire flames).attend(0.5)", [["fire flames", 0.5]]],
    ["flames.attend(+)", [["flames", 1.1]]],
    ['"flames"+', [["flames", 1.1]]],
    ['say "hello" there', [['say "hello" there', 1]]],
    ["flames+", [["flames", 1.1]]],
    ["flames--", [["flames", down(2)]]],
    [
      "(flowers)--- flames+++",
      [
        ["flowers", down(3)],
        [" ", 1],
        ["flames", up(3)],
      ],
    ],
    [
      "(pretty flowers)+, the flames are too hot",
      [
        ["pretty flowers", 1.1],
        [", the flames are too hot", 1],
      ],
    ],
    [
      "flowers fire++ flames",
      [
        ["flowers ", 1],
        ["fire", up(2)],
        [" flames", 1],
      ],
    ],
    [
      "fire (flames (trees)1.5)2.0",
      [
        ["fire ", 1],
        ["flames ", 2],
        ["trees", 3],
      ],
    ],
    ["a badly (formed test", [["a badly (formed test", 1]]],
    ["a \\(literal\\)+ word", [["a (literal)+ word", 1]]],
    ["1 + 1 - 2", [["1 + 1 - 2", 1]]],
  ])("%s", (prompt, want) => {
    expect(pairs(parseCompel(prompt))).toEqual(want);
  });

  it("says what it does not know", () => {
    for (const prompt of ['("a", "b").blend(1, 0.5)', '("a", "b").and()', "a cat.swap(dog)"])
      expect(() => parseCompel(prompt)).toThrow(expect.objectContaining({ code: "UNSUPPORTED" }));
  });
});

it.each(["(", "[", '"', '("', "(a", "a+", "(a:1", ")", "((a)+"])(
  "both take 5,000 times %j at once",
  (part) => {
    const prompt = part.repeat(5000);
    expect(parseAttention(prompt).length).toBeGreaterThan(0);
    expect(parseCompel(prompt).length).toBeGreaterThan(0);
  },
);
