import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { parseParameters } from "../src/image/parameters.js";
import { decodePng, encodePng } from "../src/image/png.js";
import { resize } from "../src/image/resize.js";
import { goldenPath, referencePath } from "../src/testing/golden.js";

/** Examples import the package by its name, so what they run is dist/, which `npm test` builds first. */

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
mkdirSync(here("../out"), { recursive: true });
const work = mkdtempSync(here("../out/examples-"));
afterAll(() => rmSync(work, { recursive: true }));

interface Example {
  /** What the command line gives; "OUT" stands for the picture to be written. */
  /** OUT is where the picture goes, IP2P a tiny model that follows instructions. */
  args: string[];
  /** Where the picture is, if not at OUT. */
  file?: string;
  size: [width: number, height: number];
  /** What the picture's parameters text says. */
  parameters?: object;
}

const [dog, mask] = [referencePath("source.png"), referencePath("mask.png")];

/** Few steps: the pictures are rough, but come the same way. The seeds stand in the examples. */
const examples: Record<string, Example> = {
  "txt2img.ts": {
    args: ["a blue dog", "OUT", "3"],
    size: [256, 256],
    parameters: { prompt: "a blue dog", seed: 3, steps: 3 },
  },
  "custom-scheduler.ts": {
    args: ["a green apple", "OUT", "3"],
    size: [256, 256],
    parameters: { prompt: "a green apple", seed: 5, steps: 3 },
  },
  "img2img.ts": { args: [dog, "a cat", "OUT", "0.15"], size: [256, 256] },
  "inpaint.ts": { args: [dog, mask, "a dog with sunglasses", "OUT", "3"], size: [256, 256] },
  "outpaint.ts": { args: [dog, "a dog", "OUT", "2"], size: [384, 320] },
  "hires.ts": { args: ["a red car", "OUT", "2"], size: [384, 384] },
  "unconditional.ts": { args: ["butterflies-64", "OUT", "4"], size: [64, 64] },
  "instruct.ts": { args: ["IP2P", smaller(dog), "make it red", "OUT", "2"], size: [48, 48] },
  "variations.ts": { args: ["a dog", "OUT", "1"], file: "OUT-103.png", size: [256, 256] },
  "loopback.ts": { args: [dog, "a fox", "OUT", "2", "4"], size: [256, 256] },
  "schedulers.ts": { args: ["OUT", "a dog", "2", "ddim,euler"], size: [512, 256] },
  "grid.ts": { args: ["OUT", '{"prompt":"a dog"}', "steps", "1,2", "seed", "1"], size: [512, 256] },
};

/** The picture at the size of the tiny models, beside the results. */
function smaller(path: string): string {
  const small = resize(decodePng(readFileSync(path)).image, { width: 48, height: 48 });
  const file = join(work, "small.png");
  writeFileSync(file, encodePng(small));
  return file;
}

test("every example is run below, and has at most 25 lines", () => {
  expect(existsSync(here("../dist/index.js")), "dist/ is there: npm run build").toBe(true);
  const files = readdirSync(here(".")).filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"));
  expect(files.sort()).toEqual(Object.keys(examples).sort());
  for (const file of files)
    expect(readFileSync(here(file), "utf8").trimEnd().split("\n").length, file).toBeLessThanOrEqual(25);
});

test.each(Object.entries(examples))("%s", { timeout: 5 * 60_000 }, async (name, example) => {
  const out = join(work, `${name}.png`);
  const filled = (text: string) =>
    text === "IP2P" ? goldenPath("models/tiny-ip2p") : text.replace("OUT", out);
  const child = spawn(process.execPath, ["--import", "tsx", here(name), ...example.args.map(filled)], {
    cwd: here(".."), // where tsx is found
    stdio: ["ignore", "ignore", "pipe"],
  });
  const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
  expect(code, stderr).toBe(0);
  const { image, text: texts } = decodePng(readFileSync(filled(example.file ?? "OUT")));
  expect([image.width, image.height]).toEqual(example.size);
  expect(new Set(image.data).size).toBeGreaterThan(100); // not flat
  if (example.parameters) expect(parseParameters(texts.parameters!)).toMatchObject(example.parameters);
});
