import { expect, test } from "vitest";
import { createSleepers } from "./sleepers.js";

test("who sleeps is woken by a word, by the end of the signal, after its time, and not at all when it is over", async () => {
  const sleepers = createSleepers();
  const never = new AbortController().signal;
  const order: string[] = [];
  const said = sleepers.sleep(never).then(() => order.push("word"));
  await sleepers.sleep(AbortSignal.abort());
  await sleepers.sleep(never, 1);
  expect(order).toEqual([]);
  sleepers.wake();
  await said;
  const stop = new AbortController();
  const stopped = sleepers.sleep(stop.signal);
  stop.abort();
  await stopped;
});
