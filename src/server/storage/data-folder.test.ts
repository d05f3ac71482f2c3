import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openDataFolder } from "./data-folder.js";

const root = mkdtempSync(join(tmpdir(), "data-"));
afterAll(() => rmSync(root, { recursive: true }));
const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a data folder is its owner's alone; one that was made otherwise is named", async () => {
  const log: string[] = [];
  const open = (path: string) => openDataFolder(path, (line) => log.push(line));
  const fresh = join(root, "a", "b");
  await open(fresh);
  expect(modeOf(fresh)).toBe(0o700);
  const shared = join(root, "shared");
  mkdirSync(shared);
  chmodSync(shared, 0o755);
  await open(shared);
  expect(modeOf(shared)).toBe(0o755);
  expect(log).toEqual([expect.stringContaining("chmod 700")]);
  const usual = await openDataFolder(undefined, (line) => log.push(line), { XDG_DATA_HOME: root });
  expect(modeOf(usual)).toBe(0o700);
  chmodSync(usual, 0o755);
  await openDataFolder(undefined, (line) => log.push(line), { XDG_DATA_HOME: root });
  expect(modeOf(usual)).toBe(0o700);
  expect(log).toHaveLength(1);
  chmodSync(shared, 0o700);
  expect(modeOf(shared)).toBe(0o700);
  await open(shared);
  expect(log).toHaveLength(1);
});

const linux = process.platform === "linux";

test.each([
  ["that is a file", () => join(root, "file"), "a part of the path is a file, not a folder"],
  ["below a file", () => join(root, "file", "below"), "a part of the path is a file, not a folder"],
  // Where Node itself would try for ever.
  ...(linux
    ? [["where no folders can be made", () => "/proc/tfjs/data", "no folder can be made there"] as const]
    : []),
] as const)("one %s is refused, with how to choose another", async (_, path, reason) => {
  writeFileSync(join(root, "file"), "");
  await expect(openDataFolder(path(), () => {})).rejects.toMatchObject({
    code: "DISK",
    message: `${path()} cannot be written: ${reason}`,
    hint: expect.stringContaining("--data <folder>"),
  });
});
