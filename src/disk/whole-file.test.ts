import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { diskError } from "./disk-error.js";
import { isTemporary, placeWhole, placeWholeSync, writeWhole, writeWholeSync } from "./whole-file.js";

const root = mkdtempSync(join(tmpdir(), "whole-"));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;
const fresh = () => join(root, `${++folders}`, "below");

const full = () => {
  throw Object.assign(new Error("full"), { code: "ENOSPC" });
};

/** Both forms, the one that blocks made to look like the other. */
const forms = {
  placeWhole,
  placeWholeSync: async (...args: Parameters<typeof placeWholeSync>) => placeWholeSync(...args),
};

describe.each(Object.entries(forms))("%s", (_, place) => {
  test("makes the folder, and a file, a folder or a link that was not there", async () => {
    const folder = fresh();
    await place(join(folder, "file"), async (draft) => writeFileSync(draft, "text"));
    await place(join(folder, "folder"), async (draft) => {
      mkdirSync(draft);
      writeFileSync(join(draft, "inside"), "text");
    });
    await place(join(folder, "link"), async (draft) => symlinkSync("file", draft));
    expect(readdirSync(folder).sort()).toEqual(["file", "folder", "link"]);
    expect(readFileSync(join(folder, "folder/inside"), "utf8")).toBe("text");
    expect(readFileSync(join(folder, "link"), "utf8")).toBe("text");
  });

  test("replaces a file, but no folder that holds something", async () => {
    const folder = fresh();
    await place(join(folder, "file"), async (draft) => writeFileSync(draft, "first"));
    await place(join(folder, "file"), async (draft) => writeFileSync(draft, "second"));
    expect(readFileSync(join(folder, "file"), "utf8")).toBe("second");
    mkdirSync(join(folder, "folder"));
    writeFileSync(join(folder, "folder/inside"), "first");
    const again = place(join(folder, "folder"), async (draft) => mkdirSync(draft));
    await expect(again).rejects.toMatchObject({
      code: "DISK",
      message: expect.stringContaining("is there already"),
    });
    expect(readFileSync(join(folder, "folder/inside"), "utf8")).toBe("first");
    expect(readdirSync(folder).filter(isTemporary)).toEqual([]);
  });
});

test("nothing is left of what failed, and the error is the maker's own", async () => {
  const folder = fresh();
  const make = (draft: string) => {
    mkdirSync(draft);
    writeFileSync(join(draft, "half"), "");
    throw new Error("no");
  };
  expect(() => placeWholeSync(join(folder, "a"), make)).toThrow("no");
  await expect(placeWhole(join(folder, "a"), async (draft) => make(draft))).rejects.toThrow("no");
  expect(readdirSync(folder)).toEqual([]);
});

test("a full disk is said in one way, with what the caller knows to do", async () => {
  const path = join(fresh(), "file");
  const words = { code: "DISK", message: `${path} cannot be written: there is no space left on the disk` };
  expect(() => writeWholeSync(path, full, { hint: "elsewhere" })).toThrowError(
    expect.objectContaining({ ...words, hint: "elsewhere" }),
  );
  await expect(placeWhole(path, full)).rejects.toMatchObject({
    ...words,
    hint: expect.stringContaining("TFJS_DIFFUSION_CACHE"),
  });
  expect(readdirSync(dirname(path))).toEqual([]);
});

test("files are written whole, with the mode that is asked for", async () => {
  const folder = fresh();
  await writeWhole(join(folder, "private"), "text", { mode: 0o600 });
  writeWholeSync(join(folder, "bytes"), Uint8Array.of(1, 2, 3), { durable: true });
  expect(statSync(join(folder, "private")).mode & 0o777).toBe(0o600);
  expect([...readFileSync(join(folder, "bytes"))]).toEqual([1, 2, 3]);
  await expect(writeWhole(join(folder, "bytes/below"), "")).rejects.toMatchObject({
    code: "DISK",
    message: expect.stringContaining("is a file, not a folder"),
  });
});

test("only what a disk says becomes a disk's error", async () => {
  const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET", syscall: "read" });
  expect(diskError("here", reset)).toBe(reset);
  const own = diskError("here", Object.assign(new Error(), { code: "EROFS" }));
  expect(diskError("there", own)).toBe(own);
  await placeWhole(join(fresh(), "link"), (draft) => symlink("nowhere", draft));
  expect(existsSync(join(root, `${folders}`, "below/link"))).toBe(false); // links that lead nowhere may be placed
});
