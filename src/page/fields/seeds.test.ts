import { expect, test } from "vitest";
import { isDrawn, isSeed, seedOf } from "./seeds.js";

test.each(["", " ", "-1", " -1 "])("%j is drawn anew each time", (text) => {
  expect([isDrawn(text), isSeed(text), seedOf(text)]).toEqual([true, true, undefined]);
});

test.each(["0", "42", "18446744073709551615", "tomato", "two words"])("%j is a seed", (text) => {
  expect([isDrawn(text), isSeed(text), seedOf(text)]).toEqual([false, true, text]);
});

test.each(["-2", "1.5", "1e5", "+3", "18446744073709551616", "12 apples", ".5", "-0", "a".repeat(201)])(
  "%j is none",
  (text) => {
    expect([isDrawn(text), isSeed(text)]).toEqual([false, false]);
  },
);
