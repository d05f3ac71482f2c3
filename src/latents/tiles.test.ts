import fc from "fast-check";
import { describe, expect, it } from "vitest";
import "../testing/matchers.js";
import type { Values } from "./latents.js";
import { createTileBlend, cutTile, joinVaeTiles, padToMultiple, planTiles, planVaeTiles } from "./tiles.js";
import { resizeValues } from "./upscale.js";

const ramp = (batch: number, height: number, width: number, channels: number): Values => ({
  shape: [batch, height, width, channels],
  data: Float32Array.from({ length: batch * height * width * channels }, (_, i) => Math.sin(i)),
});
const side = fc.integer({ min: 1, max: 40 });

describe("the VAE's tiles", () => {
  it("fade in as in diffusers: one row of tiles of constants", () => {
    const plan = planVaeTiles({ width: 5, height: 1 }, "decode", { sampleSize: 8, factor: 2 });
    expect(plan).toMatchObject({ columns: 2, blend: 2, keep: 6 });
    expect(plan.tiles.map(({ left, right }) => [left, right])).toEqual([
      [0, 4],
      [3, 5],
    ]);
    const outputs = plan.tiles.map(({ left, right }, i) => ({
      shape: [1, 2, (right - left) * 2, 1],
      data: new Float32Array((right - left) * 4).fill(i),
    }));
    const row = [0, 0, 0, 0, 0, 0, 0, 0.5, 1, 1];
    expect(joinVaeTiles(plan, outputs)).toEqual({
      shape: [1, 2, 10, 1],
      data: Float32Array.from([...row, ...row]),
    });
  });

  it("fade in from above and from the left, with what has faded already", () => {
    const plan = planVaeTiles({ width: 5, height: 5 }, "encode", { sampleSize: 4, factor: 1, overlap: 0.5 });
    expect(plan).toMatchObject({ columns: 3, blend: 2, keep: 2 });
    const outputs = plan.tiles.map((tile, i) => {
      const { shape, data } = cutTile(ramp(1, 5, 5, 1), tile);
      return { shape, data: data.fill(i) };
    });
    // the published loops of tiled_encode in numpy, on the same tiles
    expect([...joinVaeTiles(plan, outputs).data]).toEqual([
      0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.25, 1.0, 1.5, 1.5, 1.5, 1.875, 2.5,
      3.0, 3.0, 3.0, 3.25, 4.0,
    ]);
  });

  it("bring back a picture that the network leaves as it is, at any size", () => {
    fc.assert(
      fc.property(
        side,
        side,
        fc.constantFrom(4, 8, 16),
        fc.constantFrom(0, 0.25, 0.5),
        (height, width, tile, overlap) => {
          const picture = ramp(2, height, width, 3);
          const plan = planVaeTiles({ width, height }, "decode", { sampleSize: tile, factor: 1, overlap });
          const got = joinVaeTiles(
            plan,
            plan.tiles.map((region) => cutTile(picture, region)),
          );
          expect(got.shape).toEqual(picture.shape);
          expect(got.data).toBeCloseTo32(picture.data, { abs: 1e-6 });
        },
      ),
    );
  });

  it("have the sizes of SD 1: 512 pixels, 64 latent cells, a quarter shared", () => {
    const plan = planVaeTiles({ width: 96, height: 64 }, "decode", { sampleSize: 512, factor: 8 });
    expect(plan).toMatchObject({ columns: 2, blend: 128, keep: 384 });
    expect(plan.tiles.at(-1)).toEqual({ left: 48, top: 48, right: 96, bottom: 64 });
  });

  it("refuse an overlap of everything", () => {
    const tile = { sampleSize: 512, factor: 8 };
    expect(() => planVaeTiles({ width: 9, height: 9 }, "decode", { ...tile, overlap: 1 })).toThrow(/overlap/);
    expect(() => planVaeTiles({ width: 0, height: 9 }, "decode", tile)).toThrow(/at least 1/);
  });
});

describe("planTiles", () => {
  const plans = fc
    .record({
      width: side,
      height: side,
      tile: fc.integer({ min: 2, max: 17 }),
      multiple: fc.constantFrom(1, 2),
    })
    .chain((size) => fc.nat(size.tile - size.multiple).map((overlap) => ({ ...size, overlap })));

  it("covers everything, shares at least the overlap, and its weights sum to one", () => {
    fc.assert(
      fc.property(plans, ({ width, height, tile, multiple, overlap }) => {
        const plan = planTiles({ width, height }, { tile, overlap, multiple });
        const blend = createTileBlend(plan, { scale: 2 });
        for (const [i, region] of plan.tiles.entries()) {
          expect(region.left % multiple === 0 && region.top % multiple === 0).toBe(true);
          expect(region.right - region.left <= tile && region.right <= width).toBe(true);
          const previous = plan.tiles[i - 1];
          if (previous && previous.top === region.top)
            expect(previous.right - region.left).toBeGreaterThanOrEqual(overlap);
          const size = { width: 2 * (region.right - region.left), height: 2 * (region.bottom - region.top) };
          const ones = new Float32Array(size.width * size.height).fill(1);
          blend.add(i, { shape: [1, size.height, size.width, 1], data: ones });
        }
        const got = blend.values();
        expect(got.shape).toEqual([1, height * 2, width * 2, 1]);
        expect(got.data).toBeCloseTo32(new Array(got.data.length).fill(1), { abs: 3e-6 });
      }),
    );
  });

  it("brings back what a pixelwise upscaler makes of the whole", () => {
    const picture = ramp(2, 13, 21, 3);
    const plan = planTiles({ width: 21, height: 13 }, { tile: 8, overlap: 3 });
    const blend = createTileBlend(plan, { scale: 4 });
    for (const [i, region] of plan.tiles.entries()) {
      const tile = cutTile(picture, region);
      blend.add(i, resizeValues(tile, { width: tile.shape[2]! * 4, height: tile.shape[1]! * 4 }, "nearest"));
    }
    expect(blend.values().data).toBeCloseTo32(
      resizeValues(picture, { width: 84, height: 52 }, "nearest").data,
      {
        abs: 1e-6,
      },
    );
  });

  it("reduces too: tiles of pixels to latent cells", () => {
    const plan = planTiles({ width: 40, height: 16 }, { tile: 24, overlap: 8, multiple: 8 });
    const blend = createTileBlend(plan, { scale: 1 / 8 });
    for (const [i, { left, right, top, bottom }] of plan.tiles.entries())
      blend.add(i, {
        shape: [1, (bottom - top) / 8, (right - left) / 8, 1],
        data: new Float32Array(((right - left) / 8) * 2).fill(3),
      });
    expect(blend.values()).toEqual({ shape: [1, 2, 5, 1], data: new Float32Array(10).fill(3) });
    expect(() => blend.add(0, ramp(1, 2, 2, 1))).toThrow(/does not fit its place/);
  });

  it("refuses overlaps as wide as the tile and sizes that are none", () => {
    expect(() => planTiles({ width: 9, height: 9 }, { tile: 4, overlap: 4 })).toThrow(/from 0 to 3, got 4/);
    expect(() => planTiles({ width: 9, height: -9 }, { tile: 4, overlap: 1 })).toThrow(/at least 1, got -9/);
  });
});

describe("padToMultiple", () => {
  it("is undone by cutTile and mirrors the edge", () => {
    fc.assert(
      fc.property(side, side, fc.constantFrom(1, 8, 16), (height, width, multiple) => {
        const picture = ramp(2, height, width, 3);
        const padded = padToMultiple(picture, multiple);
        expect([padded.shape[1]! % multiple, padded.shape[2]! % multiple]).toEqual([0, 0]);
        expect(cutTile(padded, { left: 0, top: 0, right: width, bottom: height })).toEqual(picture);
      }),
    );
    const row = { shape: [1, 1, 3, 1], data: Float32Array.of(1, 2, 3) };
    expect([...padToMultiple(row, 4).data.subarray(0, 4)]).toEqual([1, 2, 3, 2]);
  });
});
