import { describe, expect, test } from "vitest";
import { thrown } from "../testing/thrown.js";
import { checkGenerationDefaults, usualOptions } from "./generation-defaults.js";
import { infotext } from "./infotext.js";
import { type GenerateOptions, type GenerationDefaults, namesWith } from "./options.js";
import { resolveOptions } from "./resolve.js";
import type { ModelTraits } from "./resolved.js";

const model: ModelTraits = {
  name: "some-model",
  hasText: true,
  textEncoders: 1,
  sees: "latents",
  guidanceEmbedding: false,
  factor: 8,
  channels: 4,
  size: 512,
  scheduler: { _class_name: "PNDMScheduler", beta_schedule: "scaled_linear" },
};
const unconditional: ModelTraits = { ...model, name: "pixels", hasText: false, textEncoders: 0, factor: 1 };

const file = "models/some-model/generation_defaults.json";
const refusalOf = (content: object, of = model) =>
  thrown(() => checkGenerationDefaults(file, content as Record<string, unknown>, of));

const everything = {
  negativePrompt: "blurry",
  clipSkip: 1,
  width: 640,
  height: 384,
  steps: 12,
  scheduler: "dpmpp_2m_sde_karras",
  guidance: 4,
  guidanceRescale: 0.5,
} as const satisfies GenerationDefaults;

const resolve = (options: GenerateOptions, defaults: GenerationDefaults, imageSize?: object) =>
  resolveOptions(options, { ...model, defaults }, {
    seed: 1,
    variationSeed: 2,
    ...(imageSize && { imageSize }),
  } as Parameters<typeof resolveOptions>[2]);

describe("a file of defaults", () => {
  test("may name these options, and keys for people that begin with _", () => {
    expect(namesWith("ofModel").toSorted()).toEqual(Object.keys(everything).toSorted());
    expect(checkGenerationDefaults(file, { _about: "chosen by eye", ...everything }, model)).toEqual(
      everything,
    );
  });

  test.each([
    [{ stepz: 20 }, "there is no option stepz", "did you mean steps?"],
    [{ guidance_scale: 4 }, "there is no option guidance_scale", "did you mean guidance?"],
    [{ seed: 4 }, "there is no option seed", undefined],
    [{ steps: "many" }, 'steps: expected a number, got "many"', undefined],
    [{ steps: 0 }, "steps: expected at least 1, got 0", undefined],
    [{ guidance: -1 }, "guidance: expected at least 0, got -1", undefined],
    [{ scheduler: "euler_b" }, 'there is no scheduler "euler_b"', "did you mean euler_a?"],
    [{ scheduler: { _class_name: "PNDMScheduler", beta_end: 7 } }, "beta_end must be", undefined],
    [{ scheduler: 3 }, "scheduler: expected", undefined],
    [{ negativePrompt: ["a"] }, "negativePrompt: expected text, got a list", undefined],
    [{ width: 100 }, "width must be a multiple of 8, got 100", "96 or 104"],
    [{ scheduler: "ddim", steps: 5000 }, "5000", undefined],
  ])("%j is refused by the file's name", (content, message, hint) => {
    const error = refusalOf(content);
    expect(error).toMatchObject({ code: "FILE_FORMAT" });
    expect(error.message.startsWith(`${file}: `)).toBe(true);
    expect(error.message).toContain(message);
    if (hint) expect(error.hint).toBe(hint);
  });

  test("says nothing that means nothing to the model", () => {
    expect(refusalOf({ guidance: 4 }, unconditional).message).toBe(
      `${file}: pixels has no text encoder, so guidance means nothing to it`,
    );
  });
});

describe("a model's own defaults", () => {
  test("are what nothing was said about, and stand in the text of the picture", () => {
    const options = resolve({ prompt: "a dog" }, everything);
    expect(options).toMatchObject({
      ...{ width: 640, height: 384, steps: 12, guidance: 4, guidanceRescale: 0.5, clipSkip: 1 },
      negativePrompts: ["blurry"],
      schedulerName: "dpmpp_2m_sde_karras",
      scheduler: { algorithm_type: "sde-dpmsolver++", use_karras_sigmas: true },
    });
    expect(infotext({ options: options.printable, model: "some-model" })).toBe(
      "a dog\nNegative prompt: blurry\nSteps: 12, Sampler: DPM++ 2M SDE, Schedule type: Karras, CFG scale: 4, " +
        "Seed: 1, Size: 640x384, Model: some-model, Clip skip: 2, RNG: CPU, Guidance rescale: 0.5",
    );
  });

  test("give way to what was asked, each by itself, and to nothing that is undefined", () => {
    const asked = { scheduler: "ddim", guidance: 1, width: 64, negativePrompt: "" } as const;
    expect(
      resolve({ prompt: "a dog", ...asked, steps: undefined } as unknown as GenerateOptions, everything),
    ).toMatchObject({
      ...{ steps: 12, guidance: 1, width: 64, height: 384, schedulerName: "ddim", negativePrompts: [""] },
    });
  });

  test("give way to what they contradict: a picture's size, embeddings in place of the negative prompt", () => {
    const data = new Uint8Array(64 * 64 * 3);
    const image = { width: 64, height: 64, data };
    expect(resolve({ prompt: "a dog", image }, everything, { width: 64, height: 64 })).toMatchObject({
      ...{ width: 64, height: 64, steps: 12 },
    });
    const context = { shape: [1, 77, 8], data: new Float32Array(77 * 8) };
    const embedded = resolve({ prompt: "a dog", negativePromptEmbeds: { context } }, everything);
    expect(embedded.negativePrompts).toEqual([undefined]);
  });

  test("complete those of its kind", () => {
    expect(usualOptions(model)).toEqual({ steps: 20, guidance: 7.5, width: 512, height: 512 });
    expect(usualOptions(unconditional)).toEqual({ steps: 20, width: 512, height: 512 });
    expect(usualOptions({ ...model, defaults: { steps: 30, scheduler: "ddim" } })).toEqual({
      ...{ steps: 30, guidance: 7.5, width: 512, height: 512, scheduler: "ddim" },
    });
  });
});
