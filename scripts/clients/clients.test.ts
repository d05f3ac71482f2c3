import { execFile, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { decodePng, encodePng } from "../../src/index.js";
import { type RunningServer, serve } from "../../src/server/main.js";
import { goldenExtra, goldenPath } from "../../src/testing/golden.js";

/*
 * Clients of others, unchanged, each with the examples of its own README against a real server: a tiny model draws, so
 * that their sizes and steps can stay as they are. install.mjs puts them into a temporary folder.
 */
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const here = fileURLToPath(new URL(".", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "clients-"));
let server: RunningServer;

beforeAll(async () => {
  const [controlDir, upscalerDir] = [join(scratch, "controls"), join(scratch, "upscalers")];
  for (const folder of [controlDir, upscalerDir]) mkdirSync(folder);
  // Under the names that the examples ask for.
  symlinkSync(goldenPath("models/tiny-controlnet"), join(controlDir, "control_v11p_sd15_canny"));
  copyFileSync(
    join(goldenExtra("upscalers"), "esrgan-first.safetensors"),
    join(upscalerDir, "ESRGAN_4x.safetensors"),
  );
  // Where an example leaves the steps open, two are enough.
  const model = join(scratch, "tiny-sd1");
  cpSync(goldenPath("models/tiny-sd1"), model, { recursive: true });
  writeFileSync(join(model, "generation_defaults.json"), JSON.stringify({ steps: 2 }));
  server = await serve({
    port: 0,
    dataDir: join(scratch, "data"),
    model,
    ...{ controlDir, upscalerDir, graceMs: 0 },
  });
});
afterAll(async () => {
  await server?.close();
  rmSync(scratch, { recursive: true, force: true });
});

/** What a script of examples/ prints: pictures in base64 or their sizes, and what else it was told. */
interface Told<Info> {
  readonly pictures?: Readonly<Record<string, readonly string[]>>;
  readonly sizes?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  readonly info: Info;
}

/** A mask whose middle is transparent, for those that cannot draw one. */
function holed(side: number): string {
  const data = new Uint8Array(side * side * 4).fill(255);
  for (let y = side / 4; y < side / 2; y++)
    for (let x = side / 4; x < side / 2; x++) data[(y * side + x) * 4 + 3] = 0;
  return Buffer.from(encodePng({ width: side, height: side, data })).toString("base64");
}

function installed(...flags: string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(here, "install.mjs"), ...flags], {
    encoding: "utf8",
  });
  if (status === 0) return stdout.trim();
  // In CI they must run.
  if (process.env.CI) throw new Error(stderr);
  console.warn(`third-party clients are left out: ${stderr.trim()}`);
  return undefined;
}

async function run<Info>(command: string, folder: string, script: string): Promise<Told<Info>> {
  const path = join(folder, script);
  copyFileSync(join(here, "examples", script), path);
  const env = { ...process.env, SERVER: server.url, MASK: holed(64), PYTHONWARNINGS: "ignore" };
  const { stdout } = await promisify(execFile)(command, [path], { env, maxBuffer: 2 ** 28 });
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Told<Info>;
}

const sizesOf = ({ pictures = {} }: Told<unknown>) =>
  Object.fromEntries(
    Object.entries(pictures).map(([name, all]) => [
      name,
      all.map((png) => {
        const { width, height } = decodePng(Buffer.from(png, "base64")).image;
        return [width, height];
      }),
    ]),
  );
const square = (side: number) => [side, side];

const npm = installed();
describe.skipIf(npm === undefined)("from npm", () => {
  const node = <Info>(script: string) => run<Info>(process.execPath, npm!, script);

  test("node-sd-webui", async () => {
    const told = await node<object>("node-sd-webui.mjs");
    expect(sizesOf(told)).toEqual({
      simple: [square(512)],
      images: Array(5).fill([768, 512]),
      larger: [square(128)],
      varied: [square(64)],
    });
    expect(told.info).toMatchObject({
      prompt: "A photo of a mushroom, red cap, white spots",
      negativePrompt: "blurry, cartoon, drawing, illustration",
      samplingMethod: "Euler a",
      steps: 20,
      width: 768,
      height: 512,
    });
  });

  test("stable-diffusion-api", async () => {
    const told = await node<{ models: string[]; modules: string[] }>("stable-diffusion-api.mjs");
    expect(sizesOf(told)).toEqual({
      made: [square(512)],
      changed: [square(512)],
      followed: [square(512), square(512)],
      detected: [square(512)],
    });
    expect(told.info.models).toEqual(["control_v11p_sd15_canny"]);
    expect(told.info.modules).toContain("canny");
  });

  test("openai", async () => {
    const told = await node<{ varied: string[]; types: string[]; models: string[] }>("openai.mjs");
    const { fetched, generated, edited } = sizesOf(told);
    expect(fetched).toEqual([square(1024)]);
    expect([generated, edited]).toEqual([[expect.any(Array)], [expect.any(Array)]]);
    expect(told.info.varied).toEqual([expect.stringMatching(/^http/), expect.stringMatching(/^http/)]);
    expect(told.info.types).toEqual([
      "image_generation.partial_image",
      "image_generation.partial_image",
      "image_generation.completed",
    ]);
    expect(told.info.models).toContain("tiny-sd1 CPU FP32");
  });

  test("ai with @ai-sdk/openai", async () => {
    const { image, several, edited, masked } = sizesOf(await node("ai-sdk.mjs"));
    expect(image).toEqual([square(1024)]);
    expect([several?.length, edited?.length, masked?.length]).toEqual([2, 1, 1]);
  });
});

const hasPython = spawnSync("python3", ["-c", "import venv, ensurepip"]).status === 0;
if (!hasPython) console.warn("clients in Python are left out: there is no python3 with venv");
const python = hasPython ? installed("--python") : undefined;
describe.skipIf(python === undefined)("from PyPI", () => {
  const py = <Info>(script: string) => run<Info>(join(python!, "venv", "bin", "python"), python!, script);

  test("webuiapi", async () => {
    const { sizes, info } = await py<{ first: Record<string, unknown>; text: string; lists: number }>(
      "webui-api.py",
    );
    expect(sizes).toEqual({
      made: [square(512), square(512), square(512)],
      hires: [[640, 512]],
      larger: [square(768), square(768), square(768)],
      followed: [square(512), square(512)],
      detected: [square(512)],
    });
    expect(info.first).toMatchObject({ seed: 1003, comments: ["there is no style anime: ignored"] });
    expect(info.text).toContain("Seed: 1003");
    expect(info.lists).toBe(20);
  });

  test("sd-backend-client", async () => {
    const { sizes, info } = await py<Record<string, unknown>>("sd-backend-client.py");
    expect(sizes).toEqual({
      first: [square(512)],
      second: [square(512), square(512)],
      painted: [square(512)],
      controlled: [square(512)],
      preview: [square(512)],
      fox: [square(512)],
      six: Array(6).fill(square(768)),
      larger: [square(1024)],
    });
    expect(info).toMatchObject({
      seed: 42,
      controlnet: true,
      upscalers: expect.arrayContaining(["Lanczos", "ESRGAN_4x"]),
      hash: expect.stringMatching(/^[0-9a-f]{10}$/),
    });
  });

  test("openai", async () => {
    const { sizes, info } = await py<{ refused: string }>("openai-python.py");
    expect(sizes).toMatchObject({ fetched: [square(512), square(512)] });
    expect([sizes?.made?.length, sizes?.edited?.length, info.refused]).toEqual([1, 1, "mask"]);
  });

  test("langchain-community's DALL-E wrapper", async () => {
    expect((await py("dalle-wrapper.py")).sizes).toEqual({ made: [square(1024)] });
  });
});
