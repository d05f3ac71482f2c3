import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatParameters, type Parameters, parseFields, parseParameters } from "./parameters.js";

describe("a text of the web UI", () => {
  const text = [
    "masterpiece, (a lighthouse:1.2) at dusk,",
    "waves <lora:oilpaint:0.8>",
    "Negative prompt: blurry, lowres,",
    "bad anatomy",
    'Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3141592653, Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: c6a580b13a, VAE: vae-ft-mse-840000.safetensors, Denoising strength: 0.55, Clip skip: 2, ENSD: 31337, RNG: CPU, Hires upscale: 2, Hires upscaler: Latent, Lora hashes: "oilpaint: 3f2a7c9d1b2e, other: 00ff", Template: "a \\"b\\"\\nc", Version: v1.10.1',
  ].join("\n");

  it("is read", () => {
    expect(parseParameters(text)).toEqual({
      prompt: "masterpiece, (a lighthouse:1.2) at dusk,\nwaves <lora:oilpaint:0.8>",
      negativePrompt: "blurry, lowres,\nbad anatomy",
      steps: 28,
      sampler: "DPM++ 2M",
      scheduleType: "Karras",
      guidance: 6.5,
      seed: 3141592653,
      size: { width: 512, height: 768 },
      modelHash: "6ce0161689",
      model: "v1-5-pruned-emaonly",
      strength: 0.55,
      clipSkip: 2,
      extra: {
        "VAE hash": "c6a580b13a",
        VAE: "vae-ft-mse-840000.safetensors",
        ENSD: "31337",
        RNG: "CPU",
        "Hires upscale": "2",
        "Hires upscaler": "Latent",
        "Lora hashes": "oilpaint: 3f2a7c9d1b2e, other: 00ff",
        Template: 'a "b"\nc',
        Version: "v1.10.1",
      },
    });
  });

  it("is written again as it was, keys in the same order", () => {
    expect(formatParameters(parseParameters(text))).toBe(text);
  });

  it("gives the fields of its API", () => {
    expect(parseFields(text)).toMatchObject({
      Prompt: "masterpiece, (a lighthouse:1.2) at dusk,\nwaves <lora:oilpaint:0.8>",
      "Negative prompt": "blurry, lowres,\nbad anatomy",
      Steps: "28",
      "Size-1": "512",
      "Size-2": "768",
      Seed: "3141592653",
    });
  });

  it("may lack its settings, its negative prompt or its prompt", () => {
    expect(parseParameters("just a prompt")).toEqual({ prompt: "just a prompt" });
    expect(parseParameters("a cat: fluffy, style: oil")).toEqual({ prompt: "a cat: fluffy, style: oil" });
    expect(parseParameters("a\nNegative prompt: b")).toEqual({ prompt: "a", negativePrompt: "b" });
    expect(parseParameters("\nSteps: 1, Sampler: DDIM, Seed: 4")).toEqual({
      prompt: "",
      steps: 1,
      sampler: "DDIM",
      seed: 4,
    });
    expect(parseParameters("a\r\nSteps: 1, Sampler: DDIM, Seed: 4\r\n")).toMatchObject({
      prompt: "a",
      seed: 4,
    });
    expect(parseParameters("")).toEqual({ prompt: "" });
  });

  it("may hold values that are not what they should be", () => {
    expect(parseParameters('a\nSteps: many, Sampler: , Size: big, Seed: -1, Bad: "x, CFG scale: 7')).toEqual({
      prompt: "a",
      guidance: 7,
      sampler: "",
      extra: { Steps: "many", Size: "big", Seed: "-1", Bad: '"x' },
    });
  });
});

describe("writing", () => {
  it("keeps to the order of the web UI", () => {
    expect(
      formatParameters({
        prompt: "a teapot",
        extra: { Version: "x", "Mask blur": 4, RNG: "NV" },
        seed: 2n ** 63n,
        steps: 20,
        sampler: "Euler a",
        guidance: 7,
        size: { width: 256, height: 320 },
        clipSkip: 1,
      }),
    ).toBe(
      "a teapot\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 9223372036854775808, Size: 256x320, RNG: NV, Mask blur: 4, Version: x",
    );
  });

  it("round trips", () => {
    const line = fc.string({ unit: "grapheme", maxLength: 30 }).map((s) => s.replace(/[\n\r:]/g, " ").trim());
    const prompt = fc.array(line, { maxLength: 3 }).map((lines) => lines.join("\n").trim());
    const value = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
    const arbitrary = fc.record(
      {
        prompt,
        negativePrompt: prompt.filter((p) => p !== ""),
        steps: fc.integer({ min: 1, max: 1000 }),
        sampler: value,
        guidance: fc.double({ min: 0, max: 100, noNaN: true }).filter((x) => !Object.is(x, -0)),
        seed: fc.oneof(fc.nat(), fc.bigInt(2n ** 53n, 2n ** 64n - 1n)),
        size: fc.record({
          width: fc.integer({ min: 1, max: 9999 }),
          height: fc.integer({ min: 1, max: 9999 }),
        }),
        model: value,
        clipSkip: fc.integer({ min: 2, max: 12 }),
        extra: fc.dictionary(fc.stringMatching(/^[A-Z][a-z]{1,8}( [a-z]{1,8})?$/), value, {
          minKeys: 1,
          maxKeys: 4,
        }),
      },
      { requiredKeys: ["prompt", "steps", "seed", "size"] },
    );
    fc.assert(
      fc.property(arbitrary, (parameters) => {
        expect(parseParameters(formatParameters(parameters as Parameters))).toEqual(parameters);
      }),
      { numRuns: 500 },
    );
  });

  it.each(["a: ", "b ", "  ", '"', "\\", 'a: "', 'a: "\\', "a,", ": "])(
    "reads 200,000 times %j at once",
    (part) => {
      expect(parseFields(`x\n${part.repeat(200_000)}`)).toHaveProperty("Prompt");
    },
  );
});
