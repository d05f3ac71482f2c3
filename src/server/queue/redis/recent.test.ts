import { expect, test } from "vitest";
import { recent } from "./recent.js";

test("one read serves all who ask within 200 ms, and failures are not kept", async () => {
  let [time, reads] = [0, 0];
  let broken = false;
  const shared = recent(
    async (key) => {
      if (broken) throw new Error("away");
      return `${key}${++reads}`;
    },
    () => time,
  );
  expect(await Promise.all([shared.get("a"), shared.get("a"), shared.get("b")])).toEqual(["a1", "a1", "b2"]);
  time = 199;
  expect(await shared.get("a")).toBe("a1");
  time = 200;
  expect(await shared.get("a")).toBe("a3");
  shared.forget();
  expect(await shared.get("a")).toBe("a4");
  broken = true;
  time = 1000;
  await expect(shared.get("a")).rejects.toThrow("away");
  broken = false;
  expect(await shared.get("a")).toBe("a5");
});
