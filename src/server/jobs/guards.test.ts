import { execFileSync } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { openSettings } from "../storage/settings.js";
import { usualGuards } from "./guards.js";
import { Models } from "./models.js";

test("a generation that stands still in a call is ended by a cancel, and the next one works", async () => {
  const folder = await mkdtemp(join(tmpdir(), "unheeded-"));
  const models = await Models.open(await openSettings(join(folder, "settings.json")), usualGuards());
  const options = { prompt: "a dog", width: 64, height: 64, steps: 500 };
  try {
    const stop = new AbortController();
    const before = new Set(workers());
    let begun = () => {};
    const stepped = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const made = models.generate(models.current, {
      ...options,
      signal: stop.signal,
      onProgress: ({ type }) => type === "step" && begun(),
    });
    await stepped;
    const [pid] = workers().filter((one) => !before.has(one));
    process.kill(pid!, "SIGSTOP");
    // An answer may be on its way: it is the call after that which stands still.
    await sleep(1000);
    stop.abort(new Error("cancelled"));
    // Nothing else would end it: a call may take ten minutes.
    await expect(made).rejects.toThrow();
    // The caller does not wait for the end of the process.
    await expect.poll(workers, { timeout: 15_000 }).not.toContain(pid);
    expect((await models.generate(models.current, { ...options, steps: 1 })).images).toHaveLength(1);
  } finally {
    await models.dispose();
  }
});

test("a server and a worker have both guards unless they are told otherwise", () => {
  const { hangMs, memoryLimit } = usualGuards();
  expect(hangMs).toBe(600_000);
  expect(memoryLimit).toBeGreaterThan(2 ** 28);
  expect(memoryLimit).toBeLessThan(2 ** 50);
});

/** Processes that compute, of this one. */
const workers = (): number[] =>
  execFileSync("ps", ["-o", "pid=,stat=,args=", "--ppid", String(process.pid)], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes("worker") && !/^\s*\d+\s+Z/.test(line))
    .map((line) => Number.parseInt(line, 10));
