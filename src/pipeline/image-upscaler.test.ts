import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { packageFolder } from "../disk/package.js";
import { readImage } from "../image/read.js";
import { resize } from "../image/resize.js";
import { goldenExtra, goldenPath, readTensors, toNhwc } from "../testing/golden.js";
import { ImageUpscaler, upscale } from "./image-upscaler.js";
import { StableDiffusion } from "./stable-diffusion.js";

const cacheDir = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
const included = await ImageUpscaler.load(undefined, { cacheDir });
afterAll(async () => {
  await included.dispose();
  rmSync(cacheDir, { recursive: true });
});
const picture = goldenExtra("upscalers/wide-48x40.png");
const expected = toNhwc(readTensors(goldenExtra("upscalers/wide-48x40-x4.safetensors")).get("output")!);

describe("the included upscaler", () => {
  it("gives PyTorch's picture, at its own scale", async () => {
    const got = await included.upscale(picture);
    expect([included.name, included.scale, got.width, got.height]).toEqual(["emoji-x4-compact", 4, 192, 160]);
    const off = expected.data.map((value, i) =>
      Math.abs(Math.min(1, Math.max(0, value)) * 255 - got.data[i]!),
    );
    expect(Math.max(...off)).toBeLessThan(0.5 + 255e-4);
  });

  it("reaches other sizes by Lanczos, and larger ones by enlarging once more", async () => {
    const whole = await included.upscale(picture);
    const smaller = await included.upscale(picture, { scale: 2.5 });
    expect(smaller).toEqual(resize(whole, { width: 120, height: 100 }, "lanczos"));
    const high = await included.upscale(picture, { height: 80 });
    expect([high.width, high.height]).toEqual([96, 80]);
    const twice = await included.upscale(await included.upscale(picture));
    const larger = await included.upscale(picture, { width: 480, height: 300 });
    expect(larger).toEqual(resize(twice, { width: 480, height: 300 }, "lanczos"));
  });

  it("keeps transparency", async () => {
    const { width, height, data } = await readImage(picture);
    const rgba = new Uint8Array(width * height * 4);
    for (let i = 0; i < width * height; i++) {
      rgba.set(data.subarray(3 * i, 3 * i + 3), 4 * i);
      rgba[4 * i + 3] = i % width < 24 ? 0 : 255;
    }
    const got = await included.upscale({ width, height, data: rgba });
    expect(got.data.length).toBe(192 * 160 * 4);
    expect([got.data[3], got.data[192 * 4 - 1]]).toEqual([0, 255]);
    const opaque = await included.upscale(picture);
    expect(got.data.filter((_, i) => i % 4 !== 3)).toEqual(opaque.data);
  });

  it.each<[object, RegExp]>([
    [{ scale: 0 }, /scale must be above 0/],
    [{ scale: 2, width: 10 }, /give one of them/],
    [{ width: 1.5 }, /width must be a whole number/],
    [{ widht: 10 }, /did you mean|widht/],
  ])("%j is refused", async (options, message) => {
    await expect(included.upscale(picture, options)).rejects.toThrow(message);
  });

  it("stops when it is told to", async () => {
    const signal = AbortSignal.abort();
    await expect(included.upscale(picture, { signal })).rejects.toThrow(/abort/i);
  });

  it.each([
    [
      "throws",
      () => {
        throw new Error("my own");
      },
    ],
    ["is rejected", async () => Promise.reject(new Error("my own"))],
  ])("ends with the error of a listener that %s", async (_, onProgress) => {
    await expect(included.upscale(picture, { onProgress })).rejects.toThrow("my own");
    expect((await included.upscale(picture)).width).toBe(192);
  });
});

it("in one call, with another file", async () => {
  const model = goldenExtra("upscalers/real-esrgan.pth");
  const got = await upscale({ width: 3, height: 2, data: new Uint8Array(18).fill(90) }, { model, cacheDir });
  expect([got.width, got.height, got.data.length]).toEqual([12, 8, 288]);
});

it("between two passes: by the name of the included one, or by a file", async () => {
  await using model = await StableDiffusion.load(goldenPath("models/tiny-sd1"), { cacheDir });
  const make = (upscaler: string) =>
    model.generate({ prompt: "a fox", width: 32, height: 32, steps: 2, seed: 1, hires: { upscaler } });
  const [named, byFile, resampled] = [
    await make("emoji-x4-compact"),
    await make(join(packageFolder(), "weights/emoji-x4-compact/emoji-x4-compact.safetensors")),
    await make("lanczos"),
  ];
  expect([named.images[0]!.width, named.images[0]!.height]).toEqual([64, 64]);
  expect(named.latents).toEqual(byFile.latents);
  expect(named.latents).not.toEqual(resampled.latents);
  expect(named.options.hires?.upscaler).toBe("emoji-x4-compact");
  await expect(make("/no/such/file.pth")).rejects.toMatchObject({ code: "FILE_MISSING" });
  await expect(make("lanczoz")).rejects.toThrow(/hires\.upscaler: there is no lanczoz/);
});

it("names that lead nowhere and files that are no upscaler are refused", async () => {
  await expect(ImageUpscaler.load("no-such-upscaler")).rejects.toMatchObject({ code: "FILE_MISSING" });
  await expect(ImageUpscaler.load(goldenExtra("upscalers"))).rejects.toThrow(/files of weights, not one/);
  const other = goldenExtra("t2i-adapter/t2i-adapter.safetensors");
  await expect(ImageUpscaler.load(other)).rejects.toThrow(/no upscaler that is known/);
});
