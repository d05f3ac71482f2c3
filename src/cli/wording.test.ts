import { expect, test } from "vitest";
import { bytesInWords, countInWords, durationInWords, namesInWords, tableOf } from "./wording.js";

test("bytes, durations and counts in words", () => {
  expect([0, 999, 1500, 70.4e6, 1.72e9, 3e15].map(bytesInWords)).toEqual([
    "0 B",
    "999 B",
    "1.5 kB",
    "70 MB",
    "1.7 GB",
    "3000 TB",
  ]);
  expect([0, 840, 9940, 9950, 59_400, 59_600, 200_000, 7_500_000].map(durationInWords)).toEqual([
    "0.0 s",
    "0.8 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min 0 s",
    "3 min 20 s",
    "2 h 5 min",
  ]);
  expect([12, 8_923_648, 2.6e9].map(countInWords)).toEqual(["12", "8.9 M", "2.6 G"]);
});

test("names, of which many are counted", () => {
  const names = Array.from({ length: 11 }, (_, i) => `${i}`);
  expect(namesInWords(names.slice(1))).toBe("1, 2, 3, 4, 5, 6, 7, 8, 9, 10");
  expect(namesInWords(names)).toBe("0, 1, 2, 3, 4, 5, 6, 7, 8 and 2 more");
});

test("columns are as wide as their widest cell", () => {
  expect(
    tableOf([
      ["a", "b"],
      ["long", "", "c"],
    ]),
  ).toBe("a     b\nlong     c");
});
