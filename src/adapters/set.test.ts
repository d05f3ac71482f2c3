import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cp, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import type { StableDiffusion } from "../pipeline/stable-diffusion.js";
import type { RuntimeName } from "../runtime/runner.js";
import {
  type GoldenCase,
  goldenCase,
  goldenCases,
  goldenExtra,
  goldenPath,
  goldenTensor,
  readTensors,
  toNhwc,
} from "../testing/golden.js";
import { runGoldenUNet } from "../testing/golden-unet.js";
import { disposeTinyModels, tinyModel } from "../testing/pipeline-case.js";

const cacheDir = mkdtempSync(join(tmpdir(), "adapters-"));
afterAll(async () => {
  await disposeTinyModels();
  rmSync(cacheDir, { recursive: true });
});

const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));

const stateOf = async (model: StableDiffusion, golden: GoldenCase) => [
  (await runGoldenUNet(model.unet, golden)).data,
  (await model.textEncoder.run({ ids: [golden.inputs.ids] })).last.data,
];

const runtimes: RuntimeName[] = ["graph", "eager"];

describe.each(runtimes)("LoRA, %s", (runtime) => {
  const cases = goldenCases("lora");
  const load = (c: GoldenCase) => tinyModel(c.config.model, { runtime, cacheDir });

  it.each(cases.filter((c) => c.expected.without).map((c) => [c.id, c] as const))(
    "%s: strengths, switched and removed",
    async (_, golden) => {
      const model = await load(golden);
      const before = await stateOf(model, golden);
      const { name } = await model.loadLora(goldenPath(golden.inputs.lora));
      for (const scale of [1, 0.6]) {
        model.setLoras([{ name, scale }]);
        const { unet, text } = golden.expected[`scale_${scale.toFixed(1)}`];
        const [gotUNet, gotText] = await stateOf(model, golden);
        expect(gotUNet).toBeCloseTo32(values(unet).data, golden.tolerance);
        expect(gotText).toBeCloseTo32(values(text).data, golden.tolerance);
      }
      model.removeLora(name);
      expect(await stateOf(model, golden)).toEqual(before);
    },
  );

  it("of norms, biases and whole weights (LyCORIS, PEFT)", async () => {
    const { adapters, timestep } = JSON.parse(readFileSync(goldenExtra("lycoris/cases.json"), "utf8"));
    const tensors = readTensors(goldenExtra("lycoris/lycoris.safetensors"));
    const model = await tinyModel("models/tiny-sd1", { runtime, cacheDir });
    const run = () =>
      model.unet.run({
        sample: toNhwc(tensors.get("sample")!),
        context: tensors.get("context")!,
        timestep,
      });
    for (const { name, file, scale } of adapters) {
      const { name: loaded } = await model.loadLora(goldenExtra(`lycoris/${file}`), { scale });
      expect((await run()).data).toBeCloseTo32(toNhwc(tensors.get(`${name}|output`)!).data, {
        rel: 1e-4,
        abs: 1e-5,
      });
      model.removeLora(loaded);
    }
  });

  it("two at once", async () => {
    const golden = cases.find((c) => c.inputs.loras)!;
    const model = await load(golden);
    const paths = (golden.inputs.loras as string[]).map(goldenPath);
    for (const [i, path] of paths.entries()) await model.loadLora(path, { scale: golden.config.scales[i] });
    expect((await runGoldenUNet(model.unet, golden)).data).toBeCloseTo32(
      values(golden.expected.unet).data,
      golden.tolerance,
    );
    expect(model.loras.map(({ name }) => `${name}.safetensors`)).toEqual(paths.map((path) => basename(path)));
    model.setLoras([]);
    for (const { name } of model.loras) model.removeLora(name);
  });

  it("all three networks of SDXL", async () => {
    const golden = goldenCase("lora/kohya-sdxl");
    const { inputs, expected, tolerance } = golden;
    const model = await load(golden);
    const { name } = await model.loadLora(goldenPath(inputs.lora));
    expect((await runGoldenUNet(model.unet, golden)).data).toBeCloseTo32(
      values(expected.unet).data,
      tolerance,
    );
    const [one, two] = model.textEncoders;
    const first = await one!.run({ ids: [inputs.ids] });
    expect(first.penultimate.data).toBeCloseTo32(values(expected.text).data, tolerance);
    const second = await two!.run({ ids: [inputs.ids_2] });
    expect(second.projected!.data).toBeCloseTo32(values(expected.text_embeds).data, tolerance);
    model.removeLora(name);
  });
});

describe.each(runtimes)("textual inversion, %s", (runtime) => {
  it.each(goldenCases("textual-inversion").map((c) => [c.id, c] as const))(
    "%s",
    async (_, { config, inputs, expected, tolerance }) => {
      const model = await tinyModel(config.model, { runtime, cacheDir });
      const learned = await model.loadTextualInversion(goldenPath(inputs.embedding), { word: config.token });
      expect(learned).toMatchObject({ word: config.token, vectors: config.vectors });
      const outputs = expected.ids ? { text_encoder: expected } : expected;
      for (const [i, key] of ["text_encoder", "text_encoder_2"].entries()) {
        const wanted = outputs[key];
        if (!wanted) continue;
        const ids = model.tokenizers[i]!.encode(inputs.prompt);
        expect(ids).toEqual(wanted.ids);
        const { last, penultimate } = await model.textEncoders[i]!.run({ ids: [ids] });
        if (wanted.last_hidden_state)
          expect(last.data).toBeCloseTo32(values(wanted.last_hidden_state).data, tolerance);
        else expect(penultimate.data).toBeCloseTo32(values(wanted.penultimate).data, tolerance);
      }
      await expect(
        model.loadTextualInversion(goldenPath(inputs.embedding), { word: config.token }),
      ).rejects.toThrow(/in the tokenizer already/);
      model.removeTextualInversion(config.token);
      expect(model.words).toEqual([]);
    },
  );

  it("a picture's rows act as those of the file that went into it", async () => {
    const model = await tinyModel("models/tiny-sd1", { runtime, cacheDir });
    await model.loadTextualInversion(goldenPath("adapters/ti-diffusers-multi.safetensors"), { word: "<a>" });
    await model.loadTextualInversion(goldenExtra("png-embedding/pixels.png"), { word: "<b>" });
    const encoded = (prompt: string) => model.encodePrompt(prompt);
    expect(await encoded("a fox in <b>, ink")).toEqual(await encoded("a fox in <a>, ink"));
    expect(await encoded("a fox in <b>, ink")).not.toEqual(await encoded("a fox in, ink"));
    for (const { word } of model.words) model.removeTextualInversion(word);
  });
});

describe("a folder of learned words", () => {
  it("a prompt that says a file's name equals the word loaded; what nobody says is not read", async () => {
    const embeddingsDir = await mkdtemp(join(tmpdir(), "words-"));
    await cp(goldenPath("adapters/ti-diffusers-multi.safetensors"), join(embeddingsDir, "inky.safetensors"));
    await writeFile(join(embeddingsDir, "broken.pt"), "no tensors");
    const model = await tinyModel("models/tiny-sd1", { cacheDir, embeddingsDir });
    const said = await model.encodePrompt("a fox, Inky style");
    const plain = await model.encodePrompt("a fox, inkyish style");
    expect(model.words).toEqual([]);
    const options = { steps: 2, seed: 1, width: 32, height: 32, guidance: 3, output: "latents" } as const;
    const refused = { ...options, prompt: "a fox", negativePrompt: "inky" };
    const negative = (await model.generate(refused)).latents;
    await expect(model.generate({ ...options, prompt: "a broken fox" })).rejects.toThrow(/broken\.pt/);
    const loaded = await tinyModel("models/tiny-sd1", { cacheDir });
    expect(await loaded.encodePrompt("a fox, inkyish style")).toEqual(plain);
    expect(await loaded.encodePrompt("a fox, inky style")).not.toEqual(said);
    await loaded.loadTextualInversion(join(embeddingsDir, "inky.safetensors"), { word: "inky" });
    expect(await loaded.encodePrompt("a fox, inky style")).toEqual(said);
    expect((await loaded.generate(refused)).latents).toEqual(negative);
  });

  it("one that was made for another family is refused by its file", async () => {
    const embeddingsDir = await mkdtemp(join(tmpdir(), "words-"));
    await cp(goldenExtra("adapters/mydog-star.pt"), join(embeddingsDir, "mydog.pt"));
    const model = await tinyModel("models/tiny-sdxl", { cacheDir, embeddingsDir });
    await expect(model.encodePrompt("mydog")).rejects.toMatchObject({
      code: "WEIGHT_SHAPE",
      message: expect.stringContaining("mydog.pt"),
    });
  });
});

describe("a folder of LoRAs", () => {
  const base = { steps: 2, seed: 1, width: 32, height: 32, guidance: 3, output: "latents" as const };
  const load = () => tinyModel("models/tiny-sd1", { cacheDir, loraDir: goldenPath("adapters") });
  const draw = async (prompt: string | string[]) =>
    (await (await load()).generate({ ...base, prompt })).latents;

  it("a prompt that names one equals the one loaded; other pictures of the call do without it", async () => {
    const plain = await draw("a fox");
    const named = await draw("a fox <lora:lora-kohya:0.8>");
    expect(named).not.toEqual(plain);
    const both = await draw(["a fox <lora:lora-kohya:0.8>", "a fox"]);
    expect(both.data.subarray(0, named.data.length)).toEqual(named.data);
    const model = await load();
    await model.loadLora(goldenPath("adapters/lora-kohya.safetensors"), { name: "kohya", scale: 0.8 });
    expect(await draw("a fox")).toEqual(named);
    model.removeLora("kohya");
    expect(await draw("a fox")).toEqual(plain);
    await expect(draw("a fox <lora:lora-kohia:1>")).rejects.toThrow(/no LoRA lora-kohia/);
  });
});

it("a single file gives the latents of the folder, with its configs", async () => {
  const single = goldenPath("singlefile/tiny-sd1.safetensors");
  const config = goldenPath("models/tiny-sd1");
  const file = await tinyModel(single.slice(goldenPath("").length), { config, cacheDir });
  const folder = await tinyModel("models/tiny-sd1-fp16", { precision: "fp16", cacheDir });
  const options = { prompt: "a fox", steps: 2, seed: 1, width: 32, height: 32 };
  const { data } = (await file.generate(options)).latents;
  expect(data).toBeCloseTo32((await folder.generate(options)).latents.data, { abs: 1e-4, rel: 1e-3 });
});

it("a LoRA of another base is refused with what does not fit, and leaves the model as it was", async () => {
  const sdxl = goldenCase("lora/kohya-sdxl");
  const model = await tinyModel("models/tiny-sd2", { cacheDir });
  const error = await model.loadLora(goldenPath(sdxl.inputs.lora)).catch((reason) => reason);
  expect(error.code).toMatch(/WEIGHT_SHAPE|MODEL_KIND/);
  expect(model.loras).toEqual([]);
  expect(() => model.setLoras([{ name: "none" }])).toThrow(/no LoRA none/);
});
