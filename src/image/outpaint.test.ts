import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyOverlay } from "./composite.js";
import { crop, type Image } from "./image.js";
import { checkMargins, outpaintCanvas, outpaintPasses, seamMask } from "./outpaint.js";

const picture = (width: number, height: number, level: (i: number) => number): Image => ({
  width,
  height,
  data: Uint8Array.from({ length: width * height * 3 }, (_, i) => level(i)),
});
const noise = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => 2 * Math.sin(i * 12.9));
const margin = fc.nat(30);
const margins = fc
  .record({ left: margin, top: margin, right: margin, bottom: margin })
  .filter((m) => Object.values(m).some((v) => v > 0));

describe("outpaintCanvas", () => {
  it("canvas and crop return the source bit-identical; what was asked for lies in the middle", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        margins,
        fc.nat(12),
        fc.boolean(),
        (width, height, grown, overlap, noised) => {
          const image = picture(width, height, (i) => (i * 89) % 256);
          const canvas = outpaintCanvas(image, grown, { overlap, ...(noised && { noise }) });
          expect(crop(canvas.image, canvas.source)).toEqual(image);
          expect([canvas.image.width % 8, canvas.image.height % 8]).toEqual([0, 0]);
          const { left, top, right, bottom } = canvas.crop;
          expect(canvas.source.left - left).toBe(grown.left);
          expect(canvas.source.top - top).toBe(grown.top);
          expect(right - canvas.source.right).toBe(grown.right);
          expect(bottom - canvas.source.bottom).toBe(grown.bottom);
          const wanted = crop(canvas.mask, canvas.crop);
          for (let y = 0; y < wanted.height; y++)
            for (let x = 0; x < wanted.width; x++) {
              const inside =
                x >= grown.left && y >= grown.top && x < grown.left + width && y < grown.top + height;
              if (!inside) expect(wanted.data[y * wanted.width + x]).toBe(255);
            }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("without overlap the source comes back untouched from the composite", () => {
    const image = picture(10, 9, (i) => (i * 31) % 256);
    const canvas = outpaintCanvas(image, { right: 13 }, { overlap: 0 });
    const generated = picture(canvas.image.width, canvas.image.height, () => 77);
    const result = applyOverlay(canvas.image, generated, canvas.feather);
    expect(crop(result, canvas.source)).toEqual(image);
    expect(crop(result, { left: 10, top: 0, right: 23, bottom: 9 }).data.every((v) => v === 77)).toBe(true);
  });

  it("the overlap is a ramp into the source, only beside new areas", () => {
    const { feather, mask, source } = outpaintCanvas(
      picture(16, 16, () => 9),
      { left: 8 },
      { overlap: 4 },
    );
    expect(source).toEqual({ left: 8, top: 0, right: 24, bottom: 16 });
    expect([...feather.data.subarray(6, 14)]).toEqual([255, 255, 204, 153, 102, 51, 0, 0]);
    expect([...mask.data.subarray(6, 14)]).toEqual([255, 255, 255, 255, 255, 255, 0, 0]);
    expect([...feather.data.subarray(12, 24)].every((v) => v === 0)).toBe(true);
  });

  it("mirrors the edges without noise; noise keeps a plain picture plain", () => {
    const row = picture(4, 1, (i) => 10 * Math.floor(i / 3));
    const canvas = outpaintCanvas(row, { left: 2, right: 2 });
    expect(
      [...crop(canvas.image, { left: 0, top: 0, right: 8, bottom: 1 }).data].filter((_, i) => i % 3 === 0),
    ).toEqual([20, 10, 0, 10, 20, 30, 20, 10]);
    const plain = outpaintCanvas(
      picture(8, 8, () => 140),
      { top: 40 },
      { noise },
    );
    expect(plain.image.data.every((v) => v === 140)).toBe(true);
  });

  it("with noise the edge goes on, not what stands farther inside", () => {
    // White, with a red block far from the right edge that touches the bottom.
    const white = picture(128, 64, (i) => {
      const [x, y] = [Math.floor(i / 3) % 128, Math.floor(i / 384)];
      return i % 3 > 0 && x >= 8 && x < 20 && y >= 40 ? 0 : 255;
    });
    const { image, source } = outpaintCanvas(white, { right: 64 }, { noise });
    const beside = crop(image, { left: source.right, top: 0, right: image.width, bottom: 64 });
    expect(beside.data.every((v) => v === 255)).toBe(true);
    const below = outpaintCanvas(white, { bottom: 32 }, { noise }).image;
    const [green, plain] = [below.data[(66 * 128 + 14) * 3 + 1]!, below.data[(66 * 128 + 100) * 3 + 1]!];
    expect(green).toBeLessThan(100);
    expect(plain).toBeGreaterThan(200);
  });

  it("releases the source's edge later and later, and its interior never", () => {
    const { released, source } = outpaintCanvas(
      picture(160, 160, () => 9),
      { left: 8 },
    );
    const row = [...released.data.subarray(0, 168)];
    expect(row.slice(0, 8)).toEqual(Array(8).fill(255));
    expect(
      row
        .slice(8, 40)
        .every((level, i, list) => level < 255 && level > 0 && (i === 0 || level < list[i - 1]!)),
    ).toBe(true);
    expect(row.slice(source.left + 32).every((level) => level === 0)).toBe(true);
    const hard = outpaintCanvas(
      picture(160, 160, () => 9),
      { left: 8 },
      { overlap: 0 },
    );
    expect(hard.released).toBe(hard.mask);
  });

  it("noise keeps the mean and roughly the contrast of the source", () => {
    const checks = picture(32, 32, (i) => ((Math.floor(i / 3) + Math.floor(i / 96)) % 2) * 100 + 60);
    const { image, source } = outpaintCanvas(checks, { right: 96 }, { noise });
    const far = crop(image, { left: source.right + 48, top: 0, right: image.width, bottom: 32 }).data;
    const mean = far.reduce((a, b) => a + b, 0) / far.length;
    const deviation = Math.sqrt(far.reduce((a, b) => a + (b - mean) ** 2, 0) / far.length);
    expect(Math.abs(mean - 110)).toBeLessThan(25);
    expect(deviation).toBeGreaterThan(15);
    expect(deviation).toBeLessThan(100);
  });

  it("refuses margins that are none or overflow, and RGBA", () => {
    const image = picture(4, 4, () => 1);
    expect(() => outpaintCanvas(image, { left: -8 })).toThrow(/left margin must be a whole number/);
    expect(() => outpaintCanvas(image, { left: 2.5 })).toThrow(/left margin/);
    expect(() => outpaintCanvas(image, {})).toThrow(/all margins are 0/);
    expect(() => outpaintCanvas(image, { up: 8 } as object)).toThrow(/no side "up"/);
    expect(() => outpaintCanvas(image, { left: 2 ** 40 })).toThrow(/more than 67108864 pixels/);
    expect(() => outpaintCanvas(image, { left: 8 }, { overlap: -1 })).toThrow(/overlap/);
    expect(() => outpaintCanvas({ ...image, data: new Uint8Array(64) }, { left: 8 })).toThrow(
      /RGB, got RGBA/,
    );
  });
});

describe("outpaintPasses", () => {
  it("adds up to the margins, each pass within the limit and not empty", () => {
    const wide = fc.nat(2000);
    const wideMargins = fc
      .record({ left: wide, top: wide, right: wide, bottom: wide })
      .filter((m) => Object.values(m).some((v) => v > 0));
    fc.assert(
      fc.property(wideMargins, fc.integer({ min: 8, max: 512 }), (grown, most) => {
        const passes = outpaintPasses(grown, most);
        for (const side of ["left", "top", "right", "bottom"] as const)
          expect(passes.reduce((sum, pass) => sum + pass[side], 0)).toBe(grown[side]);
        for (const pass of passes) {
          expect(Math.max(...Object.values(pass))).toBeLessThanOrEqual(most);
          expect(() => checkMargins(pass)).not.toThrow();
        }
      }),
    );
  });

  it("splits evenly and refuses a limit below 8", () => {
    expect(outpaintPasses({ left: 256 }, 128).map((p) => p.left)).toEqual([128, 128]);
    expect(outpaintPasses({ left: 128, bottom: 64 })).toEqual([{ left: 128, top: 0, right: 0, bottom: 64 }]);
    expect(outpaintPasses({ left: 200, bottom: 64 }).map((p) => [p.left, p.bottom])).toEqual([
      [104, 32],
      [96, 32],
    ]);
    expect(() => outpaintPasses({ left: 9 }, 4)).toThrow(/at least 8/);
  });
});

describe("seamMask", () => {
  it("is a band on both sides of the seam and nowhere else", () => {
    const canvas = outpaintCanvas(
      picture(24, 8, () => 5),
      { left: 16 },
    );
    const row = [...seamMask(canvas, 4).data.subarray(0, 40)];
    expect(row.slice(10, 22)).toEqual([0, 0, 64, 191, 255, 255, 255, 255, 191, 64, 0, 0]);
    expect(row.slice(22).every((v) => v === 0)).toBe(true);
    expect(() => seamMask(canvas, 0)).toThrow(/at least 1, got 0/);
  });
});
