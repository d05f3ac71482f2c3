import { afterAll, describe, expect, it } from "vitest";
import type { GenerateOptions } from "../options/options.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";
import { emphasize } from "../text/emphasis.js";

afterAll(disposeTinyModels);

const base: GenerateOptions = { steps: 4, seed: 5, width: 32, height: 32, output: "latents", guidance: 3 };

async function draw(options: GenerateOptions, model = "models/tiny-sd1") {
  const { latents } = await (await tinyModel(model)).generate({ ...base, scheduler: "euler", ...options });
  return latents.data;
}

describe("prompt syntax", () => {
  it("means nothing unless it is asked for", async () => {
    const plain = await draw({ prompt: "a (red:1.5) fox" });
    expect(plain).not.toEqual(await draw({ prompt: "a (red:1.5) fox", promptSyntax: "a1111" }));
    expect(await draw({ prompt: "a red fox" })).toEqual(
      await draw({ prompt: "a red fox", promptSyntax: "a1111" }),
    );
  });

  it("weights are those that text/ gives, on the encoder's states", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const [tokenizer] = model.tokenizers;
    const { context } = await model.encodePrompt("a (fox:1.5)", { promptSyntax: "a1111" });
    const ids = tokenizer!.encode("a fox");
    const { last } = await model.textEncoder.run({ ids: [ids] });
    const fox = tokenizer!.tokens(" fox").length;
    const weights = ids.map((_, i) => (i >= 2 && i < 2 + fox ? 1.5 : 1));
    expect(context.data).toBeCloseTo32(emphasize(last.data, weights), { abs: 1e-6 });
  });

  it("emphasis: the mean restored, or not, weights read and ignored, or not read", async () => {
    const drawn = async (prompt: string, emphasis?: GenerateOptions["emphasis"]) =>
      draw({ prompt, promptSyntax: "a1111", ...(emphasis && { emphasis }) });
    const prompt = "a (red:1.5) fox BREAK \\(x\\)";
    const original = await drawn(prompt);
    expect(await drawn(prompt, "original")).toEqual(original);
    expect(await drawn(prompt, "ignore")).toEqual(await drawn("a red fox BREAK \\(x\\)"));
    expect(await drawn(prompt, "none")).toEqual(await draw({ prompt }));
    expect(await drawn(prompt, "no-norm")).not.toEqual(original);
    // Editing is none of the weights.
    expect(await drawn("a [fox:castle:0]", "none")).toEqual(await drawn("a castle"));
    await expect(draw({ prompt, emphasis: "ignore" })).rejects.toThrow(
      /^emphasis ignore needs promptSyntax "a1111"/,
    );
  });

  it("editing changes the prompt between calls: nothing before, everything after", async () => {
    const edited = { promptSyntax: "a1111" as const };
    const fox = await draw({ prompt: "a fox", ...edited });
    const castle = await draw({ prompt: "a castle", ...edited });
    expect(await draw({ prompt: "a [fox:castle:0]", ...edited })).toEqual(castle);
    expect(await draw({ prompt: "a [fox:castle:4]", ...edited })).toEqual(fox);
    const half = await draw({ prompt: "a [fox:castle:0.5]", ...edited });
    expect(half).not.toEqual(fox);
    expect(half).not.toEqual(castle);
    // With two calls of four done by another prompt, the same as editing at call 2.
    expect(half).toEqual(await draw({ prompt: "a [fox:castle:2]", ...edited }));
  });

  it("AND adds up what each part does; parts of weight 0 do nothing", async () => {
    const a1111 = { promptSyntax: "a1111" as const };
    const alone = await draw({ prompt: "a fox", ...a1111 });
    const twice = await draw({ prompt: "a fox :0.5 AND a fox :0.5", ...a1111 });
    expect(twice).toBeCloseTo32(alone, { abs: 2e-3, rel: 1e-3 });
    const nothing = await draw({ prompt: "a fox AND a castle :0", ...a1111 });
    expect(nothing).toBeCloseTo32(alone, { abs: 2e-3, rel: 1e-3 });
    expect(await draw({ prompt: "a fox AND a castle", ...a1111 })).not.toEqual(alone);
  });

  it("says which words do not fit, once for all images, and for the negative prompt when it counts", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const notesOf = async (options: GenerateOptions) =>
      (await model.generate({ ...base, steps: 1, ...options })).notes;
    const long = `${"cat ".repeat(38)}, a hat`;
    const { tokenizers } = model;
    const tokens = tokenizers[0]!.tokens(long).length;
    const [note, ...others] = await notesOf({ prompt: long, count: 2 });
    expect(others).toEqual([]);
    expect(note).toContain(`the prompt has ${tokens} tokens, of which 75 are used`);
    expect(note).toMatch(/; ".*, a hat" is not seen \(promptSyntax "a1111" or "compel"/);
    expect(await notesOf({ prompt: long, promptSyntax: "a1111" })).toEqual([]);
    expect(await notesOf({ prompt: "a cat" })).toEqual([]);
    const against = { prompt: "a cat", negativePrompt: long };
    expect(await notesOf(against)).toEqual([expect.stringContaining("the negative prompt has")]);
    expect(await notesOf({ ...against, guidance: 1 })).toEqual([
      "negativePrompt has no effect: guidance 1 turns guidance off",
    ]);
  });

  it.each(["models/tiny-sd1", "models/tiny-sdxl"])("%s: long prompts in chunks", async (name) => {
    const model = await tinyModel(name);
    const long = Array.from({ length: 60 }, (_, i) => `word${i}`).join(" ");
    const { context, pooled } = await model.encodePrompt(long, { promptSyntax: "compel" });
    const rows = context.shape[1]!;
    expect(rows).toBeGreaterThan(77);
    expect(rows % 77).toBe(0);
    expect(pooled !== undefined).toBe(name.endsWith("sdxl"));
    const end = await draw({ prompt: `${long} fox`, promptSyntax: "a1111" }, name);
    expect(end).not.toEqual(await draw({ prompt: `${long} castle`, promptSyntax: "a1111" }, name));
  });

  it.each(["models/tiny-sd1", "models/tiny-sdxl"])("%s: embeddings out and in", async (name) => {
    const model = await tinyModel(name);
    const promptEmbeds = await model.encodePrompt("a fox");
    const negativePromptEmbeds = await model.encodePrompt("blurry");
    expect(await draw({ promptEmbeds, negativePromptEmbeds }, name)).toEqual(
      await draw({ prompt: "a fox", negativePrompt: "blurry" }, name),
    );
    const short = { ...promptEmbeds, context: { shape: [1, 2, 3], data: new Float32Array(6) } };
    await expect(draw({ promptEmbeds: short, negativePromptEmbeds }, name)).rejects.toThrow(/promptEmbeds/);
  });

  it("says which weights and editing are drawn as words", async () => {
    const model = await tinyModel("models/tiny-sd1");
    const noted = async (options: GenerateOptions) =>
      (await model.generate({ steps: 1, width: 16, height: 16, output: "latents", ...options })).notes;
    const asked = { prompt: "a (red fox:1.3) on [grass:snow:0.5]", negativePrompt: "[x:y:3]" };
    expect(await noted(asked)).toEqual([
      '(red fox:1.3) is plain text, as promptSyntax is "plain"; "a1111" reads it as the web UI does',
      '[x:y:3] is plain text, as promptSyntax is "plain"; "a1111" reads it as the web UI does',
    ]);
    expect(await noted({ ...asked, promptSyntax: "a1111" })).toEqual([]);
    expect(await noted({ prompt: "a fox (16:9), [wide] and (small: 3 cm)" })).toEqual([
      expect.stringMatching(/^\(16:9\) is plain text/),
    ]);
  });

  it("refuses what contradicts itself, and networks that it cannot use", async () => {
    await expect(draw({ prompt: "a <hypernet:x:1>" })).rejects.toThrow(/hypernet/);
    await expect(draw({ prompt: "a <lora:none:1>" })).rejects.toThrow(/no LoRA none/);
    await expect(draw({ prompt: "a", negativePrompt: "<lora:none:1>" })).rejects.toThrow(/negativePrompt/);
    const onlySecond = draw({ prompt: "a", prompt2: "a <lora:none:1>" }, "models/tiny-sdxl");
    await expect(onlySecond).rejects.toThrow(/prompt2 cannot name none by itself/);
    const stronger = { prompt: "a <lora:none:1>", prompt2: "a <lora:none:0.3>" };
    await expect(draw(stronger, "models/tiny-sdxl")).rejects.toThrow(
      /prompt2 cannot give none another strength than prompt/,
    );
    const promptEmbeds = { context: { shape: [1, 77, 32], data: new Float32Array(77 * 32) } };
    await expect(draw({ prompt: "a", promptEmbeds })).rejects.toThrow(/contradict/);
  });
});
