import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenTensor } from "../testing/golden.js";
import { goldenImage } from "../testing/golden-image.js";
import { crop, type Image, paste } from "./image.js";
import { fitImage, type ResampleFilter, resize } from "./resize.js";

const bytes = (length: number, step: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * step) % 256);

const anyImage = fc
  .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.constantFrom(1, 3, 4))
  .chain(([width, height, channels]) => {
    const length = width * height * channels;
    return fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((data): Image => ({ width, height, data }));
  });
const filters: ResampleFilter[] = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"];

describe("resize", () => {
  it.each(goldenCases("resize").map((c) => [c.id, c] as const))("%s is Pillow's, to the bit", (_, c) => {
    const { width, height, resample } = c.config;
    const got = resize(goldenImage(c.inputs.image), { width, height }, resample);
    expect([got.width, got.height]).toEqual([width, height]);
    expect(got.data).toEqual(Uint8Array.from(goldenTensor(c.expected.image).data));
  });

  it("premultiplies RGBA, as Pillow 13 does", () => {
    const image = { width: 4, height: 5, data: bytes(80, 37) };
    expect([...resize(image, { width: 3, height: 3 }).data]).toEqual([
      50, 65, 98, 101, 120, 103, 144, 106, 71, 115, 113, 128, 126, 99, 148, 103, 109, 124, 136, 149, 77, 130,
      147, 131, 138, 113, 126, 133, 104, 155, 158, 169, 162, 70, 115, 97,
    ]);
  });

  it("takes the columns first where the height shrinks much more than the width, as Pillow 13 does", () => {
    const image = { width: 3, height: 12, data: bytes(36, 53) };
    const got = resize(image, { width: 4, height: 2 }, "bicubic");
    expect([...got.data]).toEqual([113, 119, 121, 117, 148, 133, 113, 101]);
  });

  it("keeps a plain colour plain with every filter", () => {
    fc.assert(
      fc.property(anyImage, fc.constantFrom(...filters), fc.nat(255), (image, filter, level) => {
        const plain = { ...image, data: new Uint8Array(image.data.length).fill(level) };
        if (plain.data.length === image.width * image.height * 4) return; // alpha rounds the colours
        const got = resize(plain, { width: 5, height: 11 }, filter);
        expect(got.data.every((v) => v === level)).toBe(true);
      }),
    );
  });

  it("refuses sizes and filters that do not exist", () => {
    const image = { width: 2, height: 2, data: bytes(12, 7) };
    expect(() => resize(image, { width: 0, height: 2 })).toThrow(/width of the resized image/);
    expect(() => resize(image, { width: 2, height: -1 })).toThrow(/at least 1, got -1/);
    expect(() => resize(image, { width: 2.5, height: 2 })).toThrow(/whole number/);
    expect(() => resize(image, { width: 3, height: 3 }, "lanzcos" as ResampleFilter)).toThrow(
      /no filter "lanzcos"/,
    );
    expect(() => resize({ ...image, data: bytes(11, 7) }, { width: 3, height: 3 })).toThrow(/got 11/);
  });
});

describe("fitImage", () => {
  const image = { width: 9, height: 4, data: bytes(108, 41) };

  it("crop and fill centre the picture and leave nothing blank", () => {
    const cropped = fitImage(image, { width: 4, height: 4 }, "crop");
    expect(cropped).toEqual(
      crop(resize(image, { width: 9, height: 4 }), { left: 2, top: 0, right: 6, bottom: 4 }),
    );
    const filled = fitImage(
      { ...image, data: new Uint8Array(108).fill(200) },
      { width: 9, height: 20 },
      "fill",
    );
    expect(filled.data.every((v) => v === 200)).toBe(true);
  });

  it("accepts a picture of one pixel and very long ones", () => {
    const pixel = { width: 1, height: 1, data: Uint8Array.of(7, 8, 9) };
    for (const mode of ["stretch", "crop", "fill"] as const)
      expect(fitImage(pixel, { width: 8, height: 16 }, mode).data.length).toBe(8 * 16 * 3);
    const line = { width: 300, height: 1, data: bytes(900, 3) };
    expect(fitImage(line, { width: 16, height: 16 }, "fill").data.length).toBe(16 * 16 * 3);
  });

  it("refuses an unknown mode", () => {
    expect(() => fitImage(image, { width: 4, height: 4 }, "stretched" as "crop")).toThrow(
      /stretch, crop or fill/,
    );
  });
});

describe("crop and paste", () => {
  it("paste undoes crop", () => {
    fc.assert(
      fc.property(anyImage, fc.nat(), fc.nat(), (image, a, b) => {
        const [left, top] = [a % image.width, b % image.height];
        const part = crop(image, { left, top, right: image.width, bottom: image.height });
        const blank = { ...image, data: new Uint8Array(image.data.length) };
        const again = crop(paste(blank, part, left, top), {
          left,
          top,
          right: image.width,
          bottom: image.height,
        });
        expect(again).toEqual(part);
        expect(paste(image, part, left, top)).toEqual(image);
      }),
    );
  });

  it("paste cuts what hangs over, crop refuses it", () => {
    const image = { width: 2, height: 2, data: Uint8Array.of(1, 2, 3, 4) };
    const patch = { width: 2, height: 2, data: Uint8Array.of(5, 6, 7, 8) };
    expect([...paste(image, patch, 1, -1).data]).toEqual([1, 7, 3, 4]);
    expect([...paste(image, patch, 5, 0).data]).toEqual([1, 2, 3, 4]);
    expect(() => crop(image, { left: 1, top: 0, right: 3, bottom: 1 })).toThrow(/inside the image of 2x2/);
    expect(() => crop(image, { left: 1, top: 0, right: 1, bottom: 1 })).toThrow(/at least 1, got 0/);
  });
});
