import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { makeFolder, makeFolderSync } from "./folders.js";

const root = mkdtempSync(join(tmpdir(), "folders-"));
afterAll(() => rmSync(root, { recursive: true }));

const forms = { makeFolder, makeFolderSync: async (path: string) => makeFolderSync(path) };

describe.each(Object.entries(forms))("%s", (name, make) => {
  const own = (...parts: string[]) => join(root, name, ...parts);

  test("makes what is missing, and leaves what is there", async () => {
    await make(own("a", "b", "c"));
    await make(own("a", "b", "c"));
    expect(statSync(own("a", "b", "c")).isDirectory()).toBe(true);
    symlinkSync(own("a"), own("link"));
    await make(own("link", "d"));
    expect(statSync(own("a", "d")).isDirectory()).toBe(true);
  });

  test("several may make it at once", async () => {
    await Promise.all(Array.from({ length: 20 }, () => make(own("once", "for", "all"))));
    expect(statSync(own("once", "for", "all")).isDirectory()).toBe(true);
  });

  test("a file in the way is said, and so is a disk that makes no folders, on which Node tries for ever", async () => {
    await make(own());
    writeFileSync(own("file"), "");
    await expect(make(own("file"))).rejects.toMatchObject({ code: "EEXIST" });
    await expect(make(own("file", "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
    symlinkSync(own("nowhere"), own("dangling"));
    await expect(make(own("dangling"))).rejects.toMatchObject({ code: "EEXIST" });
    if (process.platform !== "linux") return;
    for (const path of ["/proc/tfjs-diffusion", "/proc/tfjs-diffusion/a/b"])
      await expect(make(path)).rejects.toMatchObject({
        code: "ENOTSUP",
        message: expect.stringContaining("/proc"),
      });
  });
});

test("the first folder that was made is told, and all of them have the mode", async () => {
  const path = join(root, "told", "a", "b");
  expect(await makeFolder(path, 0o700)).toBe(join(root, "told"));
  expect(await makeFolder(path, 0o700)).toBeUndefined();
  for (const made of [path, join(root, "told")]) expect(statSync(made).mode & 0o777).toBe(0o700);
});
