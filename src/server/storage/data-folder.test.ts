import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openDataFolder } from "./data-folder.js";

const root = mkdtempSync(join(tmpdir(), "data-"));
afterAll(() => rmSync(root, { recursive: true }));
const modeOf = (path: string) => statSync(path).mode & 0o777;

test("a data folder is its owner's alone; one that was made otherwise is named", async () => {
  const log: string[] = [];
  const open = (path: string, isUsual = false) =>
    openDataFolder(path, { isUsual, log: (line) => log.push(line) });
  const fresh = join(root, "a", "b");
  await open(fresh);
  expect(modeOf(fresh)).toBe(0o700);
  const shared = join(root, "shared");
  mkdirSync(shared);
  chmodSync(shared, 0o755);
  await open(shared);
  expect(modeOf(shared)).toBe(0o755);
  expect(log).toEqual([expect.stringContaining("chmod 700")]);
  await open(shared, true);
  expect(modeOf(shared)).toBe(0o700);
  await open(shared);
  expect(log).toHaveLength(1);
});
