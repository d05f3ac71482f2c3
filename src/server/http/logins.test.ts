import { expect, test } from "vitest";
import { Logins } from "./logins.js";

/** A pause that lasts until it is ended. */
function pauses() {
  const asked: number[] = [];
  const open: (() => void)[] = [];
  return {
    asked,
    pause: (ms: number) => {
      asked.push(ms);
      return new Promise<void>((resolve) => open.push(resolve));
    },
    async end() {
      while (open.length === 0) await new Promise((resolve) => setImmediate(resolve));
      open.shift()!();
    },
  };
}

test("after some wrong ones an address waits, one at a time; others do not, and the log says so", async () => {
  const log: string[] = [];
  const { asked, pause, end } = pauses();
  const logins = new Logins({ log: (line) => log.push(line), free: 3, waitMs: 40, pause });
  let looked = 0;
  const guess = (address: string, right = false) =>
    logins.check(address, () => {
      looked++;
      return right;
    });
  for (let i = 0; i < 3; i++) expect(await guess("10.0.0.1")).toBe(false);
  expect(asked).toEqual([]);
  const guesses = [guess("10.0.0.1"), guess("10.0.0.1"), guess("10.0.0.1")];
  expect(await guess("10.0.0.2", true)).toBe(true);
  expect(looked).toBe(4);
  for (const done of guesses) {
    await end();
    expect(await done).toBe(false);
  }
  expect(looked).toBe(7);
  const right = guess("10.0.0.1", true);
  await end();
  expect(await right).toBe(true);
  const waits = asked.length;
  // From then on nobody of the address waits.
  expect(await guess("10.0.0.1", true)).toBe(true);
  expect(asked).toHaveLength(waits);
  // How long follows from the wrong ones that were known when each came.
  expect(asked).toEqual([40, 40, 40, 320]);
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
