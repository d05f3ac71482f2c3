import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { holdFileLock, LockLost, withFileLock } from "./file-lock.js";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lock-"));
  path = join(folder, "locks", "x.lock");
});
afterEach(() => rmSync(folder, { recursive: true }));

const left = () => readdirSync(join(folder, "locks"));

/** A lock as another process left it. */
async function leave(content: object, secondsAgo: number): Promise<void> {
  await withFileLock(path, undefined, async () => undefined); // makes the folder
  writeFileSync(path, JSON.stringify(content));
  const then = new Date(Date.now() - 1000 * secondsAgo);
  utimesSync(path, then, then);
}

/** No process has this id: Linux ends at 2^22. */
const DEAD = 2 ** 30;

const refusal = ({ pid, about }: { pid?: number; about?: string }) => new Error(`held by ${pid}: ${about}`);

describe("holdFileLock", () => {
  it("refuses a second one at once, with what the first one told; released, it is free", async () => {
    const lock = await holdFileLock(path, refusal);
    await lock.tell("port 1");
    await expect(holdFileLock(path, refusal)).rejects.toThrow(`held by ${process.pid}: port 1`);
    await lock.release();
    const again = await holdFileLock(path, refusal);
    await again.release();
    expect(left()).toEqual([]);
  });

  it.each([
    ["a killed process", { pid: DEAD, host: hostname(), id: "x" }, 0],
    [
      "an earlier process of the same number, as in a container",
      { pid: process.pid, host: hostname(), id: "x" },
      0,
    ],
    ["another machine that has been silent for long", { pid: 1, host: "elsewhere", id: "x" }, 18],
  ])("takes over from %s, after a while", async (_, content, secondsAgo) => {
    await leave(content, secondsAgo);
    const lock = await holdFileLock(path, refusal);
    await lock.release();
    expect(left()).toEqual([]);
  });

  it.runIf(process.platform === "linux")(
    "a process that stands still keeps it, however long; another one of its number does not",
    async () => {
      const source = JSON.stringify(fileURLToPath(new URL("./file-lock.ts", import.meta.url)));
      const code = `
      const { holdFileLock } = await import(${source});
      const lock = await holdFileLock(${JSON.stringify(path)}, () => new Error("taken"));
      await lock.tell("port 2");
      console.log("held");
      setInterval(() => {}, 1000);`;
      const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code]);
      try {
        await once(child.stdout, "data");
        child.kill("SIGSTOP");
        const long = new Date(Date.now() - 3600_000);
        const stopped = () => readFileSync(`/proc/${child.pid}/stat`, "utf8").includes(") T ");
        await expect.poll(stopped).toBe(true);
        utimesSync(path, long, long);
        await expect(holdFileLock(path, refusal)).rejects.toThrow(`held by ${child.pid}: port 2`);
        // As if the number had been given to another process since.
        const content = JSON.parse(readFileSync(path, "utf8")) as object;
        writeFileSync(path, JSON.stringify({ ...content, started: "1" }));
        utimesSync(path, long, long);
        await (await holdFileLock(path, refusal)).release();
      } finally {
        child.kill("SIGKILL");
      }
    },
  );

  it("refuses what another machine keeps fresh", async () => {
    await leave({ pid: DEAD, host: "elsewhere", id: "x" }, 0);
    const beats = setInterval(() => utimesSync(path, new Date(), new Date()), 300);
    const held = await holdFileLock(path, refusal).catch((error: Error) => error.message);
    clearInterval(beats);
    expect(held).toContain(`held by ${DEAD}`);
  });

  it("tells who lost it, and leaves the other's alone", async () => {
    const lock = await holdFileLock(path, refusal);
    writeFileSync(path, "another's");
    await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
    await lock.tell("late");
    await lock.release();
    expect(readFileSync(path, "utf8")).toBe("another's");
  });

  it("is not lost by a file that cannot be read for a moment", async () => {
    const lock = await holdFileLock(path, refusal);
    const aside = `${path}.aside`;
    renameSync(path, aside);
    mkdirSync(path); // what stands there is no file
    await expect(lock.tell("port 1")).rejects.toThrow();
    expect(lock.signal.aborted).toBe(false);
    rmdirSync(path);
    renameSync(aside, path);
    await lock.release();
    expect(left()).toEqual([]);
  });
});

describe("withFileLock", () => {
  it("lets one in at a time, and gives back what it returns", async () => {
    const order: string[] = [];
    const enter = (name: string) =>
      withFileLock(path, undefined, async () => {
        order.push(`${name} in`);
        await new Promise((resolve) => setTimeout(resolve, 20));
        order.push(`${name} out`);
        return name;
      });
    expect(await Promise.all([enter("a"), enter("b"), enter("c")])).toEqual(["a", "b", "c"]);
    for (let i = 0; i < 6; i += 2) expect(order[i]?.[0]).toBe(order[i + 1]?.[0]);
    expect(left()).toEqual([]);
  });

  it("frees the lock after an error", async () => {
    const failed = withFileLock(path, undefined, () => Promise.reject(new Error("inside")));
    await expect(failed).rejects.toThrow("inside");
    expect(left()).toEqual([]);
  });

  it.each([
    ["a dead process", { pid: DEAD, host: hostname() }, 5],
    ["a process of another machine that has been silent for long", { pid: 1, host: "elsewhere" }, 60],
    ["nobody that can be understood", {}, 60],
  ])("takes over from %s", async (_, content, secondsAgo) => {
    await leave(content, secondsAgo);
    expect(await withFileLock(path, undefined, async () => "mine")).toBe("mine");
    expect(left()).toEqual([]);
  });

  it.each([
    ["a live process", { pid: process.pid, host: hostname() }, 5],
    ["a dead process that may only be unseen from here", { pid: DEAD, host: hostname() }, 0],
    ["another machine", { pid: DEAD, host: "elsewhere" }, 5],
  ])("waits for %s, until the signal says stop", async (_, content, secondsAgo) => {
    await leave(content, secondsAgo);
    const signal = AbortSignal.timeout(400);
    await expect(withFileLock(path, signal, async () => "mine")).rejects.toThrow();
    expect(readFileSync(path, "utf8")).toBe(JSON.stringify(content));
    expect(left()).toEqual(["x.lock"]);
  });

  it("tells who lost its lock, and leaves the other's alone", async () => {
    const lost = withFileLock(path, undefined, async (signal) => {
      writeFileSync(path, "another's");
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    await expect(lost).rejects.toBeInstanceOf(LockLost);
    expect(readFileSync(path, "utf8")).toBe("another's");
  });

  it("holds between processes: two count to 20 each, reading and writing one file", async () => {
    const counter = join(folder, "counter");
    writeFileSync(counter, "0");
    const code = `
      import { readFileSync, writeFileSync } from "node:fs";
      import { withFileLock } from ${JSON.stringify(fileURLToPath(new URL("./file-lock.ts", import.meta.url)))};
      for (let i = 0; i < 20; i++)
        await withFileLock(${JSON.stringify(path)}, undefined, async () => {
          const n = Number(readFileSync(${JSON.stringify(counter)}, "utf8"));
          await new Promise((resolve) => setTimeout(resolve, 2));
          writeFileSync(${JSON.stringify(counter)}, String(n + 1));
        });`;
    const count = () =>
      promisify(execFile)(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code]);
    await Promise.all([count(), count()]);
    expect(readFileSync(counter, "utf8")).toBe("40");
  });
});
