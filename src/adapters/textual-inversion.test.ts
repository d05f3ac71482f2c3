import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { DiffusionError } from "../errors.js";
import type { Image } from "../image/image.js";
import { decodePng, encodePng } from "../image/png.js";
import { goldenCases, goldenPath, readTensors } from "../testing/golden.js";
import { dictPickle, tensorPickle, torchArchive } from "../testing/torch-writer.js";
import { writeSafetensors } from "../weights/formats/safetensors.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import type { AdapterFile } from "../weights/formats/tensors.js";
import { type EncoderWidths, extendEmbeddings, readTextualInversion } from "./textual-inversion.js";

const folder = mkdtempSync(join(tmpdir(), "inversion-"));
afterAll(() => rmSync(folder, { recursive: true }));

function read(path: string, widths: EncoderWidths, word?: string) {
  const file = openTensorFile(path);
  try {
    return readTextualInversion(file, widths, word === undefined ? {} : { word });
  } finally {
    file.close();
  }
}

type Tensors = Readonly<Record<string, readonly number[]>>;

/** A file in memory: names and shapes; every value is its place in the tensor. */
const memory = (tensors: Tensors, dtype = "F32"): AdapterFile => ({
  path: "some/folder/my-style.safetensors",
  tensors: new Map(Object.entries(tensors).map(([name, shape]) => [name, { dtype, shape }])),
  readFloat32: (name) =>
    Float32Array.from({ length: tensors[name]!.reduce((a, b) => a * b, 1) }, (_, i) => i),
});

describe("golden embeddings", () => {
  it.each(goldenCases("textual-inversion"))("$id", ({ config, inputs }) => {
    const path = goldenPath(inputs.embedding);
    const stored = readTensors(path);
    const isXl = stored.has("clip_g");
    const { word, vectors, rows } = read(path, { text_encoder: 32, ...(isXl && { text_encoder_2: 40 }) });
    expect(vectors).toBe(config.vectors);
    expect(word).toBe(stored.has(config.token) ? config.token : path.replace(/.*\/|\.safetensors/g, ""));
    const first = stored.get("clip_l") ?? [...stored.values()][0]!;
    expect(rows.text_encoder).toEqual({ shape: [vectors, 32], data: first.data });
    expect(rows.text_encoder_2?.data).toEqual(stored.get("clip_g")?.data);
  });
});

describe("layouts", () => {
  const eight = { text_encoder: 8 };
  const values = Float32Array.from({ length: 16 }, (_, i) => i / 8 - 1);

  it.each(["embedding.pt", "embedding-module.pt"])("the web UI's pickle %s, as torch wrote it", (name) => {
    const path = fileURLToPath(new URL(`../testing/torch/${name}`, import.meta.url));
    expect(read(path, eight)).toEqual({
      word: name.replace(".pt", ""),
      vectors: 2,
      rows: { text_encoder: { shape: [2, 8], data: values } },
    });
  });

  it("diffusers' pickle, by the word in it; and under a name that hides the format", () => {
    const bytes = torchArchive(
      dictPickle({ "<cat>": tensorPickle({ length: 8, shape: [8], strides: [1] }) }),
      {
        0: Buffer.from(values.buffer, 0, 32),
      },
    );
    const path = join(folder, "learned_embeds.safetensors");
    writeFileSync(path, bytes);
    expect(read(path, eight)).toMatchObject({ word: "<cat>", vectors: 1 });
  });

  it("safetensors under a pickle's name", () => {
    const path = join(folder, "style.pt");
    writeSafetensors(path, new Map([["emb_params", { dtype: "F32", shape: [2, 8], data: values }]]));
    const copy = join(folder, "other.bin");
    copyFileSync(path, copy);
    expect(read(copy, eight)).toMatchObject({ word: "other", vectors: 2 });
  });

  it.each([
    ["one vector", { "<cat>": [768] }, "<cat>", 1],
    ["several vectors", { "<cat>": [3, 768] }, "<cat>", 3],
    ["emb_params", { emb_params: [2, 768] }, "my-style", 2],
    ["a bare tensor", { "": [2, 768] }, "my-style", 2],
    ["clip_l alone", { clip_l: [2, 768] }, "my-style", 2],
    ["string_to_param", { "string_to_param.*": [2, 768], "string_to_token.*": [] }, "my-style", 2],
  ])("%s", (_, tensors: Tensors, word, vectors) => {
    const widths = { text_encoder: 768 };
    expect(readTextualInversion(memory(tensors), widths)).toMatchObject({ word, vectors });
    expect(readTextualInversion(memory(tensors), widths, { word: "own" })).toMatchObject({
      word: "own",
      vectors,
    });
  });

  it.each([
    ["clip_l", "clip_g"],
    ["text_encoders_0", "text_encoders_1"],
  ])("SDXL: %s and %s", (first, second) => {
    const tensors = { [second]: [2, 1280], [first]: [2, 768] };
    const { rows } = readTextualInversion(memory(tensors), { text_encoder: 768, text_encoder_2: 1280 });
    expect(rows.text_encoder.shape).toEqual([2, 768]);
    expect(rows.text_encoder_2?.shape).toEqual([2, 1280]);
    // The refiner has the second text encoder only, and reads the half that is for it.
    for (const of of [tensors, { [second]: [2, 1280] }]) {
      const { rows } = readTextualInversion(memory(of), { text_encoder: 1280 });
      expect([rows.text_encoder.shape, rows.text_encoder_2]).toEqual([[2, 1280], undefined]);
    }
  });
});

describe("embeddings that do not fit", () => {
  const sd1 = { text_encoder: 768 };
  const sd2 = { text_encoder: 1024 };
  const sdxl = { text_encoder: 768, text_encoder_2: 1280 };
  it.each([
    [
      "SD 2's in SD 1",
      { a: [1, 1024] },
      sd1,
      "made for Stable Diffusion 2 (text width 1024); this model is Stable Diffusion 1 (text width 768)",
    ],
    ["SD 1's in SD 2", { a: [1, 768] }, sd2, "made for Stable Diffusion 1"],
    ["SD 1's in SDXL", { a: [1, 768] }, sdxl, "this model is Stable Diffusion XL (text widths 768 and 1280)"],
    ["SDXL's in SD 1", { clip_l: [1, 768], clip_g: [1, 1280] }, sd1, "made for Stable Diffusion XL"],
    ["an unknown family's", { a: [1, 4096] }, sd1, "made for a model of text width 4096"],
  ])("%s: names both families", (_, tensors: Tensors, widths, message) => {
    expect(() => readTextualInversion(memory(tensors), widths)).toThrow(
      expect.objectContaining({ code: "WEIGHT_SHAPE", message: expect.stringContaining(message) }),
    );
  });

  it.each([
    ["nothing", {}, "a file without any tensor"],
    ["two words", { a: [768], b: [768] }, "holds 2 tensors (a, b)"],
    ["the first half of SDXL's", { clip_l: [1, 768] }, "made for Stable Diffusion 1"],
    ["the second half of SDXL's", { clip_g: [1, 1280] }, "but no clip_l"],
    ["unequal halves", { clip_l: [1, 768], clip_g: [2, 1280] }, "1 vectors for one text encoder and 2"],
    ["three axes", { a: [1, 2, 768] }, "expected [vectors, width]"],
    ["no vectors", { a: [0, 768] }, "expected [vectors, width]"],
    ["a single number", { a: [] }, "expected [vectors, width]"],
  ])("%s", (_, tensors: Tensors, message) => {
    expect(() => readTextualInversion(memory(tensors), sdxl)).toThrow(message);
  });

  it("refuses whole numbers", () => {
    expect(() => readTextualInversion(memory({ a: [1, 768] }, "I64"), sd1)).toThrow("I64");
  });

  it("says that a file is missing", () => {
    expect(() => openTensorFile(join(folder, "none.pt"))).toThrow(
      expect.objectContaining({ code: "FILE_MISSING" }),
    );
    expect(() => openTensorFile(folder)).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
  });
});

describe("in pictures of the web UI", () => {
  const made = (name: string) =>
    fileURLToPath(new URL(`../testing/golden-extra/png-embedding/${name}`, import.meta.url));
  const stored = readTensors(goldenPath("adapters/ti-diffusers-multi.safetensors")).get("<my-style>")!;
  const inPicture = (name: string, image: Image, text?: Record<string, string>) => {
    const path = join(folder, name);
    writeFileSync(path, encodePng(image, text));
    return path;
  };
  const textOf = (value: unknown) => ({
    "sd-ti-embedding": Buffer.from(JSON.stringify(value)).toString("base64"),
  });
  const grey = { width: 8, height: 8, data: new Uint8Array(8 * 8 * 3).fill(99) };

  it.each(["text.png", "pixels.png"])("%s: the rows that went in, and the word", (name) => {
    expect(read(made(name), { text_encoder: 32 })).toEqual({
      word: "my-style-200",
      vectors: 3,
      rows: { text_encoder: { shape: [3, 32], data: stored.data } },
    });
    expect(read(made(name), { text_encoder: 32 }, "own").word).toBe("own");
  });

  it("pixels.png as RGBA, and with a black frame around", () => {
    const { image } = decodePng(readFileSync(made("pixels.png")));
    const [width, height] = [image.width + 6, image.height + 4];
    const data = new Uint8Array(width * height * 4);
    for (let y = 0; y < image.height; y++)
      for (let x = 0; x < image.width; x++) {
        const [from, to] = [(y * image.width + x) * 3, ((y + 1) * width + x + 2) * 4];
        data.set([...image.data.subarray(from, from + 3), 255], to);
      }
    const path = inPicture("framed.png", { width, height, data });
    expect(read(path, { text_encoder: 32 }).rows.text_encoder.data).toEqual(stored.data);
  });

  it.each([
    ["an ordinary picture", grey, undefined, "is a picture without an embedding"],
    ["a black picture", { ...grey, data: new Uint8Array(192) }, undefined, "without an embedding"],
    ["no JSON", grey, { "sd-ti-embedding": "AAAA" }, "cannot be read"],
    ["no parameters", grey, textOf({ name: "x" }), "has no string_to_param"],
    ["texts as numbers", grey, textOf({ string_to_param: { "*": { TORCHTENSOR: ["a"] } } }), "no numbers"],
    [
      "rows of two lengths",
      grey,
      textOf({ string_to_param: { "*": { TORCHTENSOR: [[1], [1, 2]] } } }),
      "no numbers",
    ],
    ["another width", grey, textOf({ string_to_param: { "*": { TORCHTENSOR: [[1, 2]] } } }), "text width 2"],
  ])("%s is refused", (name, image, text, message) => {
    const path = inPicture(`${name.replaceAll(" ", "-")}.png`, image, text);
    expect(() => read(path, { text_encoder: 32 })).toThrow(message);
  });

  it("mutated ones give errors, or rows of the right shape", () => {
    const bytes = readFileSync(made("pixels.png"));
    const { image } = decodePng(bytes);
    const at = fc.array(fc.tuple(fc.nat(image.data.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    const path = join(folder, "mutated.png");
    fc.assert(
      fc.property(at, (changes) => {
        const data = image.data.slice();
        for (const [i, value] of changes) data[i] = value;
        writeFileSync(path, encodePng({ ...image, data }));
        try {
          expect(read(path, { text_encoder: 32 }).rows.text_encoder.shape[1]).toBe(32);
        } catch (error) {
          expect(error).toBeInstanceOf(DiffusionError);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe("extendEmbeddings", () => {
  const table = { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };
  const one = { shape: [1, 2], data: Float32Array.of(5, 6) };
  const two = { shape: [2, 2], data: Float32Array.of(7, 8, 9, 10) };

  it("puts rows where the tokenizer counts on", () => {
    expect(extendEmbeddings(table, 2, [one, two])).toEqual({
      shape: [5, 2],
      data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    });
    expect([...table.data]).toEqual([1, 2, 3, 4]);
  });

  it("into a table that is longer than the vocabulary", () => {
    expect([...extendEmbeddings(table, 1, [one]).data]).toEqual([1, 2, 5, 6]);
  });
});
