import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blendLatents, inpaintingInput, restoreKept } from "../latents/blend.js";
import type { Latents, Values } from "../latents/latents.js";
import { type GoldenCase, goldenCases, goldenTensor, toNhwc } from "../testing/golden.js";
import { goldenImage } from "../testing/golden-image.js";
import "../testing/matchers.js";
import { cropRegion } from "./composite.js";
import { imagesToValues } from "./convert.js";
import { crop, type Mask } from "./image.js";
import {
  feather,
  type LatentMaskRule,
  latentMask,
  maskedImage,
  maskFromImage,
  maskValues,
  prepareMask,
} from "./mask.js";

const gray = (width: number, ...data: number[]): Mask => ({
  width,
  height: data.length / width,
  data: Uint8Array.from(data),
});
const values = (shape: number[], at: (i: number) => number): Values => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => at(i)),
});

describe("prepareMask", () => {
  it.each(goldenCases("mask").map((c) => [c.id, c] as const))("%s", (_, c) => {
    const image = goldenImage(c.inputs.image);
    const want = toNhwc(goldenTensor(c.expected.tensor));
    const [height, width] = [want.shape[1]!, want.shape[2]!];
    const got = maskValues(
      prepareMask(image, { width, height }, { mode: c.config.resize_mode ?? "stretch" }),
    );
    expect(got).toEqual(want);
  });
});

describe("maskFromImage", () => {
  const rgba = { width: 3, height: 1, data: Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0, 9, 9, 9, 100) };

  it("takes a real alpha (transparent = repaint), else the luminance", () => {
    expect([...maskFromImage(rgba).data]).toEqual([0, 255, 155]);
    expect([...maskFromImage(rgba, { alpha: "opaque" }).data]).toEqual([255, 0, 100]);
    expect([...maskFromImage(rgba, { invert: true }).data]).toEqual([255, 0, 100]);
    const opaque = { ...rgba, data: rgba.data.map((v, i) => (i % 4 === 3 ? 255 : v)) };
    expect([...maskFromImage(opaque).data]).toEqual([255, 0, 9]);
    expect([...maskFromImage(gray(2, 3, 250)).data]).toEqual([3, 250]);
  });
});

describe("latentMask", () => {
  it("is torch's nearest of the hard mask; masked image as diffusers", () => {
    const [c] = goldenCases("masked-image");
    const mask = goldenImage(c!.inputs.mask);
    const want = toNhwc(goldenTensor(c!.expected.latent_mask));
    expect(latentMask(mask, { width: want.shape[2]!, height: want.shape[1]! })).toEqual(want);
    expect(maskValues(mask)).toEqual(toNhwc(goldenTensor(c!.expected.mask)));
    const masked = maskedImage(imagesToValues([goldenImage(c!.inputs.image)]), mask);
    expect(masked.data).toBeCloseTo32(toNhwc(goldenTensor(c!.expected.masked_image)).data, { abs: 0 });
  });

  it("each rule decides in its own way", () => {
    const mask = gray(4, 0, 0, 255, 255, 0, 1, 255, 255, 130, 0, 0, 0, 0, 0, 0, 0);
    const rule = (name: LatentMaskRule) => [...latentMask(mask, { width: 2, height: 2 }, name).data];
    expect(rule("nearest")).toEqual([0, 1, 1, 0]);
    expect(rule("touch")).toEqual([1, 1, 1, 0]);
    expect(rule("round")).toEqual([0, 1, 0, 0]);
    expect(rule("soft")[1]).toBeGreaterThan(0.8);
    expect(rule("soft")[2]).toBeLessThan(0.2);
  });

  it("empty and full masks stay so under every rule, whatever the sizes", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom<LatentMaskRule>("nearest", "round", "soft", "touch"),
        fc.constantFrom(0, 255),
        (side, cells, rule, level) => {
          const mask = gray(side, ...new Array<number>(side * 3).fill(level));
          const got = latentMask(mask, { width: cells, height: 2 }, rule);
          expect(got.shape).toEqual([1, 2, cells, 1]);
          expect(got.data.every((v) => v === level / 255)).toBe(true);
        },
      ),
    );
  });

  it("refuses pictures and sizes that are none", () => {
    expect(() =>
      latentMask({ width: 1, height: 1, data: new Uint8Array(3) }, { width: 1, height: 1 }),
    ).toThrow(/one byte a pixel, got 3/);
    expect(() => latentMask(gray(1, 0), { width: -1, height: 1 })).toThrow(/at least 1, got -1/);
    expect(() => maskedImage(values([1, 2, 2, 3], Math.sin), gray(1, 0))).toThrow(
      /image's size 2x2, got 1x1/,
    );
  });
});

describe("feather", () => {
  it("keeps white areas white and falls off outside", () => {
    const row = [...feather(gray(12, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255), 1.5).data];
    expect(row.slice(6)).toEqual([255, 255, 255, 255, 255, 255]);
    expect(row.slice(0, 6)).toEqual([...row.slice(0, 6)].sort((a, b) => a - b));
    expect(row[5]).toBeGreaterThan(100);
    expect(row[0]).toBe(0);
  });
});

describe("blendLatents", () => {
  const shape = fc.record({ batch: fc.integer({ min: 1, max: 3 }), side: fc.integer({ min: 1, max: 5 }) });

  it("a zero mask returns what is kept bit-identical, a full one what is repainted, complements sum up", () => {
    fc.assert(
      fc.property(
        shape,
        fc.infiniteStream(fc.float({ noNaN: true, min: -9, max: 9 })),
        ({ batch, side }, stream) => {
          const draw = () => stream.next().value;
          const a = values([batch, side, 2, 4], draw);
          const b = values([batch, side, 2, 4], draw);
          const flat = (level: number) => values([1, side, 2, 1], () => level);
          expect(blendLatents(a, b, flat(0))).toEqual(b);
          expect(blendLatents(a, b, flat(1))).toEqual(a);
          const weight = values([1, side, 2, 1], () => Math.abs(draw()) / 9);
          const rest = { ...weight, data: weight.data.map((v) => 1 - v) };
          const sum = blendLatents(a, b, weight).data.map((v, i) => v + blendLatents(a, b, rest).data[i]!);
          expect(sum).toBeCloseTo32(
            a.data.map((v, i) => v + b.data[i]!),
            { abs: 1e-5 },
          );
        },
      ),
    );
  });

  it("repeats a smaller batch and refuses what does not fit", () => {
    const [one, two] = [values([1, 1, 1, 4], (i) => i), values([2, 1, 1, 4], (i) => 10 + i)];
    const mask = values([1, 1, 1, 1], () => 0);
    expect([...blendLatents(two, one, mask).data]).toEqual([0, 1, 2, 3, 0, 1, 2, 3]);
    expect(() => blendLatents(values([1, 2, 1, 4], Math.sin), one, mask)).toThrow(/do not fit each other/);
  });
});

describe("restoreKept", () => {
  // diffusers draws the posterior noise of the image first, then the noise of the run
  const cases = goldenCases("pipeline").filter(
    (c) =>
      /inpaint-4ch/.test(c.id) &&
      c.config.scheduler._class === "DDIMScheduler" &&
      c.inputs.noise_draws.length > 1,
  );

  it("there are reference runs", () => expect(cases.length).toBeGreaterThan(0));

  it.each(cases.map((c) => [c.id, c] as const))("%s: every step", (_, c) => {
    const { mask, outputs, blended, noise } = inpaintRun(c);
    const original = blended.at(-1)!; // clean where it is kept
    const { timesteps } = c.expected;
    const alphas = alphasCumprod(c.config.scheduler);
    const scheduler = {
      timesteps,
      addNoise: (clean: Float32Array, added: Float32Array, step: number) =>
        clean.map(
          (v, i) =>
            Math.sqrt(alphas[timesteps[step]]!) * v + Math.sqrt(1 - alphas[timesteps[step]]!) * added[i]!,
        ),
    };
    for (const [step, output] of outputs.entries()) {
      const got = restoreKept(output, { original, noise, mask }, scheduler, step);
      expect(got.data).toBeCloseTo32(blended[step]!.data, { abs: 2e-6, rel: 1e-5 });
    }
  });

  function inpaintRun(c: GoldenCase) {
    const each = (reference: { file: string; key: string }): Latents[] => {
      const { shape, data } = goldenTensor(reference);
      const length = data.length / shape[0]!;
      return Array.from({ length: shape[0]! }, (_, i) =>
        toNhwc({ shape: shape.slice(1), data: data.subarray(i * length, (i + 1) * length) }),
      );
    };
    const blended = each(c.expected.latents_per_step);
    const outputs = each(c.expected.step_outputs);
    const [, height, width] = blended[0]!.shape as [number, number, number, number];
    const picture = goldenImage(c.inputs.mask_image.array);
    const { padding_mask_crop: padding } = c.inputs.call;
    const size = { width: c.inputs.call.width, height: c.inputs.call.height };
    const whole = { left: 0, top: 0, right: picture.width, bottom: picture.height };
    const region = padding === undefined ? whole : cropRegion(picture, size, padding);
    const mode = padding === undefined ? "stretch" : "fill";
    const mask = latentMask(prepareMask(crop(picture, region), size, { mode }), { width, height });
    return { mask, outputs, blended, noise: toNhwc(goldenTensor(c.inputs.noise_draws[1])) };
  }

  function alphasCumprod({ beta_start, beta_end, num_train_timesteps: n }: Record<string, number>): number[] {
    const [from, to] = [Math.sqrt(beta_start!), Math.sqrt(beta_end!)];
    let product = 1;
    return Array.from({ length: n! }, (_, i) => (product *= 1 - (from + ((to - from) * i) / (n! - 1)) ** 2));
  }
});

describe("inpaintingInput", () => {
  it("lays latents, mask and masked latents side by side, small batches repeated", () => {
    const got = inpaintingInput(
      values([2, 1, 2, 4], (i) => i),
      values([1, 1, 2, 1], (i) => 100 + i),
      values([1, 1, 2, 4], (i) => 200 + i),
    );
    expect(got.shape).toEqual([2, 1, 2, 9]);
    expect([...got.data.subarray(0, 9)]).toEqual([0, 1, 2, 3, 100, 200, 201, 202, 203]);
    expect([...got.data.subarray(27)]).toEqual([12, 13, 14, 15, 101, 204, 205, 206, 207]);
    expect(() =>
      inpaintingInput(
        values([1, 2, 2, 4], Math.sin),
        values([1, 1, 2, 1], Math.sin),
        values([1, 2, 2, 4], Math.sin),
      ),
    ).toThrow(/same height and width/);
  });
});
