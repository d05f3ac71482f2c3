import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenTensor } from "../testing/golden.js";
import { goldenImage } from "../testing/golden-image.js";
import { applyOverlay, boundingBox, cropRegion, fillMasked } from "./composite.js";
import type { Image, Mask } from "./image.js";

const bytes = (length: number, step: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * step) % 256);

const pictures = fc
  .tuple(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 8 }))
  .chain(([width, height]) => {
    const rgb = fc
      .uint8Array({ minLength: width * height * 3, maxLength: width * height * 3 })
      .map((data): Image => ({ width, height, data }));
    const mask = fc
      .uint8Array({ minLength: width * height, maxLength: width * height })
      .map((data): Mask => ({ width, height, data }));
    return fc.record({ original: rgb, generated: rgb, mask });
  });
const plain = (like: Mask, level: number): Mask => ({
  ...like,
  data: new Uint8Array(like.data.length).fill(level),
});

describe("applyOverlay", () => {
  it.each(goldenCases("overlay").map((c) => [c.id, c] as const))("%s is diffusers', to the bit", (_, c) => {
    const [mask, init, image] = [c.inputs.mask, c.inputs.init, c.inputs.image].map(goldenImage);
    const box = c.config.crop_coords;
    const region = box && { left: box[0], top: box[1], right: box[2], bottom: box[3] };
    const got = applyOverlay(init!, image!, mask!, region ?? undefined);
    expect(got.data).toEqual(Uint8Array.from(goldenTensor(c.expected.image).data));
  });

  it("returns the original bit-identical outside the mask, the generated one where the mask is full", () => {
    fc.assert(
      fc.property(pictures, ({ original, generated, mask }) => {
        const got = applyOverlay(original, generated, mask);
        for (const [i, level] of mask.data.entries())
          for (let k = i * 3; k < i * 3 + 3; k++) {
            const [a, b] = [original.data[k]!, generated.data[k]!];
            if (level === 0) expect(got.data[k]).toBe(a);
            else if (level === 255) expect(got.data[k]).toBe(b);
            else expect(Math.abs(got.data[k]! - (a + ((b - a) * level) / 255))).toBeLessThan(2);
          }
        expect(applyOverlay(original, generated, plain(mask, 0))).toEqual(original);
        expect(applyOverlay(original, generated, plain(mask, 255))).toEqual(generated);
      }),
    );
  });

  it("leaves everything outside the region alone", () => {
    const original = { width: 6, height: 6, data: bytes(108, 7) };
    const mask = { width: 6, height: 6, data: new Uint8Array(36) };
    mask.data[14] = 255;
    const generated = { width: 8, height: 8, data: new Uint8Array(192).fill(9) };
    const got = applyOverlay(original, generated, mask, { left: 1, top: 1, right: 5, bottom: 5 });
    const want = original.data.slice();
    want.fill(9, 42, 45);
    expect(got.data).toEqual(want);
  });

  it("refuses what does not fit together", () => {
    const image = { width: 2, height: 2, data: bytes(12, 7) };
    const mask = { width: 2, height: 2, data: bytes(4, 70) };
    const wide = { width: 4, height: 1, data: bytes(4, 70) };
    expect(() => applyOverlay(image, image, wide)).toThrow(/original and the mask must have the same size/);
    expect(() => applyOverlay(image, { ...image, width: 4, height: 1 }, mask)).toThrow(
      /generated picture must have/,
    );
    expect(() => applyOverlay({ ...image, data: bytes(16, 7) }, image, mask)).toThrow(
      /must be RGB, got RGBA/,
    );
    expect(() => applyOverlay(image, image, image)).toThrow(/one byte a pixel, got 3/);
  });
});

describe("fillMasked", () => {
  it("is the web UI's fill on Pillow 13, to the bit", () => {
    const image = { width: 5, height: 4, data: bytes(60, 29) };
    const mask = { width: 5, height: 4, data: new Uint8Array(20) };
    for (const i of [7, 8, 12, 13]) mask.data[i] = 255;
    mask.data[0] = 100;
    expect([...fillMasked(image, mask).data]).toEqual([
      36, 65, 90, 87, 116, 145, 174, 203, 232, 5, 34, 63, 92, 121, 150, 179, 208, 237, 10, 39, 68, 95, 125,
      138, 95, 124, 139, 15, 44, 73, 102, 131, 160, 189, 218, 247, 98, 128, 135, 100, 129, 138, 194, 223, 252,
      25, 54, 83, 112, 141, 170, 199, 228, 1, 30, 59, 88, 117, 146, 175,
    ]);
  });

  it("an empty mask changes nothing", () => {
    fc.assert(
      fc.property(pictures, ({ original, mask }) => {
        expect(fillMasked(original, plain(mask, 0))).toEqual(original);
      }),
    );
  });
});

describe("cropRegion", () => {
  it.each(goldenCases("crop-region").map((c) => [c.id, c] as const))("%s", (_, c) => {
    const { width, height, pad } = c.config;
    const { left, top, right, bottom } = cropRegion(goldenImage(c.inputs.mask), { width, height }, pad);
    expect([left, top, right, bottom]).toEqual(c.expected.box);
  });

  it("lies inside the image and holds the whole mask", () => {
    fc.assert(
      fc.property(pictures, fc.integer({ min: 1, max: 99 }), fc.nat(9), ({ mask }, width, padding) => {
        const box = boundingBox(mask);
        if (!box) return;
        const region = cropRegion(mask, { width, height: 40 }, padding);
        expect(region.left >= 0 && region.top >= 0).toBe(true);
        expect(region.right <= mask.width && region.bottom <= mask.height).toBe(true);
        expect(region.left <= box.left && region.top <= box.top).toBe(true);
        expect(region.right >= box.right && region.bottom >= box.bottom).toBe(true);
      }),
    );
  });

  it("refuses an empty mask and negative padding; a full mask is the whole picture", () => {
    const mask = { width: 3, height: 2, data: new Uint8Array(6) };
    expect(() => cropRegion(mask, { width: 8, height: 8 })).toThrow(/mask is empty/);
    expect(() => cropRegion(plain(mask, 255), { width: 8, height: 8 }, -1)).toThrow(/padding/);
    expect(cropRegion(plain(mask, 1), { width: 8, height: 8 })).toEqual({
      left: 0,
      top: 0,
      right: 3,
      bottom: 2,
    });
  });
});
