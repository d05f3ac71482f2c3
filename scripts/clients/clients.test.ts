import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import sharp from "sharp";
import { afterAll, beforeAll, expect, type TestContext, test, vi } from "vitest";
import {
  decodePng,
  encodePng,
  type GenerateOptions,
  generate,
  type Image,
  parseParameters,
  readImage,
} from "../../src/index.js";
import { type RunningServer, serve } from "../../src/server/main.js";
import { goldenExtra, goldenPath } from "../../src/testing/golden.js";
import { type Installed, installNpm, installPip, Missing } from "./install.js";

/*
 * Third-party clients, unchanged: each runs the examples of its own documentation against a server with a tiny model.
 * What they saved is looked at here, and drawn again by the library.
 */

// Installations and pictures, on a machine that may be busy.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

const work = mkdtempSync(join(tmpdir(), "clients-"));
const model = join(work, "models", "tiny");
const mask = join(work, "mask.png");
let server: RunningServer;

/** As an operator has them: the names are those of the examples. */
function folders() {
  cpSync(goldenPath("models/tiny-sd1"), model, { recursive: true });
  // What a request leaves open; the web UI's own defaults would take minutes here.
  const defaults = { width: 64, height: 64, steps: 2, scheduler: "euler" };
  writeFileSync(join(model, "generation_defaults.json"), JSON.stringify(defaults));
  const [controlDir, loraDir, upscalerDir] = ["controls", "loras", "upscalers"].map((name) => {
    mkdirSync(join(work, name));
    return join(work, name);
  });
  cpSync(goldenPath("models/tiny-controlnet"), join(controlDir!, "control_v11p_sd15_canny"), {
    recursive: true,
  });
  cpSync(goldenPath("adapters/lora-kohya.safetensors"), join(loraDir!, "Moxin_10.safetensors"));
  cpSync(goldenExtra("upscalers/real-esrgan.pth"), join(upscalerDir!, "RealESRGAN_x4plus.pth"));
  return { controlDir: controlDir!, loraDir: loraDir!, upscalerDir: upscalerDir! };
}

beforeAll(async () => {
  const dataDir = join(work, "data");
  server = await serve({ port: 0, dataDir, graceMs: 0, model, ...folders() });
  // The left half is to be repainted.
  const half = {
    width: 64,
    height: 64,
    data: new Uint8Array(64 * 64 * 4).map((_, i) => (i % 256 < 128 ? 0 : 255)),
  };
  writeFileSync(mask, encodePng(half));
});
afterAll(() => server?.close());

/** Runs examples in an empty folder, into which they save their pictures. */
async function examples({ program, folder }: Installed, file: string) {
  const cwd = mkdtempSync(join(work, `${file}-`));
  const env = { ...process.env, SERVER: server.url, MASK: mask };
  const child = spawn(program, [join(folder, file)], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  expect(code, `${file}: ${stderr}`).toBe(0);
  const read = (name: string) => readFileSync(join(cwd, name));
  return {
    /** What the examples printed last. */
    told: stdout.trim() === "" ? {} : JSON.parse(stdout.trim().split("\n").at(-1)!),
    png: (name: string) => decodePng(read(name)),
    size: async (name: string) => {
      const { width, height, format } = await sharp(read(name)).metadata();
      return `${width}x${height} ${format}`;
    },
    /** Without the opacity that some clients add. */
    image: async (name: string): Promise<Image> => {
      const { width, height, data } = await readImage(await sharp(read(name)).removeAlpha().png().toBuffer());
      return { width, height, data };
    },
  };
}

/** Missing packages are a word, not a failure; an installation that fails is one. */
async function installed(install: () => Promise<Installed>, { skip }: TestContext): Promise<Installed> {
  try {
    return await install();
  } catch (error) {
    if (error instanceof Missing) skip(error.message);
    throw error;
  }
}

/** The library's picture of what the parameters in a picture say. */
async function again(parameters: string | undefined, more: Partial<GenerateOptions> = {}): Promise<Image> {
  const { prompt, negativePrompt, steps, guidance, seed, size, sampler } = parseParameters(parameters ?? "");
  const { images } = await generate({
    model,
    prompt,
    ...(negativePrompt !== undefined && { negativePrompt }),
    ...size,
    steps: steps!,
    guidance: guidance!,
    seed: seed!,
    scheduler: { sampler: sampler! },
    ...more,
  });
  return images[0]!;
}

test("node-sd-webui", async (context) => {
  const { told, png, size } = await examples(await installed(installNpm, context), "node-sd-webui.mjs");
  const { image, text: texts } = png("image.png");
  expect(image).toEqual(await again(texts.parameters));
  const five = await Promise.all([0, 1, 2, 3, 4].map((i) => size(`image-${i}.png`)));
  expect(five).toEqual(Array(5).fill("96x64 png"));
  const third = png("image-2.png");
  expect(third.image).toEqual(await again(third.text.parameters));
  expect(await size("varied.png")).toBe("96x64 png");
  expect(told).toMatchObject({
    negativePrompt: "blurry, cartoon, drawing, illustration",
    steps: 4,
    width: 96,
  });
});

test("openai", async (context) => {
  const { told, png, size } = await examples(await installed(installNpm, context), "openai.mjs");
  const { image, text: texts } = png("otter.png");
  expect(image).toEqual(await again(texts.parameters));
  for (const name of ["linked", "streamed", "edited", "varied"])
    expect(await size(`${name}.png`)).toBe("64x64 png");
  rightHalfIsKept(png("masked.png").image, image);
  expect(told).toEqual({
    events: ["image_generation.partial_image", "image_generation.completed"],
    models: expect.arrayContaining(["tiny CPU FP32"]),
    refused: { status: 404, code: "model_not_found" },
  });
});

test("ai with @ai-sdk/openai", async (context) => {
  const { told, png, size } = await examples(await installed(installNpm, context), "ai.mjs");
  const { image, text: texts } = png("image.png");
  expect(image).toEqual(await again(texts.parameters));
  expect(await size("sized.png")).toBe("96x64 png");
  for (const i of [0, 1, 2, 3]) expect(parseParameters(png(`image-${i}.png`).text.parameters!).steps).toBe(4);
  expect(await size("turned.png")).toBe("64x64 png");
  rightHalfIsKept(png("inpainted.png").image, image);
  expect(told).toEqual({ warnings: [], mediaType: "image/png" });
});

test("stable-diffusion-api", async (context) => {
  const { told, size, ...saved } = await examples(
    await installed(installNpm, context),
    "stable-diffusion-api.mjs",
  );
  expect(await saved.image("result.png")).toEqual(await again(told.info));
  for (const name of ["varied", "controlled", "edges", "detected"])
    expect(await size(`${name}.png`)).toMatch(/png$/);
  expect(await size("larger.png")).toBe("128x128 png");
  expect(told).toMatchObject({
    models: ["control_v11p_sd15_canny"],
    modules: ["none", "canny", "invert"],
    progress: 0,
    interrogated: 501,
    model: expect.stringMatching(/^emoji-diffusion-256 /),
  });
});

test("webuiapi", async (context) => {
  const installation = await installed(installPip, context);
  const { told, size, image } = await examples(installation, "webuiapi_examples.py");
  expect(told.seed).toBe(1003);
  const squirrel = await image("squirrel.png");
  expect(squirrel).toEqual(await again(told.infotext));
  // Styles that there are none of are ignored, with a word.
  expect(told.comments).toEqual(["there is no style anime: ignored"]);
  expect(await size("hires.png")).toBe("128x96 png");
  expect(told.hires).toContain("Size: 64x64");
  const cat = await image("cat.png");
  const painted = await image("inpainted.png");
  expect(painted.data.subarray(64 * 3 * 48)).toEqual(cat.data.subarray(64 * 3 * 48)); // below the mask
  expect(painted.data).not.toEqual(cat.data);
  for (const name of ["larger", "larger-0", "larger-1"]) expect(await size(`${name}.png`)).toBe("96x96 png");
  expect(await size("kitten.png")).toBe("64x64 png");
  expect(told.models).toContain("tiny CPU FP32");
  expect(told.closest).toMatch(/^emoji-diffusion-256 /);
  expect(told.lora).toContain("<lora:Moxin_10:0.6>");
  const plain = await again(told.lora.replace(/<lora:[^>]*>/, ""));
  expect((await image("lora.png")).data).not.toEqual(plain.data);
  expect(told.controls).toEqual(["control_v11p_sd15_canny"]);
  expect(told.modules).toEqual(["none", "canny", "invert"]);
  // The picture, and behind it what each unit was shown.
  for (const name of ["controlled", "girl-0", "girl-1", "girl-2"])
    expect(await size(`${name}.png`)).toBe("64x64 png");
  expect((await image("girl-1.png")).data).toEqual((await image("girl-2.png")).data);
  expect(await size("edges.png")).toMatch(/png$/);
  expect(told.interrogated).toMatchObject({
    status: 501,
    body: { detail: expect.stringContaining("describes") },
  });
});

test("sd-backend-client", async (context) => {
  const installation = await installed(installPip, context);
  const { told, size, image } = await examples(installation, "sd_backend_client_examples.py");
  expect(told.seeds).toEqual([42]);
  const prompt =
    "a corgi astronaut, detailed\nSteps: 4, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64";
  const corgi = await image("corgi.png");
  expect(corgi).toEqual(await again(prompt));
  for (const name of ["lighthouse-0", "lighthouse-1", "inpainted", "varied", "controlled", "fox"])
    expect(await size(`${name}.png`)).toBe("64x64 png");
  const row = (from: Image) => from.data.subarray(64 * 3 * 63);
  expect(row(await image("inpainted.png"))).toEqual(row(corgi)); // below the mask
  const castles = await Promise.all([0, 1, 2, 3, 4, 5].map((i) => size(`castle-${i}.png`)));
  expect(castles).toEqual(Array(6).fill("96x96 png"));
  expect(await size("larger.png")).toBe("128x128 png");
  expect(told).toMatchObject({
    maps: 1,
    sliders: ["control_mode", "resize_mode", "processor_res", "threshold_a", "threshold_b"],
    capabilities: { controlnet: true, scheduler: true, interrogate: false },
  });
  expect(told.interrogated).toContain("describes");
});

test("openai for Python", async (context) => {
  const installation = await installed(installPip, context);
  const { told, png, size } = await examples(installation, "openai_examples.py");
  const { image, text: texts } = png("otter.png");
  expect(texts.parameters).toContain("Seed: 7,");
  expect(image).toEqual(await again(texts.parameters));
  expect(png("again.png").image).toEqual(image);
  for (const name of ["linked", "streamed", "varied"]) expect(await size(`${name}.png`)).toBe("64x64 png");
  for (const i of [0, 1]) rightHalfIsKept(png(`edited-${i}.png`).image, image);
  expect(told).toEqual({
    events: ["image_generation.partial_image", "image_generation.completed"],
    refused: "model_not_found",
    models: expect.arrayContaining(["tiny CPU FP32"]),
  });
});

test("langchain-community's DALL-E wrapper", async (context) => {
  const installation = await installed(installPip, context);
  const { told, png, size } = await examples(installation, "langchain_examples.py");
  const { image, text: texts } = png("museum.png");
  expect(image).toEqual(await again(texts.parameters));
  for (const i of [0, 1]) expect(await size(`museum-${i}.png`)).toBe("96x64 png");
  for (const url of told.urls) expect(url).toContain(`${server.url}/v1/images/links/`);
});

function rightHalfIsKept(made: Image, before: Image): void {
  expect([made.width, made.height]).toEqual([before.width, before.height]);
  const right = ({ data }: Image) => data.filter((_, i) => i % (64 * 3) >= 32 * 3);
  expect(right(made)).toEqual(right(before));
  expect(made.data).not.toEqual(before.data);
}
