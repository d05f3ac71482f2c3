import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodePng } from "./png.js";
import { readImage } from "./read.js";

const red = { r: 200, g: 30, b: 60 };
const block = (channels: 3 | 4 = 3) =>
  sharp({
    create: { width: 6, height: 4, channels, background: channels === 4 ? { ...red, alpha: 0.5 } : red },
  });
const pixel = ({ data, width, height }: { data: Uint8Array; width: number; height: number }) => [
  ...data.subarray(0, data.length / (width * height)),
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "read-image-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("readImage", () => {
  it("takes pixels as they are", async () => {
    const image = { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) };
    expect(await readImage(image)).toBe(image);
  });

  it("takes a path or bytes, and looks at the content instead of the name", async () => {
    const image = { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) };
    const path = join(folder, "picture.jpg");
    await writeFile(path, encodePng(image));
    expect(await readImage(path)).toEqual(image);
    expect(await readImage(encodePng(image))).toEqual(image);
  });

  it("reads JPEG, gray JPEG, CMYK JPEG and WebP as sRGB", async () => {
    const jpeg = await readImage(await block().jpeg({ quality: 100, chromaSubsampling: "4:4:4" }).toBuffer());
    expect(jpeg).toMatchObject({ width: 6, height: 4 });
    expect(pixel(jpeg)).toBeCloseTo32([200, 30, 60], { abs: 2 });
    const [gray, ...others] = pixel(await readImage(await block().toColourspace("b-w").jpeg().toBuffer()));
    expect(others).toEqual([gray, gray]);
    const cmyk = await readImage(await block().toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer());
    expect(pixel(cmyk)).toBeCloseTo32([215, 2, 44], { abs: 2 }); // Pillow's way, without the profile
    expect(pixel(await readImage(await block(4).webp({ lossless: true }).toBuffer()))).toEqual([
      200, 30, 60, 128,
    ]);
  });

  it("applies EXIF orientation", async () => {
    const left = Buffer.from([...Array(16)].flatMap((_, i) => (i % 4 < 2 ? [0, 0, 0] : [255, 255, 255])));
    const turned = await sharp(left, { raw: { width: 4, height: 4, channels: 3 } })
      .withMetadata({ orientation: 6 })
      .webp({ lossless: true })
      .toBuffer();
    const { data } = await readImage(turned); // 6: the left side of the file is the top of the picture
    expect([...data.subarray(0, 24)]).toEqual(Array(24).fill(0));
    expect([...data.subarray(24)]).toEqual(Array(24).fill(255));
    const wide = await readImage(await block().withMetadata({ orientation: 8 }).jpeg().toBuffer());
    expect([wide.width, wide.height]).toEqual([4, 6]);
  });

  it("takes the first frame of an animation", async () => {
    const frames = Buffer.from([...Array(18).fill(10), ...Array(18).fill(200)]);
    const animated = await sharp(frames, { raw: { width: 3, height: 4, channels: 3, pageHeight: 2 } })
      .webp({ lossless: true, loop: 0, delay: [100, 100] })
      .toBuffer();
    expect((await sharp(animated).metadata()).pages).toBe(2);
    const first = await readImage(animated);
    expect([first.width, first.height]).toEqual([3, 2]);
    expect([...first.data.subarray(0, 3)]).toEqual([10, 10, 10]);
  });

  it("refuses more pixels than allowed from the header alone", async () => {
    const jpeg = await block().jpeg().toBuffer();
    const claims = Buffer.from(jpeg); // the same file claiming 65,500 x 65,500
    const start = claims.findIndex((byte, i) => byte === 0xff && claims[i + 1] === 0xc0);
    claims.writeUInt16BE(65_500, start + 5);
    claims.writeUInt16BE(65_500, start + 7);
    for (const [bytes, maxPixels] of [
      [jpeg, 23],
      [claims, 2 ** 26],
      [encodePng({ width: 6, height: 4, data: new Uint8Array(72) }), 23],
    ] as const)
      await expect(readImage(bytes, { maxPixels })).rejects.toMatchObject({
        code: "BAD_IMAGE",
        message: expect.stringMatching(/ x \d+ pixels are more than/),
      });
    expect((await readImage(jpeg, { maxPixels: 24 })).width).toBe(6);
  });

  it("refuses damaged files, other formats and what is no image", async () => {
    const noise = Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * i * 7919) % 251));
    const jpeg = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer();
    const webp = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .webp({ lossless: true })
      .toBuffer();
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    for (const bytes of [
      jpeg.subarray(0, jpeg.length / 2),
      webp.subarray(0, webp.length / 2),
      jpeg.subarray(0, 4),
      svg,
      new Uint8Array(),
    ])
      await expect(readImage(bytes)).rejects.toMatchObject({ code: "BAD_IMAGE" });
    for (const image of [
      { width: 2, height: 2, data: new Uint8Array(5) },
      { width: 0.5, height: 6, data: new Uint8Array(9) },
      {},
      undefined,
    ])
      await expect(readImage(image as never)).rejects.toMatchObject({ code: "BAD_IMAGE" });
    await expect(readImage(join(folder, "nothing.png"))).rejects.toMatchObject({ code: "FILE_MISSING" });
    await expect(readImage(folder)).rejects.toMatchObject({ code: "BAD_IMAGE", hint: "give a file in it" });
  });
});
