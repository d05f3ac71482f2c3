import { describe, expect, test } from "vitest";
import { parseParameters } from "../image/parameters.js";
import { infotext } from "./infotext.js";
import type { GenerateOptions } from "./options.js";
import { resolveOptions } from "./resolve.js";
import type { ModelTraits } from "./resolved.js";

const traits: ModelTraits = {
  name: "tiny",
  hasText: true,
  textEncoders: 1,
  sees: "latents",
  guidanceEmbedding: false,
  factor: 8,
  channels: 4,
  size: 64,
  scheduler: { _class_name: "PNDMScheduler" },
};
const image = { width: 32, height: 40, data: new Uint8Array(32 * 40 * 3) };

const textOf = (options: GenerateOptions, making = {}, model = traits) =>
  infotext({
    options: resolveOptions(options, model, { seed: 7, variationSeed: 9, imageSize: image }),
    model: "tiny",
    ...making,
  });

describe("the text in a picture", () => {
  test("names what the web UI names, in its order", () => {
    expect(
      textOf(
        {
          prompt: "a cat",
          negativePrompt: "a dog",
          scheduler: "dpmpp_2m_karras",
          clipSkip: 1,
          rng: "philox",
        },
        { version: "tfjs-diffusion 1.2.3", precision: "fp16" },
      ),
    ).toBe(
      "a cat\nNegative prompt: a dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, " +
        "Seed: 7, Size: 32x40, Model: tiny, Clip skip: 2, RNG: NV, Precision: FP16, Version: tfjs-diffusion 1.2.3",
    );
  });

  test("what weights do to the mean is there under the web UI's name, unless it is restored as ever", () => {
    const weighted = { prompt: "a (cat:1.3)", promptSyntax: "a1111" } as const;
    expect(textOf({ ...weighted, emphasis: "no-norm" })).toMatch(/, Emphasis: No norm(,|$)/);
    expect(textOf({ ...weighted, emphasis: "original" })).not.toContain("Emphasis");
  });

  test("is the picture's own: its prompt, its seed", () => {
    const text = textOf({ prompt: ["a", "b"], seed: 3, variation: { seed: 8, strength: 0.5 } }, { image: 1 });
    expect(parseParameters(text)).toMatchObject({
      prompt: "b",
      seed: 3,
      extra: { "Variation seed": "9", "Variation seed strength": "0.5" },
    });
  });

  test.each([
    ["sgm_uniform", "SGM Uniform"],
    ["ddim_uniform", "DDIM"],
    ["align_your_steps", "Align Your Steps"],
  ])("schedule %s is the web UI's %s, and is understood again", (schedule, label) => {
    const { sampler, scheduleType } = parseParameters(
      textOf({ prompt: "", scheduler: `euler_${schedule}` as "euler" }),
    );
    expect([sampler, scheduleType]).toEqual(["Euler", label]);
  });

  test("tells the model's own scheduler when none was asked for", () => {
    expect(parseParameters(textOf({ prompt: "" })).sampler).toBe("PLMS");
    const own = { ...traits, scheduler: { _class_name: "EulerDiscreteScheduler", use_karras_sigmas: true } };
    expect(parseParameters(textOf({ prompt: "" }, {}, own))).toMatchObject({
      sampler: "Euler",
      scheduleType: "Karras",
    });
  });

  test("holds what inpainting, outpainting and a second pass were told", () => {
    const painted = textOf({ prompt: "", image, mask: image, onlyMasked: true }, { size: image });
    expect(parseParameters(painted)).toMatchObject({
      strength: 1,
      size: { width: 32, height: 40 },
      extra: { "Mask blur": "4", "Masked content": "original", "Masked area padding": "32" },
    });
    expect(parseParameters(textOf({ prompt: "", image, expand: { left: 8 } })).extra).toMatchObject({
      Outpaint: "8 0 0 0",
    });
    const twice = textOf({ prompt: "", hires: { steps: 4 } }, { size: { width: 64, height: 80 } });
    expect(parseParameters(twice)).toMatchObject({
      strength: 0.7,
      size: { width: 32, height: 40 },
      extra: { "Hires upscale": "2", "Hires upscaler": "Latent", "Hires steps": "4" },
    });
    const upscaler = "/files/RealESRGAN_x4plus.pth";
    const sized = textOf(
      { prompt: "", hires: { width: 64, height: 64, upscaler } },
      { size: { width: 64, height: 64 } },
    );
    expect(parseParameters(sized)).toMatchObject({
      size: { width: 32, height: 40 },
      extra: { "Hires resize": "64x64", "Hires upscaler": "R-ESRGAN 4x+" },
    });
    expect(parseParameters(sized).extra).not.toHaveProperty("Hires upscale");
  });

  test("leaves out guidance and skipped layers where there is no text", () => {
    const text = textOf({}, {}, { ...traits, hasText: false });
    expect(text).not.toMatch(/CFG|Clip/);
  });
});
