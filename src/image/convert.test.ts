import { describe, expect, it } from "vitest";
import { resizeValues } from "../latents/upscale.js";
import { goldenCases, goldenTensor, toNhwc } from "../testing/golden.js";
import { goldenImage } from "../testing/golden-image.js";
import { flatten, hasTransparency, imagesToValues, valuesToImages } from "./convert.js";
import { fitImage } from "./resize.js";
import "../testing/matchers.js";

const down = (side: number, factor: number): number => side - (side % factor);

const preprocess = goldenCases("preprocess");

describe("imagesToValues", () => {
  it.each(preprocess.filter((c) => c.inputs.image).map((c) => [c.id, c] as const))("%s", (_, c) => {
    const image = goldenImage(c.inputs.image);
    const { width = image.width, height = image.height, vae_scale_factor, resize_mode } = c.config;
    const size = { width: down(width, vae_scale_factor), height: down(height, vae_scale_factor) };
    const got = imagesToValues([fitImage(image, size, resize_mode ?? "stretch")]);
    const want = toNhwc(goldenTensor(c.expected.tensor));
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toEqual(want.data);
  });

  it.each(preprocess.filter((c) => c.inputs.tensor).map((c) => [c.id, c] as const))("%s", (_, c) => {
    const values = toNhwc(goldenTensor(c.inputs.tensor));
    const [height, width] = values.shape.slice(1, 3).map((side) => down(side, c.config.vae_scale_factor));
    const want = toNhwc(goldenTensor(c.expected.tensor));
    const got = resizeValues(values, { width: width!, height: height! }, "nearest");
    expect(got.shape).toEqual(want.shape);
    // diffusers brings pictures in [0, 1] to [-1, 1], and leaves alone what has negative values already
    const signed = values.data.some((v) => v < 0) ? got.data : got.data.map((v) => Math.fround(2 * v) - 1);
    expect(signed).toEqual(want.data);
  });

  it("batches grey, RGB and RGBA of one size", () => {
    const grey = { width: 1, height: 1, data: Uint8Array.of(255) };
    const rgba = { width: 1, height: 1, data: Uint8Array.of(0, 255, 0, 9) };
    const { shape, data } = imagesToValues([grey, rgba]);
    expect(shape).toEqual([2, 1, 1, 3]);
    expect([...data]).toEqual([1, 1, 1, -1, 1, -1]);
    expect(() => imagesToValues([grey, { width: 2, height: 1, data: new Uint8Array(2) }])).toThrow(
      /same size/,
    );
    expect(() => imagesToValues([])).toThrow(/at least one image/);
  });
});

describe("valuesToImages", () => {
  const [c] = goldenCases("postprocess");
  const values = toNhwc(goldenTensor(c!.inputs.tensor));

  it("is diffusers' postprocess", () => {
    const got = valuesToImages(values).flatMap(({ data }) => [...data]);
    expect(got).toEqual([...goldenTensor(c!.expected.uint8).data]);
  });

  it("brings every level back", () => {
    const image = { width: 16, height: 16, data: Uint8Array.from({ length: 768 }, (_, i) => i % 256) };
    expect(valuesToImages(imagesToValues([image]))).toEqual([image]);
  });

  it("says so when the network has produced no numbers", () => {
    const data = new Float32Array(12).fill(Number.NaN);
    expect(() => valuesToImages({ shape: [1, 2, 2, 3], data })).toThrow(/not a number/);
    expect(() => valuesToImages({ shape: [1, 2, 2, 4], data: new Float32Array(16) })).toThrow(
      /\[B, H, W, 3\]/,
    );
  });
});

describe("flatten", () => {
  it("lays RGBA over white, another colour, or drops the alpha", () => {
    const image = { width: 3, height: 1, data: Uint8Array.of(10, 20, 30, 0, 10, 20, 30, 255, 0, 0, 0, 128) };
    expect([...flatten(image).data]).toEqual([255, 255, 255, 10, 20, 30, 127, 127, 127]);
    expect([...flatten(image, [1, 2, 3]).data]).toEqual([1, 2, 3, 10, 20, 30, 0, 1, 1]);
    expect([...flatten(image, "drop").data]).toEqual([10, 20, 30, 10, 20, 30, 0, 0, 0]);
    expect(hasTransparency(image)).toBe(true);
    expect(hasTransparency({ width: 1, height: 1, data: Uint8Array.of(1, 2, 3, 255) })).toBe(false);
    expect(hasTransparency({ width: 1, height: 1, data: Uint8Array.of(1, 2, 3) })).toBe(false);
  });
});
