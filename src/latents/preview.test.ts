import { describe, expect, it } from "vitest";
import "../testing/matchers.js";
import { fitPreview, type PreviewMap, previewRgb, sd1Preview } from "./preview.js";
import { resizeValues } from "./upscale.js";

const latents = (channels: number) => ({
  shape: [2, 3, 4, channels],
  data: Float32Array.from({ length: 24 * channels }, (_, i) => Math.sin(i * i)),
});

describe("previewRgb", () => {
  it("is the published linear map", () => {
    const got = previewRgb({ shape: [1, 1, 2, 4], data: Float32Array.of(1, 0, 0, 1, 9, 9, 9, 9) });
    expect(got.shape).toEqual([1, 1, 2, 3]);
    expect(got.data).toBeCloseTo32([0.114, -0.064, -0.265, 1, 1, 1], { abs: 1e-6 });
  });

  it("refuses latents of another VAE", () => {
    expect(() => previewRgb(latents(3))).toThrow(/for 4 channels, got 3/);
  });
});

describe("fitPreview", () => {
  it("finds the map that made the pictures", () => {
    const map: PreviewMap = {
      weights: [
        [0.1, -0.2, 0.05],
        [0, 0.15, -0.1],
        [-0.3, 0.1, 0.2],
      ],
      bias: [0.1, -0.1, 0],
    };
    const decoded = resizeValues(previewRgb(latents(3), map), { width: 16, height: 12 }, "nearest");
    const got = fitPreview(latents(3), decoded);
    expect(got.weights.flat()).toBeCloseTo32(map.weights.flat(), { abs: 1e-5 });
    expect(got.bias).toBeCloseTo32(map.bias, { abs: 1e-5 });
  });

  it("says when there is nothing to fit", () => {
    const same = { shape: [1, 2, 2, 4], data: new Float32Array(16) };
    expect(() => fitPreview(same, { shape: [1, 2, 2, 3], data: new Float32Array(12) })).toThrow(
      /too much alike/,
    );
    expect(() => fitPreview(latents(4), { shape: [2, 7, 4, 3], data: new Float32Array(168) })).toThrow(
      /multiple of 4x3/,
    );
  });

  it("Stable Diffusion 1 has one row per channel", () => expect(sd1Preview.weights.length).toBe(4));
});
