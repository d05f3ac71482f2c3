import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { goldenExtra, goldenPath, readTensors } from "../testing/golden.js";
import { openFolder } from "../weights/folder.js";
import { type TensorToWrite, writeSafetensors } from "../weights/formats/safetensors.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import { loadTokenizer } from "../weights/tokenizer-files.js";
import { adaptCheckpoint, adaptedModel, adaptedPlaces, tokenTable } from "./adapted-checkpoint.js";
import { openLora } from "./lora.js";
import { adaptWeight, planMerge } from "./lora-merge.js";
import { AdapterSet } from "./set.js";
import { readTextualInversion } from "./textual-inversion.js";

const source = openFolder(goldenPath("models/tiny-sd1"));
const cases = (name: string) => goldenExtra(`adapters/${name}`);
const tolerance = { abs: 2e-6, rel: 1e-5 };

/** The model's UNet with a LoRA at a strength: every tensor that it changes. */
function merged(name: string, scale: number): Map<string, Float32Array> {
  const lora = openLora(cases(name), adaptedModel(source));
  const checkpoint = source.unet.open();
  const plan = planMerge([{ lora, scale }]).get("unet")!;
  const result = new Map(
    [...plan].map(([key, changes]) => [key, adaptWeight(checkpoint.readFloat32(key), changes)]),
  );
  checkpoint.close();
  lora.close();
  return result;
}

describe("DoRA in the layout of kohya and LyCORIS", () => {
  const expected = readTensors(cases("dora.expected.safetensors"));
  const modules = [...new Set([...expected.keys()].map((key) => key.split("|")[0]!))];

  test.each([1, 0.5, 0.01])("strength %d stands outside of the norm", (scale) => {
    const got = merged("dora.safetensors", scale);
    expect([...got.keys()].sort()).toEqual(modules.map((name) => `${name}.weight`).sort());
    for (const name of modules) {
      const want =
        expected.get(`${name}|${scale.toFixed(scale === 1 ? 1 : undefined)}|a1111_comfy`) ??
        expected.get(`${name}|${scale}|a1111_comfy`)!;
      expect(got.get(`${name}.weight`)!).toBeCloseTo32(want.data, tolerance);
    }
  });

  test("strength near 0 gives the base model back", () => {
    for (const [name, values] of merged("dora.safetensors", 1e-6)) {
      const { data } = expected.get(`${name.replace(/\.weight$/, "")}|orig`)!;
      expect(values).toBeCloseTo32(data, { abs: 1e-5 });
    }
  });
});

test.each(["glora-old", "glora-new"])("%s: weights as LyCORIS merges them", (name) => {
  const expected = readTensors(cases(`${name}.expected.safetensors`));
  const got = merged(`${name}.safetensors`, 1);
  expect([...got.keys()].sort()).toEqual([...expected.keys()].map((key) => `${key}.weight`).sort());
  for (const [key, { data }] of expected) expect(got.get(`${key}.weight`)!).toBeCloseTo32(data, tolerance);
});

test.each(["mydog-star", "mydog-sks"])(
  "%s: the word is the file's name, whatever its placeholder",
  (name) => {
    const file = openTensorFile(cases(`${name}.pt`));
    const { word, vectors } = readTextualInversion(file, { text_encoder: 32 });
    file.close();
    expect(word).toBe(name);
    expect(vectors).toBeGreaterThan(0);
  },
);

describe("a LoRA that carries an embedding", async () => {
  const tokenizer = await loadTokenizer(goldenPath("models/tiny-sd1/tokenizer"));
  const path = cases("bundle.safetensors");
  const rows = readTensors(path).get("bundle_emb.ohwxdog.string_to_param.*")!;
  const mention = { kind: "lora", name: "bundle", weight: 1, unetWeight: 1 };

  test("its word is known while it is in use, by hand or by a prompt", () => {
    const loaded = new AdapterSet(source, [tokenizer]);
    const { unmatched, words } = loaded.addLora(path, {});
    expect([unmatched, words]).toEqual([[], ["ohwxdog"]]);
    expect(loaded.inUse().tokenizers[0]!.words.get("ohwxdog")).toHaveLength(2);
    loaded.setLoras([]);
    expect(loaded.inUse().tokenizers[0]!.words.size).toBe(0);
    expect(loaded.inUse([mention]).tokenizers[0]!.words.get("ohwxdog")).toHaveLength(2);
    const folder = new AdapterSet(source, [tokenizer], goldenExtra("adapters"));
    expect(folder.inUse([mention]).tokenizers[0]!.words.get("ohwxdog")).toHaveLength(2);
    expect(folder.inUse().tokenizers[0]!.words.size).toBe(0);
  });

  test("the text encoder gets its rows where the tokenizer counts them", () => {
    const set = new AdapterSet(source, [tokenizer]);
    set.addLora(path, {});
    const { adapters, tokenizers } = set.inUse();
    const [first] = tokenizers[0]!.words.get("ohwxdog")!;
    const checkpoint = adaptCheckpoint(source.textEncoders[0]!.open(), "text_encoder", {
      places: adaptedPlaces(source),
      adapters,
      matMul: () => new Float32Array(0),
    });
    const table = checkpoint.readFloat32(tokenTable);
    checkpoint.close();
    expect(table.subarray(first! * 32, first! * 32 + 64)).toBeCloseTo32(rows.data, {});
  });

  test("what of its file names nothing in the model is in the notes, once it is in use", () => {
    const set = new AdapterSet(source, [tokenizer]);
    set.addLora(path, {});
    expect(set.inUse().notes).toEqual([]);
    const lora = openTensorFile(path);
    const tensors = [...lora.tensors].map(([name, { dtype, shape }]): [string, TensorToWrite] => [
      name,
      { dtype, shape, data: lora.read(name) },
    ]);
    lora.close();
    const more = ["a", "b", "c", "d"].map((name): [string, TensorToWrite] => [
      `lora_unet_mid_block_${name}.alpha`,
      { dtype: "F32", shape: [], data: Float32Array.of(1) },
    ]);
    const folder = mkdtempSync(join(tmpdir(), "reference-"));
    writeSafetensors(join(folder, "more.safetensors"), new Map([...tensors, ...more]));
    set.addLora(join(folder, "more.safetensors"), {});
    const { notes } = set.inUse();
    rmSync(folder, { recursive: true });
    expect(notes).toEqual([
      "4 keys of the LoRA more name nothing in this model: lora_unet_mid_block_a.alpha, lora_unet_mid_block_b.alpha, lora_unet_mid_block_c.alpha, and 1 more",
    ]);
  });

  test("a word that is loaded by itself stays as it is", () => {
    const set = new AdapterSet(source, [tokenizer]);
    set.addWord(cases("mydog-star.pt"), { word: "ohwxdog" });
    set.addLora(path, {});
    expect(set.inUse().adapters.words.map(({ bundled = false }) => bundled)).toEqual([false]);
  });

  test("a LoRA that a prompt names twice counts twice; one that is loaded, too, by its mentions only", () => {
    const set = new AdapterSet(source, [tokenizer]);
    set.addLora(path, { scale: 3 });
    const twice = [mention, { ...mention, weight: 0.25, unetWeight: 0.5 }];
    expect(set.inUse(twice).adapters.loras.map(({ scales }) => scales)).toEqual([
      { unet: 1, text: 1 },
      { unet: 0.5, text: 0.25 },
    ]);
    expect(set.inUse(twice).adapters.words).toHaveLength(1);
  });
});
