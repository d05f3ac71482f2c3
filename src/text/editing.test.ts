import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { editPrompt, evaluationsOf } from "./editing.js";

const stages = (prompt: string, steps = 10) =>
  editPrompt(prompt, steps).map(({ upTo, text }) => [upTo, text]);
const turns = (a: string, b: string) => Array.from({ length: 10 }, (_, i) => [i + 1, i % 2 ? b : a]);

describe("prompt editing as in the web UI's documented cases", () => {
  it.each<[string, unknown[][]]>([
    ["test", [[10, "test"]]],
    [
      "a [b:3]",
      [
        [3, "a "],
        [10, "a b"],
      ],
    ],
    [
      "a [b: 3]",
      [
        [3, "a "],
        [10, "a b"],
      ],
    ],
    [
      "a [[[b]]:2]",
      [
        [2, "a "],
        [10, "a [[b]]"],
      ],
    ],
    [
      "[(a:2):3]",
      [
        [3, ""],
        [10, "(a:2)"],
      ],
    ],
    [
      "a [b : c : 1] d",
      [
        [1, "a b  d"],
        [10, "a  c  d"],
      ],
    ],
    [
      "a[b:[c:d:2]:1]e",
      [
        [1, "abe"],
        [2, "ace"],
        [10, "ade"],
      ],
    ],
    ["a [unbalanced", [[10, "a [unbalanced"]]],
    [
      "a [b:.5] c",
      [
        [5, "a  c"],
        [10, "a b c"],
      ],
    ],
    [
      "a [{b|d{:.5] c",
      [
        [5, "a  c"],
        [10, "a {b|d{ c"],
      ],
    ],
    [
      "((a][:b:c [d:3]",
      [
        [3, "((a][:b:c "],
        [10, "((a][:b:c d"],
      ],
    ],
    ["[a|(b:1.1)]", turns("a", "(b:1.1)")],
    ["[fe|]male", turns("female", "male")],
  ])("%s", (prompt, want) => {
    expect(stages(prompt)).toEqual(want);
  });

  it("follows several edits at once", () => {
    const prompt =
      "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][: in background:0.25] [shoddy:masterful:0.5]";
    expect(stages(prompt, 100)).toEqual([
      [25, "fantasy landscape with a mountain and an oak in foreground shoddy"],
      [50, "fantasy landscape with a lake and an oak in foreground in background shoddy"],
      [60, "fantasy landscape with a lake and an oak in foreground in background masterful"],
      [75, "fantasy landscape with a lake and an oak in background masterful"],
      [100, "fantasy landscape with a lake and a christmas tree in background masterful"],
    ]);
  });

  it("counts a number with a point as a fraction, without one as a step", () => {
    expect(stages("[a:b:1]")).toEqual([
      [1, "a"],
      [10, "b"],
    ]);
    expect(stages("[a:b:1.0]")).toEqual([[10, "a"]]);
    expect(stages("[a:b:0]")).toEqual([[10, "b"]]);
    expect(stages("[a:b:-1]")).toEqual([[10, "b"]]);
    expect(stages("[a:b:99]")).toEqual([[10, "a"]]);
    expect(stages("[a:b:0.55]")).toEqual([
      [5, "a"],
      [10, "b"],
    ]);
  });

  it("leaves escaped brackets, lone bars and other brackets alone", () => {
    for (const prompt of [
      "a \\[b:c:3\\] d",
      "a | b",
      "[a:b:c:3]",
      "[a:b]",
      "16:9",
      "a:)",
      "[:",
      "]",
      "(a:1.2:3)",
    ])
      expect(stages(prompt)).toEqual([[10, prompt]]);
    expect(stages("a | [b:3]")).toEqual([
      [3, "a | "],
      [10, "a | b"],
    ]);
  });
});

/** The text of every evaluation: what the web UI's CFGDenoiser shows the network. */
const shown = (prompt: string, steps: number, before = 0): string => {
  const stages = editPrompt(prompt, steps, before);
  return evaluationsOf(stages, steps)
    .flatMap(({ from, to }, i) => Array<string>(Math.max(0, to - from)).fill(stages[i]!.text))
    .join(" ");
};

describe("evaluations, counted from 0 where the web UI's steps count from 1", () => {
  it.each([
    ["[a:b:4]", 8, "a a a a a b b b"],
    ["[a:b:0.5]", 8, "a a a a a b b b"],
    ["[a|b]", 8, "a a b a b a b a"],
    ["[a|b|c]", 6, "a a b c a b"],
    ["[a:b:7]", 8, "a a a a a a a a"],
    ["[a:b:8]", 8, "a a a a a a a a"],
    ["[a:b:1]", 3, "a a b"],
    ["[a:b:0]", 3, "b b b"],
    ["[a:[b:c:3]:1]", 6, "a a b b c c"],
  ])("%s over %d steps", (prompt, steps, want) => {
    expect(shown(prompt, steps)).toBe(want);
  });

  it.each([
    ["[cat:dog:1.5]", "cat cat cat cat cat cat cat cat", "cat cat cat dog"],
    ["[cat:dog:0.5]", "cat cat cat cat cat dog dog dog", "dog dog dog dog"],
    ["[cat:dog:10]", "cat cat cat cat cat cat cat cat", "cat cat cat dog"],
    ["[cat:dog:4]", "cat cat cat cat cat dog dog dog", "dog dog dog dog"],
    ["[cat|dog]", "cat cat dog cat dog cat dog cat", "cat cat dog cat"],
  ])("%s over 8 steps, then 4 of hires fix", (prompt, first, second) => {
    expect(shown(prompt, 8)).toBe(first);
    expect(shown(prompt, 4, 8)).toBe(second);
  });
});

it("always covers all steps, and keeps text without square brackets as it is", () => {
  const text = fc.string({
    unit: fc.constantFrom("a", "b ", "[", "]", "(", ")", ":", "|", "0.5", "3", "\\"),
    maxLength: 40,
  });
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 30 }), (prompt, steps) => {
      const found = editPrompt(prompt, steps);
      expect(found.at(-1)!.upTo).toBe(steps);
      expect(found.every(({ upTo }, i) => upTo >= 1 && (i === 0 || upTo > found[i - 1]!.upTo))).toBe(true);
      if (!prompt.includes("[")) expect(found).toEqual([{ upTo: steps, text: prompt }]);
    }),
    { numRuns: 1000 },
  );
});

it.each(["[", "(", "[a:", "[a|", "(a:", "[(", "[a:b:3]", "]"])("takes 5,000 times %j at once", (part) => {
  expect(editPrompt(part.repeat(5000), 5).at(-1)!.upTo).toBe(5);
});
