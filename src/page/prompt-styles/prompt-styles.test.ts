import { expect, test, vi } from "vitest";
import { ownStyles } from "./own-styles.js";
import { allStyles, styleChoice, styled } from "./prompt-styles.js";
import { stylesCsv, stylesOfCsv } from "./styles-csv.js";

// The page's stores ask the browser for its language when they are made.
vi.hoisted(() => {
  if (!("navigator" in globalThis)) Object.assign(globalThis, { navigator: { language: "en" } });
});

const styles = [
  { name: "Night, neon", prompt: 'a "{prompt}", at night', negativePrompt: "day" },
  { name: "Clean", prompt: "", negativePrompt: "blurry,\nlow quality" },
];

test("the web UI's CSV is read back as it was written", () => {
  expect(stylesOfCsv(stylesCsv(styles))).toEqual(styles);
  expect(stylesCsv(styles).split("\r\n")[0]).toBe("\ufeffname,prompt,negative_prompt");
  expect(stylesOfCsv("a,b\n1,2\n")).toBeUndefined();
  expect(stylesOfCsv("name,text\nold,words\n")).toEqual([
    { name: "old", prompt: "words", negativePrompt: "" },
  ]);
});

test("several at once, in the order they were chosen", () => {
  styleChoice.set({ chosen: ["Clean", "Night, neon", "unknown"], saved: styles });
  expect(styled({ prompt: "dog", negativePrompt: "cat" })).toEqual({
    prompt: 'a "dog", at night',
    negativePrompt: "cat, blurry,\nlow quality, day",
  });
  styleChoice.set({ chosen: [], saved: [] });
});

test("a dozen come along, each with a name of its own; what is saved counts before them", () => {
  expect(ownStyles.length).toBeGreaterThanOrEqual(12);
  expect(new Set(ownStyles.map(({ name }) => name)).size).toBe(ownStyles.length);
  const mine = { name: "Sticker", prompt: "x", negativePrompt: "" };
  expect(allStyles([mine], []).find(({ name }) => name === "Sticker")).toBe(mine);
});
