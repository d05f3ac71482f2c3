import { afterAll, describe, expect, it } from "vitest";
import type { GenerateOptions } from "../options/options.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

afterAll(disposeTinyModels);

const base: GenerateOptions = { prompt: "a fox", steps: 1, guidance: 2, seed: 5, output: "latents" };

const notesOf = async (more: GenerateOptions, name = "models/tiny-sd1") =>
  (await (await tinyModel(name)).generate({ ...base, ...more })).notes;

describe("what has no effect is noted", () => {
  it.each<[string, NonNullable<GenerateOptions["scheduler"]>, string[]]>([
    [
      "AUTOMATIC1111's UniPC",
      { sampler: "UniPC", schedule: "Karras" },
      ["the schedule karras has no effect: UniPC goes its own way from noise to picture"],
    ],
    [
      "DPM fast",
      "dpm_fast_karras",
      ["the schedule karras has no effect: dpm_fast_karras goes its own way from noise to picture"],
    ],
    ["ours", "unipc_karras", []],
    ["none", { sampler: "UniPC", schedule: "Automatic" }, []],
  ])("a schedule: %s", async (_, scheduler, notes) => {
    expect(await notesOf({ scheduler })).toEqual(notes);
  });

  const off = "has no effect: guidance 1 turns guidance off";

  it.each<[string, GenerateOptions, string[]]>([
    ["a negative prompt", { guidance: 1, negativePrompt: "castle" }, [`negativePrompt ${off}`]],
    ["one of several", { guidance: 1, negativePrompt: ["", "castle"] }, [`negativePrompt ${off}`]],
    ["an empty one", { guidance: 1, negativePrompt: "", guidanceRescale: 0 }, []],
    ["guidanceRescale", { guidance: 1, guidanceRescale: 0.5 }, [`guidanceRescale ${off}`]],
    [
      "guidanceRescale beside perturbed attention",
      { guidance: 1, guidanceRescale: 0.5, pag: { scale: 2 } },
      [`guidanceRescale ${off}`],
    ],
    ["off as diffusers writes it", { guidance: 0 }, []],
    [
      "guidance below 1",
      { guidance: 0.5, negativePrompt: "castle" },
      [
        "guidance 0.5 acts as 1, which turns guidance off: only above 1 there is some",
        "negativePrompt has no effect: guidance 0.5 turns guidance off",
      ],
    ],
    [
      "prompts that AND combines are guided",
      { prompt: "a AND b", promptSyntax: "a1111", guidance: 1, negativePrompt: "castle" },
      [],
    ],
    ["guided", { negativePrompt: "castle", guidanceRescale: 0.5 }, []],
  ])("of guidance that is off: %s", async (_, options, notes) => {
    const prompt = Array.isArray(options.negativePrompt) ? { prompt: ["a", "b"] } : {};
    expect(await notesOf({ ...prompt, ...options })).toEqual(notes);
  });

  it("of SDXL's own options", async () => {
    const options = {
      ...{ negativePrompt2: "castle", sizes: { negative: { original: { width: 8, height: 8 } } } },
    };
    const notes = [`negativePrompt2 ${off}`, `sizes.negative ${off}`];
    expect(await notesOf({ ...options, guidance: 1 }, "models/tiny-sdxl")).toEqual(notes);
    expect(await notesOf(options, "models/tiny-sdxl")).toEqual([]);
  });

  it("of models that are told their guidance", async () => {
    const why = "has no effect: tiny-lcm is told its guidance, and is asked about the prompt alone";
    const options = { negativePrompt: "castle", guidanceRescale: 0.5, guidance: 8 };
    expect(await notesOf(options, "models/tiny-lcm")).toEqual([
      `negativePrompt ${why}`,
      `guidanceRescale ${why}`,
    ]);
    expect(await notesOf({ guidance: 0.5 }, "models/tiny-lcm")).toEqual([]);
  });

  it("of how texts are read, where embeddings are given in their place", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const promptEmbeds = await model.encodePrompt("a fox");
    const { prompt, ...rest } = base;
    const draw = async (more: GenerateOptions) => {
      const drawn = more.promptEmbeds ? more : { prompt: prompt!, ...more };
      return (await model.generate({ ...rest, promptSyntax: "a1111", ...drawn })).notes;
    };
    const options = { clipSkip: 1, emphasis: "no-norm", padPrompts: true } as const;
    const both = { promptEmbeds, negativePromptEmbeds: promptEmbeds };
    const encoded = "has no effect: the prompts are given as embeddings";
    const padded = "padPrompts has no effect: what stands beside an embedding is always as long as that";
    expect(await draw({ ...both, ...options })).toEqual([
      `clipSkip 1 ${encoded}`,
      `emphasis no-norm ${encoded}`,
      padded,
    ]);
    // The negative prompt is a text.
    expect(await draw({ promptEmbeds, ...options })).toEqual([padded]);
    expect(await draw({ promptEmbeds, promptSyntax: "plain", clipSkip: 1 })).toEqual([
      `clipSkip 1 ${encoded}`,
    ]);
    expect(await draw({ ...both, clipSkip: 0 })).toEqual([]);
    expect(await draw({ negativePromptEmbeds: promptEmbeds, clipSkip: 1 })).toEqual([]);
  });

  it.each<[string, object, string[]]>([
    [
      "EulerDiscreteScheduler",
      { timesteps: [900, 500, 100], sigmas: [3, 0], eta: 0.5, thresholding: true, clip_sample: true },
      ["timesteps", "sigmas", "eta", "thresholding", "clip_sample"],
    ],
    ["EulerDiscreteScheduler", { solver_order: 3, foo: 1, use_karras_sigmas: true }, ["solver_order", "foo"]],
    ["DDIMScheduler", { use_karras_sigmas: true, eta: 1, foo: 1 }, ["use_karras_sigmas", "eta", "foo"]],
    // As it is copied from a file: what the model says as well, what is off, what says nothing.
    [
      "EulerDiscreteScheduler",
      { skip_prk_steps: true, clip_sample: false, _diffusers_version: "0.38.0", foo: null },
      [],
    ],
  ])("of a configuration's keys: %s %j", async (_class_name, keys, idle) => {
    const note = `${idle.join(", ")} in scheduler: without effect, as ${_class_name} does not read such keys`;
    expect(await notesOf({ scheduler: { _class_name, ...keys } })).toEqual(idle.length > 0 ? [note] : []);
  });

  it("of resizing, where the picture keeps its size", async () => {
    const image = { width: 48, height: 40, data: new Uint8Array(48 * 40 * 3).fill(90) };
    const mask = { width: 48, height: 40, data: new Uint8Array(48 * 40).fill(255, 800, 1000) };
    const sized = { image, mask, onlyMasked: true, width: 48, height: 48 };
    const note = "resizeMode crop has no effect: with onlyMasked the picture keeps its size";
    expect(await notesOf({ ...sized, output: "image", resizeMode: "crop" })).toEqual([note]);
    expect(await notesOf({ ...sized, output: "image", resizeMode: "stretch" })).toEqual([]);
    expect(await notesOf({ ...sized, output: "image", onlyMasked: false, resizeMode: "crop" })).toEqual([]);
  });
});
