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
  "ten-pictures.ts": { args: ["OUT", "1"], file: "OUT/frog.png", size: [256, 256] },
  "own-loop.ts": { args: ["a red car", "OUT", "3"], size: [256, 256] },
  "two-passes.ts": { args: ["a red car", "OUT", "4"], size: [1024, 1024] },
  "lora-switch.ts": {
    args: [
      goldenPath("models/tiny-sd1"),
      work,
      ...["peft", "kohya"].map((layout) => goldenPath(`adapters/lora-${layout}.safetensors`)),
    ],
    file: join(work, "lora-kohya.png"),
    size: [64, 64],
  },
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
  expect(files.sort()).toEqual([...Object.keys(examples), "express.ts", "next-route.ts"].sort());
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

test("LoRAs that are switched make different pictures", () => {
  const [none, peft, kohya] = ["none", "lora-peft", "lora-kohya"].map((name) =>
    readFileSync(join(work, `${name}.png`)),
  );
  expect([none!.equals(peft!), none!.equals(kohya!)]).toEqual([false, false]);
});

test("express.ts: progress, then the picture; a client that leaves ends the run", {
  timeout: 5 * 60_000,
}, async () => {
  const child = spawn(process.execPath, ["--import", "tsx", here("express.ts"), "0"], { cwd: here("..") });
  try {
    const [line] = await once(child.stdout, "data");
    const url = `http://127.0.0.1:${/port: (\d+)/.exec(String(line))![1]}/?prompt=a+dog`;
    const events = (await (await fetch(`${url}&steps=2`)).text()).trim().split("\n\n");
    const [first, second, { picture }] = events.map((event) => JSON.parse(event.replace("data: ", "")));
    expect([first, second]).toEqual([1, 2].map((step) => ({ step, steps: 2 })));
    const png = Buffer.from(picture.replace("data:image/png;base64,", ""), "base64");
    expect(decodePng(png).image).toMatchObject({ width: 256, height: 256 });
    // Left after the first step: the next one need not wait for a thousand.
    const leaving = new AbortController();
    const begun = await fetch(`${url}&steps=900`, { signal: leaving.signal });
    await begun.body!.getReader().read();
    leaving.abort();
    const after = await fetch(`${url}&steps=1`, { signal: AbortSignal.timeout(60_000) });
    expect((await after.text()).split("\n\n")).toHaveLength(3);
  } finally {
    child.kill();
    await once(child, "close");
  }
});

test("next-route.ts: a PNG, and what was wrong with a request", { timeout: 5 * 60_000 }, async () => {
  const { POST } = await import("./next-route.js");
  const post = (body: object) =>
    POST(new Request("http://localhost/api/picture", { method: "POST", body: JSON.stringify(body) }));
  const made = await post({ prompt: "a dog", seed: 3, steps: 2, image: "/etc/passwd" });
  expect([made.status, made.headers.get("x-seed")]).toEqual([200, "3"]);
  expect(decodePng(new Uint8Array(await made.arrayBuffer())).image).toMatchObject({ width: 256 });
  const refused = await post({ prompt: "a dog", steps: 0 });
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({ error: "steps: expected at least 1, got 0" });
});
