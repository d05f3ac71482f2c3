import { expect, test } from "vitest";
import { saysWord, toggledWord } from "./learned-words.js";

test("a word goes behind the text, and out of it again with its comma", () => {
  expect(toggledWord("", "inky")).toBe("inky");
  expect(toggledWord("a fox, ", "inky")).toBe("a fox, inky");
  expect(toggledWord("a fox, inky", "inky")).toBe("a fox");
  expect(toggledWord("INKY, a fox", "inky")).toBe("a fox");
  expect(toggledWord("a <s.t> fox", "<s.t>")).toBe("a fox");
});

test("no word is found inside another one", () => {
  expect(saysWord("an inkyish fox", "inky")).toBe(false);
  expect(saysWord("an (Inky:1.2) fox", "inky")).toBe(true);
  expect(saysWord("a fox", "f.x")).toBe(false);
});
