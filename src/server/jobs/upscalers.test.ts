import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodePng, type Image, readImage, upscale } from "../../index.js";
import { goldenExtra } from "../../testing/golden.js";
import { base64Png, grey, type TestServer, testServer } from "../fixture.js";

const folder = mkdtempSync(join(tmpdir(), "upscalers-"));
const file = join(folder, "RealESRGAN_x2plus.pth");
copyFileSync(goldenExtra("upscalers/compact-x2.pth"), file);
writeFileSync(join(folder, "broken.safetensors"), "not tensors");
// A second file of a name that is known is not a second entry.
copyFileSync(goldenExtra("upscalers/compact-x2.pth"), join(folder, "Emoji-x4-compact.pth"));
let server: TestServer;
let picture: Image;
beforeAll(async () => {
  server = await testServer({ upscalerDir: folder, work: "library" });
  picture = await readImage(goldenExtra("upscalers/wide-48x40.png"));
});
afterAll(async () => {
  await server.parts.models.dispose();
  rmSync(folder, { recursive: true });
});

const extra = async (request: object) => {
  const body = { image: base64Png(picture), ...request };
  const answer = await server.send("POST", "/sdapi/v1/extra-single-image", body);
  return { status: answer.status, json: (await answer.json()) as Record<string, string> };
};

test("the lists have the included network and those of the folder, each with its scale", async () => {
  const own = await (await server.send("GET", "/upscalers")).json();
  expect(own).toEqual({
    upscalers: ["Lanczos", "Nearest", "emoji-x4-compact", "RealESRGAN_x2plus"],
    networks: ["emoji-x4-compact", "RealESRGAN_x2plus"],
  });
  const webui = (await (await server.send("GET", "/sdapi/v1/upscalers")).json()) as Record<string, unknown>[];
  expect(webui.map(({ name, scale }) => [name, scale])).toEqual([
    ["None", 1],
    ["Lanczos", 4],
    ["Nearest", 4],
    ["emoji-x4-compact", 4],
    ["RealESRGAN_x2plus", 2],
  ]);
});

test("one that there is not is called as it was asked for, with the file that it would be", async () => {
  const { status, json } = await extra({ upscaler_1: "R-ESRGAN 4x+" });
  expect([status, json.detail]).toEqual([501, "there is no upscaler R-ESRGAN 4x+ (RealESRGAN_x4plus)"]);
});

test("extras enlarge by a network, under the web UI's name of its file", async () => {
  const { status, json } = await extra({ upscaler_1: "R-ESRGAN 2x+", upscaling_resize: 2 });
  expect(json.errors).toBeUndefined();
  expect(status).toBe(200);
  expect(json.html_info).toContain("Postprocess upscaler: RealESRGAN_x2plus, Size: 96x80, Source: 48x40");
  const { image } = decodePng(Buffer.from(json.image!, "base64"));
  expect(image).toEqual(await upscale(picture, { model: file, scale: 2 }));
});

test("a job that names none is enlarged by the included network, at its own scale", async () => {
  const body = { kind: "upscale", image: base64Png(grey(12, 10, 80)) };
  expect((await server.send("POST", "/jobs", body)).status).toBeLessThan(300);
  await expect
    .poll(() => server.ran.at(-1), { timeout: 60_000 })
    .toMatchObject({
      upscaler: "emoji-x4-compact",
      width: 48,
      height: 40,
    });
});

test("a second pass enlarges by a network of the list, never by a path", async () => {
  const { send, ran } = await testServer({ upscalerDir: folder });
  const hires = { enable_hr: true, hr_scale: 2, denoising_strength: 0.5 };
  const post = (hr_upscaler: string) =>
    send("POST", "/sdapi/v1/txt2img", {
      prompt: "a dog",
      width: 64,
      height: 64,
      steps: 2,
      ...hires,
      hr_upscaler,
    });
  expect((await post("R-ESRGAN 2x+")).status).toBe(200);
  expect(ran[0]).toMatchObject({ hires: { upscaler: "RealESRGAN_x2plus" } });
  for (const name of ["4x-UltraSharp", file]) {
    const answer = await post(name);
    expect(answer.status).toBe(501);
    expect(JSON.stringify(await answer.json())).toContain("emoji-x4-compact");
  }
});

test("what is not there, and what cannot be read, is said by name", async () => {
  const missing = await extra({ upscaler_1: "R-ESRGAN 4x+ Anime6B" });
  expect(missing.status).toBe(501);
  expect(JSON.stringify(missing.json)).toContain("RealESRGAN_x2plus");
  const broken = await extra({ upscaler_1: "broken" });
  expect(broken.status).toBe(501);
  expect(JSON.stringify(broken.json)).toContain("broken.safetensors");
});
