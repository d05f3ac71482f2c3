import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { thrown } from "../testing/thrown.js";
import { pictureNames, slug } from "./pictures.js";

const root = mkdtempSync(join(tmpdir(), "pictures-"));
afterAll(() => rmSync(root, { recursive: true }));
const fresh = () => mkdtempSync(join(root, "in-"));

/** The paths of one call, relative to `folder`. */
function pathsOf(
  folder: string,
  prompts: readonly string[],
  options: { out: string; force?: boolean; many?: boolean },
) {
  const pictures = prompts.map(slug);
  const names = pictureNames(pictures, options);
  return pictures.map((name) => relative(folder, names.next(name).path));
}

describe("names", () => {
  test("one picture has the name given, several have numbers", () => {
    const folder = fresh();
    expect(pathsOf(folder, ["a"], { out: join(folder, "dog.png") })).toEqual(["dog.png"]);
    expect(pathsOf(folder, ["a"], { out: join(folder, "dog") })).toEqual(["dog.png"]);
    expect(pathsOf(folder, ["a", "b"], { out: join(folder, "dog.png") })).toEqual(["dog-1.png", "dog-2.png"]);
  });

  test("in a folder they are named after the prompts", () => {
    const folder = fresh();
    const prompts = ["A dog!", "a cat", "a cat"];
    expect(pathsOf(folder, prompts, { out: folder })).toEqual(["a-dog.png", "a-cat-1.png", "a-cat-2.png"]);
    expect(pathsOf(folder, ["a cat"], { out: `${folder}/new/` })).toEqual(["new/a-cat.png"]);
    expect(pathsOf(folder, ["a", "b"], { out: `${folder}/new`, many: true })).toEqual([
      "new/a.png",
      "new/b.png",
    ]);
  });

  test("existing files are passed over, and said so, unless forced", () => {
    const folder = fresh();
    const out = join(folder, "dog.png");
    for (const name of ["dog.png", "dog-2.png"]) writeFileSync(join(folder, name), "");
    expect(pictureNames(["a"], { out }).next("a")).toEqual({ path: join(folder, "dog-3.png"), taken: out });
    expect(pictureNames(["a"], { out, force: true }).next("a")).toEqual({ path: out });
    expect(pathsOf(folder, ["a", "b"], { out })).toEqual(["dog-1.png", "dog-3.png"]);
    expect(pathsOf(folder, ["a", "b"], { out, force: true })).toEqual(["dog-1.png", "dog-2.png"]);
  });

  test("other formats and places that are no folders are refused", () => {
    const folder = fresh();
    writeFileSync(join(folder, "file"), "");
    expect(thrown(() => pictureNames(["a"], { out: "dog.webp" }))).toMatchObject({
      code: "BAD_OPTION",
      hint: "--out dog.png",
    });
    expect(thrown(() => pictureNames(["a"], { out: join(folder, "file", "dog.png") })).code).toBe("DISK");
    mkdirSync(join(folder, "dog.png"));
    expect(pathsOf(folder, ["a"], { out: join(folder, "dog.png") })).toEqual(["dog.png/a.png"]);
  });
});

test("file names from prompts: words of any script, of bounded length, never empty", () => {
  expect(slug("A Dog, with (glasses:1.2)!")).toBe("a-dog-with-glasses-1-2");
  expect(slug("собака в очках / 犬")).toBe("собака-в-очках-犬");
  expect(slug("../../etc")).toBe("etc");
  expect(slug("?!")).toBe("picture");
  expect(slug("word ".repeat(50)).length).toBeLessThanOrEqual(60);
  expect(slug("x".repeat(500))).toBe("x".repeat(60));
});

test("a full disk is an error that says what to do, and leaves nothing behind", () => {
  const folder = fresh();
  const path = join(folder, "dog.png");
  const module = new URL("./pictures.ts", import.meta.url).href;
  const script = `import("${module}").then(({ writePicture }) => {
    try { writePicture(${JSON.stringify(path)}, new Uint8Array(100_000)); }
    catch ({ code, message, hint }) { console.log(JSON.stringify({ code, message, hint })); }
  })`;
  // No file may be longer than 64 blocks of 512 bytes: the closest to a full disk that every test can have.
  const node = [process.execPath, "--import", "tsx", "-e", script];
  const { stdout } = spawnSync("sh", ["-c", 'ulimit -f 64; exec "$@"', "sh", ...node], {
    cwd: fileURLToPath(new URL(".", import.meta.url)), // where tsx is found
    encoding: "utf8",
  });
  expect(JSON.parse(stdout)).toMatchObject({ code: "DISK", hint: expect.stringContaining("--out") });
  expect(readdirSync(folder)).toEqual([]);
});
