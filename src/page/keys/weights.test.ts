import { expect, test } from "vitest";
import { weighted } from "./weights.js";

/** With the selection between two bars; one bar is a caret. */
function change(marked: string, direction: 1 | -1): string {
  const [before = "", middle = "", after] = marked.split("|");
  const selected =
    after === undefined
      ? { text: before + middle, start: before.length, end: before.length }
      : { text: before + middle + after, start: before.length, end: before.length + middle.length };
  const { text, start, end } = weighted(selected, direction);
  return `${text.slice(0, start)}|${text.slice(start, end)}|${text.slice(end)}`;
}

test.each([
  ["a d|og, grass", 1, "a (|dog|:1.1), grass"],
  ["a (|dog|:1.1), grass", 1, "a (|dog|:1.2), grass"],
  ["a (|dog|:1.1), grass", -1, "a |dog|, grass"],
  ["a |red dog| runs", -1, "a (|red dog|:0.9) runs"],
  ["a |(dog:1.5)|", 1, "a (|dog|:1.6)"],
  ["a |dog |runs", 1, "a (|dog|:1.1) runs"],
  ["(|dog|:2)", 1, "(|dog|:2)"],
  ["(|dog|:0.1)", -1, "(|dog|:0.1)"],
  ["(a:1.3), (|b|:0.9)", 1, "(a:1.3), |b|"],
  ["一只|狗", 1, "(|一只狗|:1.1)"],
] as const)("%s by %i", (marked, direction, expected) => {
  expect(change(marked, direction)).toBe(expected);
});

test("no word at the caret: nothing changes", () => {
  expect(change("a dog, | grass", 1)).toBe("a dog, || grass");
});
