import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { goldenExtra } from "../testing/golden.js";
import { readExif, writeExif } from "./exif.js";
import { readImageTexts, withParameters } from "./parameters-text.js";
import { decodePng, encodePng } from "./png.js";
import { readImage } from "./read.js";

const path = (name: string) => goldenExtra(`pictures/${name}`);
const file = (name: string) => new Uint8Array(readFileSync(path(name)));

describe("orientation", () => {
  const want = decodePng(file("orientation-upright.png")).image;

  it.each([2, 3, 4, 5, 6, 7, 8])("%d of a PNG is undone, to the bit", async (orientation) => {
    expect(await readImage(file(`orientation-${orientation}.png`))).toEqual(want);
    expect(await readImage(path(`orientation-${orientation}.png`))).toEqual(want);
    expect(decodePng(file(`orientation-${orientation}.png`)).image).toEqual(want);
  });
});

describe("CMYK as Pillow converts it", () => {
  const { width, height, rgb } = JSON.parse(readFileSync(path("cmyk.json"), "utf8")) as {
    width: number;
    height: number;
    rgb: Record<string, number[]>;
  };
  it.each(Object.keys(rgb))("%s", async (name) => {
    const image = await readImage(file(name));
    expect([image.width, image.height]).toEqual([width, height]);
    // decoders of JPEG may differ by a level an ink
    expect([...image.data]).toBeCloseTo32(rgb[name]!, { abs: name.endsWith("jpg") ? 2 : 0 });
  });
});

describe("what a picture may be given as", () => {
  const image = { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255) };
  const bytes = encodePng(image);

  it("buffers, blobs, clamped bytes and a browser's pixels", async () => {
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    for (const input of [buffer, new Blob([buffer]), new Uint8ClampedArray(buffer)])
      expect(await readImage(input)).toEqual(image);
    expect(await readImage({ width: 2, height: 1, data: new Uint8ClampedArray(image.data) })).toEqual(image);
  });

  it("the URL of a file", async () => {
    const url = pathToFileURL(path("orientation-upright.png"));
    const want = decodePng(file("orientation-upright.png")).image;
    expect(await readImage(url)).toEqual(want);
    expect(await readImage(url.href)).toEqual(want);
  });

  it("but not what would have to be fetched", async () => {
    for (const [input, hint] of [
      ["https://example.org/a.png", /Fetch it/],
      ["HTTP://example.org/a.png", /Fetch it/],
      [new URL("https://example.org/a.png"), /Fetch it/],
      ["data:image/png;base64,AAAA", /Decode it/],
    ] as const)
      await expect(readImage(input)).rejects.toMatchObject({
        code: "BAD_IMAGE",
        message: expect.stringContaining("is not fetched"),
        hint: expect.stringMatching(hint),
      });
  });
});

describe("formats", () => {
  const pixels = { raw: { width: 4, height: 4, channels: 3 as const } };
  const red = Buffer.from(Array.from({ length: 48 }, (_, i) => [250, 10, 20][i % 3]!));

  it.each(["gif", "tiff", "avif"] as const)("%s is opened", async (format) => {
    const image = await readImage(await sharp(red, pixels).toFormat(format, { quality: 100 }).toBuffer());
    expect([image.width, image.height]).toEqual([4, 4]);
    expect([...image.data.subarray(0, 3)]).toBeCloseTo32([250, 10, 20], { abs: 6 });
  });

  it.each([
    ["BM6\0\0\0", /a BMP file, which is not read/],
    ["\0\0\0\x18ftypheic", /a HEIC file/],
    ["8BPS\0\x01", /a Photoshop file/],
    ["%PDF-1.7", /a PDF file/],
    ["hello", /neither PNG, nor JPEG, WebP, GIF, TIFF or AVIF/],
  ])("%j is refused by name", async (begins, message) => {
    const bytes = Uint8Array.from(`${begins}${"x".repeat(64)}`, (c) => c.charCodeAt(0));
    await expect(readImage(bytes)).rejects.toMatchObject({
      code: "BAD_IMAGE",
      message: expect.stringMatching(message),
    });
  });
});

describe("parameters in JPEG and WebP", () => {
  const want = readFileSync(path("parameters.txt"), "utf8");

  it.each(["parameters.jpg", "parameters.webp"])("of %s", async (name) => {
    expect(await readImageTexts(file(name))).toEqual({ parameters: want });
  });

  it.each([
    ["jpeg", { quality: 80 }],
    ["webp", { quality: 80 }],
    ["webp", { lossless: true }],
  ] as const)("are written into %s %j, and the pixels stay", async (format, options) => {
    const text = 'a "cat", 日本 ☕\nNegative prompt: ugly\nSteps: 3, Sampler: Euler a, Seed: 5';
    for (const channels of [3, 4] as const) {
      const raw = { raw: { width: 5, height: 3, channels } };
      const noise = Buffer.from(Array.from({ length: 15 * channels }, (_, i) => (i * 37) % 251));
      const plain = await sharp(noise, raw).toFormat(format, options).toBuffer();
      const once = withParameters(plain, "something else");
      const written = withParameters(once, text);
      expect(await readImageTexts(written)).toEqual({ parameters: text });
      expect(await readImage(written)).toEqual(await readImage(plain));
      expect((await sharp(written).metadata()).hasAlpha).toBe(format === "webp" && channels === 4);
    }
  });

  it("of a PNG are its texts", async () => {
    const png = encodePng({ width: 1, height: 1, data: new Uint8Array(3) }, { parameters: "x", other: "y" });
    expect(await readImageTexts(png)).toEqual({ parameters: "x", other: "y" });
    expect(() => withParameters(png, "x")).toThrow(/not into png/);
  });

  it("damaged blocks say nothing, and stop nothing", () => {
    const whole = writeExif("a text");
    expect(readExif(whole)).toEqual({ orientation: 1, userComment: "a text" });
    for (let length = 0; length < whole.length; length++)
      expect(() => readExif(whole.subarray(0, length))).not.toThrow();
    for (let i = 0; i < whole.length; i++) {
      const broken = whole.slice();
      broken[i]! ^= 0xff;
      expect(() => readExif(broken)).not.toThrow();
    }
  });
});
