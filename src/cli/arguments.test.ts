import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import {
  readAge,
  readFreeU,
  readInterval,
  readMargins,
  readNumber,
  readPag,
  readSeed,
  readSize,
} from "./arguments.js";

test("numbers, also negative and broken ones, but no text", () => {
  expect([readNumber("20"), readNumber("-1"), readNumber("0.5")]).toEqual([20, -1, 0.5]);
  for (const text of ["", " ", "many", "1px", "Infinity"])
    expect(() => readNumber(text)).toThrow(InvalidArgumentError);
});

test("seeds stay exact, and words are seeds", () => {
  expect(readSeed("7")).toBe(7);
  expect(readSeed("18446744073709551615")).toBe(18446744073709551615n);
  expect(readSeed("-1")).toBe(-1);
  expect(readSeed("7 dwarfs")).toBe("7 dwarfs");
});

test("sizes", () => {
  expect(readSize("320x192")).toEqual({ width: 320, height: 192 });
  expect(readSize("320X192")).toEqual({ width: 320, height: 192 });
  for (const text of ["320", "x", "320x", "320x192x3", "-1x5"])
    expect(() => readSize(text)).toThrow("320x192");
});

test("margins name their sides", () => {
  expect(readMargins("left=128,bottom=64")).toEqual({ left: 128, bottom: 64 });
  expect(() => readMargins("lft=3")).toThrow("did you mean left?");
  for (const text of ["left", "left=", "left=-3", "left=1,,"])
    expect(() => readMargins(text)).toThrow("left=128");
});

test("intervals", () => {
  expect(readInterval("0.2,0.8")).toEqual([0.2, 0.8]);
  expect(readInterval("0, 1")).toEqual([0, 1]);
  for (const text of ["0.2", "0.8,0.2", "0,", "0,1,1", "-0.1,0.5", "0,1.5", "a,b"])
    expect(() => readInterval(text)).toThrow("0.2,0.8");
});

test("factors of FreeU, and perturbed attention guidance", () => {
  expect(readFreeU("1.5, 1.6,0.9,0.2")).toEqual({ b1: 1.5, b2: 1.6, s1: 0.9, s2: 0.2 });
  for (const text of ["", "1,2,3", "1,2,3,", "1,2,3,4,5", "1,2,3,-1", "a,b,c,d"])
    expect(() => readFreeU(text)).toThrow("1.5,1.6,0.9,0.2");
  expect(readPag("3")).toEqual({ scale: 3 });
  expect(readPag("2.5:mid, up_blocks.1")).toEqual({ scale: 2.5, layers: ["mid", "up_blocks.1"] });
  for (const text of ["", "mid", "3:", "3:mid,", "-1", "1:2:"]) expect(() => readPag(text)).toThrow("3:mid");
});

test("ages", () => {
  const day = 24 * 3600 * 1000;
  expect([readAge("12h"), readAge("30d"), readAge("2w")]).toEqual([day / 2, 30 * day, 14 * day]);
  for (const text of ["30", "d", "3 months"]) expect(() => readAge(text)).toThrow("30d");
});
