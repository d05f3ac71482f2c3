import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openCli } from "../testing/cli-process.js";
import { thrown } from "../testing/thrown.js";
import { pictureNames } from "./pictures.js";
import { openPreview } from "./preview.js";

const { start, run, folder } = openCli();
const picture = { width: 8, height: 8, data: new Uint8Array(3 * 64) };
const minutes = 5 * 60_000;

describe("what --preview may name", () => {
  /** The refusal, or undefined; `out` and `count` are those of the command. */
  const refusal = (file: string, { out = "", count = 1, force = false } = {}) => {
    const outputs = out ? pictureNames(Array<string>(count).fill("a-cat"), { out, force }).planned() : [];
    return thrown(() => openPreview(file, { force, outputs }));
  };

  test("an existing file is kept, but for --force", () => {
    const cwd = folder();
    const file = join(cwd, "now.png");
    writeFileSync(file, "mine");
    expect(refusal(file)).toMatchObject({
      code: "BAD_OPTION",
      message: `--preview ${file}: this file exists and stays`,
      hint: expect.stringContaining("--force"),
    });
    expect(readFileSync(file, "utf8")).toBe("mine");
    const preview = openPreview(file, { force: true, outputs: [] });
    preview.show(picture);
    preview.show(picture);
    preview.keep();
    expect(readFileSync(file).subarray(1, 4).toString()).toBe("PNG");
    symlinkSync(join(cwd, "gone.png"), join(cwd, "link.png"));
    expect(refusal(join(cwd, "link.png")).message).toContain("exists and stays");
  });

  test("no file of a finished picture, however it is spelled", () => {
    const cwd = folder();
    mkdirSync(join(cwd, "in"));
    symlinkSync(join(cwd, "in"), join(cwd, "link"));
    const message = expect.stringContaining("is the file of a finished picture");
    const refused = { code: "BAD_OPTION", message };
    const b = join(cwd, "in", "b.png");
    for (const same of [b, `${cwd}/in/.././in/b.png`, join(cwd, "link", "b.png")])
      expect(refusal(same, { out: b })).toMatchObject(refused);
    expect(refusal(join(cwd, "new", "a-cat.png"), { out: `${cwd}/link/../new/` })).toMatchObject(refused);
    const second = join(cwd, "in", "b-2.png");
    for (const force of [false, true])
      expect(refusal(second, { out: b, count: 2, force })).toMatchObject(refused);
    // Several pictures of one name have numbers, so that this is none of theirs.
    const outputs = pictureNames(["a", "b"], { out: b }).planned();
    openPreview(b, { outputs }).show(picture);
    expect(existsSync(b)).toBe(true);
  });

  test("no folder, no other format, no place where nothing can be written", () => {
    const cwd = folder();
    expect(refusal(cwd)).toMatchObject({
      code: "BAD_OPTION",
      message: `--preview ${cwd}: expected a PNG file, got a folder`,
      hint: `--preview ${join(cwd, "preview.png")}`,
    });
    expect(refusal(".").hint).toBe("--preview preview.png");
    expect(refusal(`${cwd}/new/`).message).toContain("got a folder");
    expect(refusal("x.jpg")).toMatchObject({ code: "BAD_OPTION", hint: "--preview x.png" });
    writeFileSync(join(cwd, "file"), "");
    expect(refusal(join(cwd, "file", "now.png"))).toMatchObject({
      code: "DISK",
      hint: "choose another place with --preview",
    });
  });
});

describe("the command", () => {
  const small = ["--size", "64x64", "--seed", "1"];

  test("refuses at the start", async () => {
    const cwd = folder();
    writeFileSync(join(cwd, "now.png"), "mine");
    const { code, stdout, stderr } = await run(["a cat", "--preview", "now.png", ...small], { cwd });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^error: --preview now\.png: this file exists and stays\nhint: .*--force/);
    const same = await run(["a cat", "--preview", "./a-cat.png", ...small], { cwd });
    expect(same).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringMatching(/^error: --preview \.\/a-cat\.png is the file of a finished picture/),
    });
    expect(readdirSync(cwd)).toEqual(["now.png"]);
    expect(readFileSync(join(cwd, "now.png"), "utf8")).toBe("mine");
  });

  /** Calls `act` once, as soon as standard output has `text`; all of both outputs, and the exit code. */
  async function followed(child: ChildProcess, text: string, act: () => void) {
    let [stdout, stderr] = ["", ""];
    child.stderr!.on("data", (chunk: Buffer) => {
      stderr += chunk;
    });
    child.stdout!.on("data", (chunk: Buffer) => {
      const isBefore = !stdout.includes(text);
      stdout += chunk;
      if (isBefore && stdout.includes(text)) act();
    });
    const [code] = await once(child, "close");
    return { stdout, stderr, code: code as number | null };
  }

  test("names the finished pictures after Ctrl-C, and removes the preview", {
    timeout: minutes,
  }, async () => {
    const cwd = folder();
    const args = ["a cat", "--count", "3", "--steps", "60", "--preview", "now.png", ...small];
    const child = start(args, { cwd });
    let wasThere = false;
    const { stderr, code } = await followed(child, "a-cat-1.png  seed", () => {
      wasThere = existsSync(join(cwd, "now.png"));
      child.kill("SIGINT");
    });
    expect(wasThere).toBe(true);
    expect(code).toBe(130);
    expect(stderr).toContain("error: interrupted; finished before, and kept: a-cat-1.png\n");
    expect(readdirSync(cwd)).toEqual(["a-cat-1.png"]);
  });

  test("removes the preview after an error", { timeout: minutes }, async () => {
    const cwd = folder();
    const args = ["a cat", "--steps", "60", "--preview", "now.png", "--out", "made/cat.png", "--json"];
    const child = start([...args, ...small], { cwd });
    let wasThere = false;
    const { code, stdout } = await followed(child, '"step"', () => {
      wasThere = existsSync(join(cwd, "now.png"));
      writeFileSync(join(cwd, "made"), "a file where the folder should be made");
    });
    expect(wasThere).toBe(true);
    expect({ code, stdout }).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("a part of the path"),
    });
    expect(readdirSync(cwd)).toEqual(["made"]);
  });
});
