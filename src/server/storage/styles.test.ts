import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { DiffusionError } from "../../index.js";
import { openStyles } from "./styles.js";

async function csv(text: string): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "styles-")), "styles.csv");
  await writeFile(file, text);
  return file;
}
const stylesOf = async (text: string) => (await openStyles(await csv(text))).list();

test("the web UI's file: quotes, lines in a text, a mark in front, rows without a name", async () => {
  const text = [
    "\ufeffname,prompt,negative_prompt",
    'ink,"{prompt}, ink, ""fine"" lines","photo,\nblurry"',
    ",no name,",
    "plain,8k",
    "",
  ].join("\r\n");
  expect(await stylesOf(text)).toEqual([
    { name: "ink", prompt: '{prompt}, ink, "fine" lines', negativePrompt: "photo,\nblurry" },
    { name: "plain", prompt: "8k", negativePrompt: "" },
  ]);
});

test("the oldest files call the prompt text; of one name the later row counts", async () => {
  expect(await stylesOf("name,text\na,1\na,2\n")).toEqual([{ name: "a", prompt: "2", negativePrompt: "" }]);
});

test("of columns with one name the first counts, and nothing is written to the console", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  try {
    expect(await stylesOf("name,prompt,prompt\na,1,2\n")).toEqual([
      { name: "a", prompt: "1", negativePrompt: "" },
    ]);
    expect(warn).not.toHaveBeenCalled();
  } finally {
    warn.mockRestore();
  }
});

test("a file is read anew when it has changed", async () => {
  const file = await csv("name,prompt\na,1\n");
  const styles = await openStyles(file);
  await writeFile(file, "name,prompt\nb,1\n");
  expect((await styles.list()).map(({ name }) => name)).toEqual(["b"]);
});

test("a file that is not there, or is none, is refused at the start", async () => {
  const code = (file: string) =>
    openStyles(file).then(
      () => "opened",
      (error: unknown) => (error instanceof DiffusionError ? error.code : String(error)),
    );
  expect(await code("nowhere.csv")).toBe("FILE_MISSING");
  expect(await code(await csv("a,b\n1,2\n"))).toBe("FILE_FORMAT");
  expect(await code(await csv(""))).toBe("FILE_FORMAT");
  expect(await code(await csv('name,prompt\na,"1\n'))).toBe("FILE_FORMAT");
});
