import { expect, test } from "vitest";
import { Logins } from "./logins.js";

test("after some wrong ones an address waits, one at a time; others do not, and the log says so", async () => {
  const log: string[] = [];
  const logins = new Logins({ log: (line) => log.push(line), free: 3, waitMs: 40 });
  const looked: number[] = [];
  const guess = (address: string, right = false) =>
    logins.check(address, () => {
      looked.push(performance.now());
      return right;
    });
  for (let i = 0; i < 3; i++) expect(await guess("10.0.0.1")).toBe(false);
  const began = performance.now();
  const guesses = [guess("10.0.0.1"), guess("10.0.0.1"), guess("10.0.0.1")];
  expect(await guess("10.0.0.2", true)).toBe(true);
  expect(performance.now() - began).toBeLessThan(40);
  expect(looked).toHaveLength(4);
  expect(await Promise.all(guesses)).toEqual([false, false, false]);
  const waits = looked.slice(4).map((at, i, all) => at - (all[i - 1] ?? began));
  for (const wait of waits) expect(wait).toBeGreaterThan(35);
  // A right one is let in, and nobody of the address waits from then on.
  expect(await guess("10.0.0.1", true)).toBe(true);
  const after = performance.now();
  expect(await guess("10.0.0.1", true)).toBe(true);
  expect(performance.now() - after).toBeLessThan(35);
  expect(log).toEqual([1, 2, 4].map((count) => `login failed: ${count} in a row from 10.0.0.1`));
});

test("a flood of guesses is refused", async () => {
  const logins = new Logins({ log: () => {}, free: 1, waitMs: 1 });
  const all = await Promise.allSettled(
    Array.from({ length: 50 }, () => logins.check("10.0.0.1", () => false)),
  );
  await logins.check("10.0.0.1", () => false);
  const flood = await Promise.allSettled(
    Array.from({ length: 50 }, () => logins.check("10.0.0.1", () => true)),
  );
  expect(all.length).toBe(50);
  expect(flood.filter(({ status }) => status === "rejected").length).toBe(30);
});
