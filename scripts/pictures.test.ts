import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, expect, test } from "vitest";
import { referencePath } from "../src/testing/golden.js";
import { sections } from "./pictures/gallery-document.js";

/** The scripts that make the documents' pictures, with few steps. */

const work = mkdtempSync(join(tmpdir(), "pictures-"));
afterAll(() => rmSync(work, { recursive: true }));
const root = fileURLToPath(new URL("..", import.meta.url));
const minutes = 60_000;

/** Asynchronously, as vitest gives a test that blocks its own process up after a minute. */
async function run(script: string, ...args: string[]): Promise<void> {
  const file = join(root, "scripts/pictures", script);
  const child = spawn(process.execPath, ["--import", "tsx", file, ...args], {
    cwd: root,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [stderr, [status]] = await Promise.all([text(child.stderr), once(child, "close")]);
  expect(status, stderr).toBe(0);
}
const sizeOf = async (file: string) => {
  const { width, height, format, pages } = await sharp(join(work, file)).metadata();
  return { width, height, format, ...(pages !== undefined && { pages }) };
};

test("gallery: every command runs, and the document is the one that the script writes", {
  timeout: 15 * minutes,
}, async () => {
  await run("gallery.ts", work, "--steps", "2");
  // Without what formatting changes: spaces, and the dashes of tables.
  const textOf = (folder: string) =>
    readFileSync(join(folder, "gallery.md"), "utf8").replaceAll(/[\s-]+/g, "");
  expect(textOf(join(root, "docs"))).toBe(textOf(work));
  for (const { name } of sections.flatMap(({ entries }) => entries)) {
    expect(await sizeOf(`gallery/${name}.webp`)).toMatchObject({ format: "webp" });
    expect(existsSync(join(root, `docs/gallery/${name}.webp`)), `${name} is in docs/`).toBe(true);
  }
  expect(await sizeOf("gallery/desert.webp")).toMatchObject({ width: 448, height: 256 });
  expect(await sizeOf("pictures.webp")).toMatchObject({ width: 5 * 256 + 4 * 8, height: 256 });
});

test("upscaling: two parts side by side", { timeout: 5 * minutes }, async () => {
  await run("upscaling.ts", join(work, "upscaling.webp"), referencePath("source.png"));
  expect(await sizeOf("upscaling.webp")).toMatchObject({ width: 904, height: 448, format: "webp" });
});

test("outpainting: ten pictures, each with two ways to carry it on", { timeout: 15 * minutes }, async () => {
  await run("outpainting.ts", join(work, "outpainting.webp"), "2");
  expect(await sizeOf("outpainting.webp")).toMatchObject({ width: 1008, height: 624, format: "webp" });
});

test("appearing: an animation, the last picture of which stays", { timeout: 5 * minutes }, async () => {
  await run("appearing.ts", join(work, "appearing.webp"), "3");
  const { pages, delay } = await sharp(join(work, "appearing.webp")).metadata();
  expect([pages, delay]).toEqual([3, [110, 110, 2500]]);
});

test("settings-sheet: a row a setting, a column a prompt, the rows anew below; what is drawn stays", {
  timeout: 5 * minutes,
}, async () => {
  writeFileSync(join(work, "prompts.txt"), "a dog\na cat\n");
  const settings = [
    { name: "two", steps: 2 },
    { name: "one, ddim", steps: 1, seed: 9, scheduler: "ddim", template: "a sticker of {}" },
  ];
  writeFileSync(join(work, "settings.json"), JSON.stringify(settings));
  const given = ["prompts.txt", "settings.json", "drawn"].map((name) => join(work, name));
  const args = ["--prompts", given[0]!, "--settings", given[1]!, "--pictures", given[2]!];
  await run("settings-sheet.ts", join(work, "sheet.webp"), ...args);
  expect(await sizeOf("sheet.webp")).toMatchObject({ width: 180 + 2 * 128, height: 2 * 128 });
  expect(existsSync(join(work, "drawn/one-ddim/a-cat-9.png"))).toBe(true);
  await run("settings-sheet.ts", join(work, "narrow.webp"), ...args, "--only-drawn", "--columns", "1");
  expect(await sizeOf("narrow.webp")).toMatchObject({ width: 180 + 128, height: 4 * 128 });
});

test.runIf(existsSync("/usr/bin/chromium"))(
  "screenshots: light and dark",
  { timeout: 10 * minutes },
  async () => {
    await run("screenshots.ts", work, "2");
    const [light, dark] = await Promise.all(
      ["light", "dark"].map((look) => sharp(join(work, `page-${look}.webp`)).stats()),
    );
    const mean = (stats: typeof light) => stats!.channels[0]!.mean;
    expect(mean(light)).toBeGreaterThan(mean(dark) + 50);
  },
);
