import { describe, expect, it } from "vitest";
import { infotext } from "./infotext.js";
import type { GenerateOptions } from "./options.js";
import { resolveOptions } from "./resolve.js";
import type { ModelTraits } from "./resolved.js";

const sd: ModelTraits = {
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
const pixels: ModelTraits = {
  ...sd,
  hasText: false,
  textEncoders: 0,
  factor: 1,
  channels: 3,
  size: 64,
  scheduler: { _class_name: "DDPMScheduler" },
};
const sdxl: ModelTraits = { ...sd, textEncoders: 2 };
const promptEmbeds = { context: { shape: [1, 77, 32], data: new Float32Array(77 * 32) } };
const instruct: ModelTraits = { ...sd, sees: "image" };
const image = { width: 77, height: 53, data: new Uint8Array(77 * 53 * 3) };

const resolve = (options: GenerateOptions, model = sd) =>
  resolveOptions(options, model, { seed: 42, variationSeed: 43, ...(options.image && { imageSize: image }) });

describe("defaults", () => {
  it("are the model's size, 20 steps, guidance 7.5, and a drawn seed", () => {
    expect(resolve({ prompt: "a dog" })).toMatchObject({
      mode: "txt2img",
      prompts: ["a dog"],
      negativePrompts: [undefined],
      seeds: [42],
      width: 512,
      height: 512,
      steps: 20,
      guidance: 7.5,
      rng: "torch",
      output: "image",
    });
  });

  it("take the size of the picture: the multiple below, for inpainting the one above", () => {
    expect(resolve({ prompt: "", image })).toMatchObject({ width: 72, height: 48, strength: 0.8 });
    expect(resolve({ prompt: "", image, mask: image })).toMatchObject({ width: 80, height: 56, strength: 1 });
    const onlyMasked = resolve({ prompt: "", image, mask: image, onlyMasked: true });
    expect(onlyMasked).toMatchObject({ width: 512, height: 512, inpainting: { padding: 32, blur: 4 } });
    const expanded = resolve({ prompt: "", image, expand: { left: 3, bottom: 100 } });
    expect(expanded).toMatchObject({ mode: "outpaint", width: 80, height: 153 });
    expect(expanded.outpainting).toEqual({
      margins: { left: 3, top: 0, right: 0, bottom: 100 },
      step: 256,
      seamStrength: 0,
    });
  });

  it("depend on the kind of model", () => {
    expect(resolve({}, pixels)).toMatchObject({ mode: "unconditional", steps: 1000, width: 64 });
    expect(resolve({ prompt: "", image }, instruct)).toMatchObject({ mode: "instruct", imageGuidance: 1.5 });
    expect(resolve({ prompt: "", image }, instruct).strength).toBeUndefined();
    expect(resolve({ prompt: "" }, { ...sd, guidanceEmbedding: true })).toMatchObject({
      steps: 4,
      guidance: 8.5,
    });
  });
});

describe("several images", () => {
  it("count seeds upwards, beyond 2^53 as bigints", () => {
    expect(resolve({ prompt: ["a", "b"], count: 2, seed: 7 })).toMatchObject({
      prompts: ["a", "a", "b", "b"],
      seeds: [7, 8, 9, 10],
    });
    expect(resolve({ prompt: "a", count: 2, seed: 2 ** 53 - 1 }).seeds).toEqual([2 ** 53 - 1, 2n ** 53n]);
  });

  it("of a variation share the seed, and count the variation's upwards", () => {
    const { seeds, variation } = resolve({ prompt: "a", count: 2, variation: { strength: 0.2 } });
    expect({ seeds, variation }).toEqual({ seeds: [42, 42], variation: { seeds: [43, 44], strength: 0.2 } });
    expect(resolve({ prompt: "a", count: 2, variation: { strength: 0 } }).seeds).toEqual([42, 43]);
  });

  it("take one negative prompt for all, or one each", () => {
    expect(resolve({ prompt: ["a", "b"], negativePrompt: "c" }).negativePrompts).toEqual(["c", "c"]);
    expect(() => resolve({ prompt: ["a", "b", "c"], negativePrompt: ["d", "e"] })).toThrow(
      "negativePrompt has 2 entries for 3 prompts",
    );
  });
});

describe("hires", () => {
  it("scales to multiples of the factor, or takes a size", () => {
    const prompt = "";
    const hires = resolve({ prompt, width: 40, height: 48, hires: { scale: 1.5 } }).hires;
    expect(hires).toEqual({ width: 56, height: 72, scale: 1.5, strength: 0.7, upscaler: "latent" });
    expect(resolve({ prompt, hires: { width: 640, height: 768 } }).hires).toMatchObject({ width: 640 });
    // One side alone keeps the proportions, down to whole cells of the latents.
    const first = { prompt, width: 96, height: 56 };
    expect(resolve({ ...first, hires: { width: 128 } }).hires).toMatchObject({ width: 128, height: 72 });
    expect(resolve({ ...first, hires: { height: 128 } }).hires).toMatchObject({ width: 216, height: 128 });
  });
});

describe("refusals, one message each", () => {
  const prompt = "a dog";
  const mask = image;
  const latents = { shape: [1, 64, 64, 4], data: new Float32Array(64 * 64 * 4) };
  const unknown = (options: object) => options as GenerateOptions;
  const refused: [GenerateOptions, string, ModelTraits?][] = [
    [{}, "some-model needs a prompt"],
    [{ prompt }, "some-model has no text encoder, so prompt means nothing to it", pixels],
    [{ image }, "some-model generates from noise alone, so it takes no image", pixels],
    [{ hires: {} }, "some-model generates from noise alone, so it takes no hires", pixels],
    [{ prompt, prompt2: "b" }, "prompt2 is for models of the SDXL kind, some-model is not"],
    [{ prompt, sizes: {} }, "sizes is for models of the SDXL kind, some-model is not"],
    [{ prompt, strength: 0.5 }, "strength needs an image"],
    [{ prompt, mask }, "mask needs an image"],
    [{ prompt, expand: { left: 8 } }, "expand needs an image"],
    [{ prompt, resizeMode: "crop" }, "resizeMode needs an image"],
    [{ prompt, exactSteps: true }, "exactSteps needs an image"],
    [{ prompt, image, maskInvert: true }, "maskInvert needs a mask"],
    [{ prompt, image, onlyMasked: true }, "onlyMasked needs a mask"],
    [{ prompt, image, maskBlur: 3 }, "maskBlur needs a mask or expand"],
    [{ prompt, image, maskedContent: "fill" }, "maskedContent needs a mask or expand"],
    [{ prompt, image, expandStep: 64 }, "expandStep needs expand"],
    [{ prompt, image, seamStrength: 0.3 }, "seamStrength needs expand"],
    [{ prompt, denoisingStart: 0.5 }, "denoisingStart needs an image or latents"],
    [{ prompt, image, expand: { left: 8 }, width: 64 }, "expand and width contradict each other"],
    [{ prompt, image, expand: { left: 8 }, mask }, "expand and mask contradict each other"],
    [{ prompt, image, latents }, "latents and image contradict each other"],
    [{ prompt, latents, variation: { strength: 0.1 } }, "latents and variation contradict each other"],
    [{ prompt, latents, seedSize: { width: 8, height: 8 } }, "latents and seedSize contradict each other"],
    [{ prompt, image, strength: 1, denoisingStart: 0.5 }, "denoisingStart and strength contradict"],
    [{ prompt, image, exactSteps: true, denoisingStart: 0.5 }, "denoisingStart and exactSteps contradict"],
    [{ prompt, image, mask, denoisingStart: 0.5 }, "denoisingStart and mask contradict each other"],
    [
      { prompt, image, denoisingStart: 0.5, variation: { strength: 0.1 } },
      "denoisingStart and variation contradict each other",
    ],
    [
      { prompt, image, denoisingStart: 0.5, seedSize: { width: 8, height: 8 } },
      "denoisingStart and seedSize contradict each other",
    ],
    [{ promptEmbeds, prompt2: "a cat" }, "promptEmbeds and prompt2 contradict each other", sdxl],
    [
      { prompt, negativePromptEmbeds: promptEmbeds, negativePrompt2: "a cat" },
      "negativePromptEmbeds and negativePrompt2 contradict each other",
      sdxl,
    ],
    [{ prompt, image, hires: {} }, "hires and image contradict each other"],
    [{ prompt, denoisingEnd: 0.5, hires: {} }, "hires and denoisingEnd contradict each other"],
    [{ prompt, image, expand: { left: 8 }, strength: 0 }, "strength 0 leaves no step to run"],
    [{ prompt, image, mask: image, resizeMode: "latent" }, "resizeMode latent brings whole pictures"],
    [
      { prompt, image, mask: image, maskBlurSide: "inside", maskBlurY: 2 },
      "maskBlurY works with maskBlurSide both",
    ],
    [{ prompt, image, denoisingStart: 0.8, denoisingEnd: 0.5 }, "denoisingStart 0.8 is not before"],
    [{ prompt, hires: { scale: 2, width: 64, height: 64 } }, "hires.scale and hires.width or hires.height"],
    [{ prompt, hires: { strength: 0 } }, "hires.strength 0 leaves no step to run"],
    [{ prompt, hires: { width: 60, height: 64 } }, "hires.width must be a multiple of 8, got 60"],
    [{ prompt }, "some-model changes pictures and needs an image", instruct],
    [
      { prompt, image, strength: 0.5 },
      "starts from noise and sees the whole image, so it takes no strength",
      instruct,
    ],
    [
      { prompt, image, tiles: { size: 64, overlap: 64 } },
      "tiles.overlap 64 is not below tiles.size 64",
      { ...sd, sees: "lowres" },
    ],
    [{ prompt, imageGuidance: 2 }, "imageGuidance is for models that follow instructions"],
    [{ prompt, width: 500 }, "width must be a multiple of 8, got 500"],
    [{ prompt, width: 8192, height: 8200 }, "8192x8200 is more than 67108864 pixels"],
    [{ prompt, image, expand: { left: 1e6, top: 1e6 } }, "1000077x1000053 is more than 67108864 pixels"],
    [{ prompt, image, expand: { left: -8 } }, "the left margin must be a whole number of pixels"],
    [{ prompt, image, expand: {} }, "no side to expand: all margins are 0"],
    [{ prompt, image, strength: 1.2 }, "strength: expected at most 1, got 1.2"],
    [{ prompt, latents: { ...latents, shape: [1, 64, 64, 3] } }, "latents: expected [1, 64, 64, 4]"],
    [unknown({ prompt, stpes: 3 }), "there is no option stpes"],
    [unknown({ prompt, hires: { scal: 3 } }), "there is no option hires.scal"],
    [unknown({ prompt, hires: { upscaler: "latnt" } }), "hires.upscaler: there is no latnt"],
  ];

  it.each<[string, GenerateOptions]>([
    ["latents", { latents: { ...latents, scaling: "by 0.13025" }, denoisingStart: 0.5 }],
    ["image", { image: { ...latents, scaling: "by 0.13025" } }],
  ])("%s of another kind of model", (name, options) => {
    expect(() => resolve({ prompt, ...options }, { ...sd, scaling: "by 0.18215" })).toThrow(
      `${name}: the latents are of another kind of model (scaled by 0.13025); those of some-model are scaled by 0.18215`,
    );
  });

  it.each<[string, GenerateOptions]>([
    ["of the same scaling", { latents: { ...latents, scaling: "by 0.2" }, denoisingStart: 0.5 }],
    ["of an unknown one", { latents, denoisingStart: 0.5 }],
    ["that are noise", { latents: { ...latents, scaling: "by 0.13025" } }],
  ])("latents %s are taken", (_, options) => {
    expect(resolve({ prompt, ...options }, { ...sd, scaling: "by 0.2" }).latents).toBe(options.latents);
  });

  it.each([
    [{ guidance_scale: 7 }, "guidance"],
    [{ guidanceScale: 7 }, "guidance"],
    [{ numInferenceSteps: 7 }, "steps"],
    [{ samplerName: "Euler" }, "scheduler"],
    [{ denoisingStrength: 0.5 }, "strength"],
    [{ initImage: image }, "image"],
    [{ styles: ["ink"] }, "prompt"],
    [{ hr_second_pass_steps: 3 }, "hires.steps"],
    [{ inpaint_full_res_padding: 3 }, "onlyMasked.padding"],
    [{ hires: { hr_scale: 2 } }, "scale"],
    [{ hires: { denoisingStrength: 0.5 } }, "strength"],
    [{ controlnet: [{ model: "a", image, controlnet_conditioning_scale: 1 }] }, "scale"],
    [{ controlnet: [{ model: "a", image, guidance_start: 0.1 }] }, "start"],
    [{ sizes: { crops_coords_top_left: [0, 0] } }, "crop"],
  ])("knows what options are called elsewhere: %j", (options, meant) => {
    const hint = `did you mean ${meant}?`;
    expect(() => resolve(unknown({ prompt, ...options }))).toThrow(expect.objectContaining({ hint }));
  });

  it.each(refused)("%#: %j", (options, message, model = sd) => {
    expect(() => resolve(options, model)).toThrow(message);
  });
});

describe("a list of seeds", () => {
  it("has one for each prompt, and image i of a prompt uses that one + i", () => {
    const { seeds } = resolve({ prompt: ["a", "b"], count: 2, seed: [7, 2n ** 60n] });
    expect(seeds).toEqual([7, 8, 2n ** 60n, 2n ** 60n + 1n]);
    const varied = resolve({
      prompt: ["a", "b"],
      count: 2,
      seed: [7, 9],
      variation: { seed: 3, strength: 0.5 },
    });
    expect(varied.seeds).toEqual([7, 7, 9, 9]);
    expect(varied.variation?.seeds).toEqual([3, 4, 3, 4]);
  });

  it("of another length is refused", () => {
    expect(() => resolve({ prompt: "a", seed: [1, 2] })).toThrow("seed has 2 entries for 1 prompts");
  });
});

describe("wildcards", () => {
  const lists = { colour: ["red", "green", "blue"] };
  const drawn = (options: GenerateOptions) =>
    resolveOptions({ wildcards: lists, ...options }, sd, { seed: 42, variationSeed: 43, wildcards: lists });

  it("are drawn for each picture by its seed, and stand in the result and the parameters", () => {
    const options = drawn({
      prompt: "a __colour__ {cat|dog|bird}",
      negativePrompt: "__colour__",
      seed: 7,
      count: 4,
    });
    expect(options.prompts).toEqual(["a blue dog", "a blue bird", "a red bird", "a blue dog"]);
    expect(options.negativePrompts).toEqual(["blue", "blue", "blue", "green"]);
    for (const image of [0, 1, 2, 3])
      expect(infotext({ options, model: "m", image })).toMatch(
        new RegExp(`^${options.prompts[image]}\nNegative prompt: ${options.negativePrompts[image]}\n`),
      );
    // Picture i of a call is the first of one with its seed.
    const alone = drawn({ prompt: "a __colour__ {cat|dog|bird}", negativePrompt: "__colour__", seed: 9 });
    expect(alone.prompts).toEqual([options.prompts[2]]);
  });

  it("are the same for both text encoders", () => {
    const { prompts, prompts2 } = resolveOptions(
      { prompt: "{1|2|3|4|5|6}", prompt2: "{1|2|3|4|5|6}", wildcards: {}, count: 5 },
      { ...sd, textEncoders: 2 },
      { seed: 1, variationSeed: 1, wildcards: {} },
    );
    expect(prompts2).toEqual(prompts);
  });

  it("are plain text without the option", () => {
    expect(resolve({ prompt: "a __colour__ {cat|dog}" }).prompts).toEqual(["a __colour__ {cat|dog}"]);
  });
});
