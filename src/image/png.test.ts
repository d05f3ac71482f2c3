import { readFileSync } from "node:fs";
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { goldenCases, goldenPath, goldenTensor } from "../testing/golden.js";
import type { Image } from "./image.js";
import { decodePng, encodePng } from "./png.js";
import { type Chunk, readChunks, writeChunks } from "./png-chunks.js";

function toRgba({ width, height, data }: Image): number[] {
  if (data.length === width * height * 4) return [...data];
  return Array.from({ length: width * height }, (_, i) => [...data.subarray(i * 3, i * 3 + 3), 255]).flat();
}

/** A PNG of one row with any header. */
function pngOf(
  width: number,
  depth: number,
  colorType: number,
  row: number[],
  more: Chunk[] = [],
): Uint8Array {
  const header = Uint8Array.of(0, 0, 0, width, 0, 0, 0, 1, depth, colorType, 0, 0, 0);
  return writeChunks([
    { type: "IHDR", data: header },
    ...more,
    { type: "IDAT", data: deflateSync(Uint8Array.of(0, ...row)) },
    { type: "IEND", data: new Uint8Array() },
  ]);
}

describe("decoding equals the reference", () => {
  it.each(goldenCases("png-decode"))("$id", ({ inputs, expected }) => {
    const { image, text } = decodePng(readFileSync(goldenPath(inputs.png)));
    const want = goldenTensor(expected.rgba);
    expect([image.height, image.width, 4]).toEqual(want.shape);
    expect(toRgba(image)).toEqual([...want.data]);
    expect(text).toMatchObject(expected.text);
  });

  it("finds transparent colours before it reduces the depth", () => {
    const gray2 = pngOf(4, 2, 0, [0b00011011], [{ type: "tRNS", data: Uint8Array.of(0, 2) }]);
    expect(toRgba(decodePng(gray2).image)).toEqual([
      0, 0, 0, 255, 85, 85, 85, 255, 170, 170, 170, 0, 255, 255, 255, 255,
    ]);
    const gray16 = pngOf(
      2,
      16,
      0,
      [0x12, 0x34, 0x12, 0x35],
      [{ type: "tRNS", data: Uint8Array.of(0x12, 0x35) }],
    );
    expect(toRgba(decodePng(gray16).image)).toEqual([18, 18, 18, 255, 18, 18, 18, 0]);
    const rgb16 = pngOf(
      2,
      16,
      2,
      [1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 7],
      [{ type: "tRNS", data: Uint8Array.of(1, 2, 3, 4, 5, 7) }],
    );
    expect(toRgba(decodePng(rgb16).image).filter((_, i) => i % 4 === 3)).toEqual([255, 0]);
  });
});

describe("malformed files", () => {
  it.each(goldenCases("bad-png"))("$id", ({ files, expected }) => {
    const decode = () => decodePng(readFileSync(goldenPath(files[0]!)));
    if (expected.verdict.startsWith("accept")) expect(decode).not.toThrow();
    else if (expected.verdict.startsWith("reject"))
      expect(decode).toThrow(
        expect.objectContaining({ code: "BAD_IMAGE", message: expect.stringMatching(/^PNG: /) }),
      );
    else
      try {
        expect(decode().image.width).toBeGreaterThan(0);
      } catch (error) {
        expect(error).toMatchObject({ code: "BAD_IMAGE" });
      }
  });

  it("never crash, hang or run out of memory", () => {
    const seeds = goldenCases("png-decode").map(({ inputs }) => readFileSync(goldenPath(inputs.png)));
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        flips,
        fc.nat(),
        fc.boolean(),
        (seed, changes, cutAt, repair) => {
          const mutated = Uint8Array.from(seed);
          for (const [at, value] of changes) mutated[8 + (at % (mutated.length - 8))] = value;
          const chunks: Chunk[] = [];
          try {
            for (const chunk of readChunks(repair ? mutated : mutated.subarray(0, cutAt % mutated.length)))
              chunks.push(chunk);
          } catch {
            // what is whole up to here is put together again
          }
          try {
            const { image } = decodePng(repair ? writeChunks(chunks) : mutated, { maxPixels: 1e6 });
            expect([3, 4]).toContain(image.data.length / (image.width * image.height));
          } catch (error) {
            expect(error).toMatchObject({ code: "BAD_IMAGE" });
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("are refused above the number of pixels allowed", () => {
    const png = encodePng({ width: 20, height: 10, data: new Uint8Array(600) });
    expect(() => decodePng(png, { maxPixels: 199 })).toThrow(/20 x 10 pixels are more than 199/);
    expect(decodePng(png, { maxPixels: 200 }).image.width).toBe(20);
  });
});

describe("encoding", () => {
  const images = fc
    .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }), fc.constantFrom(3, 4))
    .chain(([width, height, channels]) =>
      fc
        .uint8Array({ minLength: width * height * channels, maxLength: width * height * channels })
        .map((data) => ({ width, height, data })),
    );

  it("gives back pixels and texts", () => {
    const keyword = fc.stringMatching(/^[A-Za-z_][A-Za-z ]{0,20}[a-z]$/);
    const texts = fc.dictionary(keyword, fc.string({ unit: "binary" }), { maxKeys: 3 });
    fc.assert(
      fc.property(images, texts, (image, text) => {
        expect(decodePng(encodePng(image, text))).toEqual({ image, text });
      }),
    );
  });

  it("writes Latin-1 as tEXt and everything else as iTXt, before the pixels", () => {
    const image = { width: 1, height: 1, data: new Uint8Array(3) };
    const png = encodePng(image, { parameters: "chat été\nSteps: 1", other: "猫" });
    expect([...readChunks(png)].map(({ type }) => type)).toEqual(["IHDR", "tEXt", "iTXt", "IDAT", "IEND"]);
  });

  it("refuses pixels of another size and keywords that PNG does not allow", () => {
    expect(() => encodePng({ width: 2, height: 2, data: new Uint8Array(5) })).toThrow(
      /5 bytes are not 2 x 2 pixels/,
    );
    expect(() => encodePng({ width: 0, height: 2, data: new Uint8Array(0) })).toThrow(
      /0 bytes are not 0 x 2/,
    );
    for (const keyword of ["", " a", "a\0b", "x".repeat(80), "猫"])
      expect(() => encodePng({ width: 1, height: 1, data: new Uint8Array(3) }, { [keyword]: "x" })).toThrow(
        expect.objectContaining({ code: "BAD_OPTION" }),
      );
  });
});
