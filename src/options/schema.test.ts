import { describe, expect, it } from "vitest";
import { checkLoadOptions, loadOptionNames } from "./load.js";
import { otherNames, saidOtherwise } from "./other-names.js";
import { checkOptions, optionNames } from "./schema.js";

const hintOf = (options: object, check: (options: never) => void = checkOptions): string | undefined => {
  try {
    check(options as never);
  } catch (error) {
    return (error as { hint?: string }).hint;
  }
  return undefined;
};

describe("hints", () => {
  it.each([
    [{ guidance_scale: 7 }, "did you mean guidance?"],
    [{ num_inference_steps: 20 }, "did you mean steps?"],
    [{ cfg_scale: 7 }, "did you mean guidance?"],
    [{ negative_prompt: "x" }, "did you mean negativePrompt?"],
    [{ sampler_name: "Euler a" }, "did you mean scheduler?"],
    [{ denoising_strength: 0.5 }, "did you mean strength?"],
    [{ clip_skip: 1 }, "did you mean clipSkip?"],
    [{ mask_image: "x" }, "did you mean mask?"],
    [{ denoise: 0.5 }, "did you mean strength?"],
    [{ image_strength: 0.5 }, "did you mean strength?"],
    [{ generator: 3 }, "did you mean seed?"],
    [{ output_type: "pil" }, "did you mean output?"],
    [{ callback: () => {} }, "did you mean onProgress?"],
    [{ callbackOnStepEnd: () => {} }, "did you mean onProgress?"],
    [{ ip_adapter_image: "x" }, "did you mean ipAdapter?"],
    [{ control_image: "x" }, "did you mean controlnet?"],
    [{ widht: 512 }, "did you mean width?"],
    [{ heigth: 512 }, "did you mean height?"],
    [{ h: 512 }, "did you mean height?"],
    [{ pooled_prompt_embeds: [] }, "did you mean promptEmbeds.pooled?"],
    [{ ipAdapter: { ip_adapter_image: "x" } }, "did you mean image?"],
    [{ hires: { hr_scale: 2 } }, "did you mean scale?"],
    [{ subseed_strength: 0.5 }, "did you mean variation.strength?"],
    [{ padding: 3 }, "did you mean onlyMasked.padding?"],
    [{ upscaler: "latent" }, "did you mean hires.upscaler?"],
    [{ hires: { scle: 2 } }, "did you mean scale?"],
    [{ hires: { denoising_strength: 2 } }, "did you mean strength?"],
    [{ onlyMasked: { pading: 2 } }, "did you mean padding?"],
    [{ preview: { evry: 2 } }, "did you mean every?"],
    [
      { controlnet: [{ model: "a", image: "b", weigth: 1 }] },
      "options are model, image, mask, preprocess, scale, start, end, guess",
    ],
    [{ sizes: { negative: { orignal: { width: 1, height: 1 } } } }, "did you mean original?"],
  ])("%j", (options, hint) => expect(hintOf(options)).toBe(hint));

  it.each([
    [{ torch_dtype: "float16" }, "did you mean precision?"],
    [{ cache_dir: "x" }, "did you mean cacheDir?"],
    [{ local_files_only: true }, "did you mean offline?"],
  ])("of loading: %j", (options, hint) => expect(hintOf(options, checkLoadOptions)).toBe(hint));

  it.each([
    [{ lora: "ink" }, /<lora:name:0\.8>/],
    [{ loraWeights: "ink" }, /<lora:name:0\.8>/],
    [{ cross_attention_kwargs: { scale: 0.5 } }, /the scale of a LoRA/],
    [{ crossAttentionKwargs: { scale: 0.5 } }, /the scale of a LoRA/],
    [{ tiling: true }, /^pictures that repeat without a seam are not made here/],
    [{ restore_faces: true }, /^faces are not restored here/],
    [{ safety_checker: null }, /^there is none/],
    [{ alwayson_scripts: {} }, /controlnet/],
  ])("what is asked for in another way, or not at all: %j", (options, hint) =>
    expect(hintOf(options)).toMatch(hint),
  );

  it("are kept for names that no option has", () => {
    const taken = [...optionNames, ...loadOptionNames].filter(
      (name) => name in saidOtherwise || name in otherNames,
    );
    expect(taken).toEqual([]);
  });
});

describe("what is no set of options", () => {
  it.each([
    [undefined, "options: expected an object, got nothing"],
    [3, "options: expected an object, got 3"],
    [["a"], "options: expected an object, got a list"],
    [Promise.resolve({}), "options: expected an object, got a promise"],
  ])("%s", (options, message) => {
    for (const check of [checkOptions, checkLoadOptions])
      expect(() => check(options as never)).toThrow(expect.objectContaining({ code: "BAD_OPTION", message }));
  });
});

it("numbers that are none are refused at the door", () => {
  const values = (shape: number[], wrong: number) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    data[5] = wrong;
    return { shape, data };
  };
  const latents = values([1, 2, 2, 4], Number.NaN);
  expect(() => checkOptions({ prompt: "", latents })).toThrow("latents: number 5 is NaN");
  expect(() => checkOptions({ prompt: "", image: latents })).toThrow("image: number 5 is NaN");
  const context = values([1, 2, 8], Number.POSITIVE_INFINITY);
  expect(() => checkOptions({ promptEmbeds: { context } })).toThrow(
    "promptEmbeds.context: number 5 is Infinity",
  );
});
