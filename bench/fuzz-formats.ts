import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import sharp from "sharp";
import { readExif, writeExif } from "../src/image/exif.js";
import { parseFields, parseParameters, readImageTexts, withParameters } from "../src/index.js";
import { openStyles } from "../src/server/storage/styles.js";
import { goldenExtra } from "../src/testing/golden.js";
import { isSafePattern } from "../src/text/safe-pattern.js";
import { readGgufHeader } from "../src/weights/formats/gguf-header.js";
import { unpickle } from "../src/weights/formats/pickle.js";
import { openTensorFile } from "../src/weights/formats/tensor-file.js";
import { openTorchFile } from "../src/weights/formats/torch-file.js";
import { damagedBytes, promptText } from "./fuzz-inputs.js";
import { must, propertyOf, type Target, verdictOf } from "./fuzz-property.js";

/** A reader of files: what is damaged is written anew for each case. */
function fileTarget(
  name: string,
  inputs: () => fc.Arbitrary<Uint8Array>,
  read: (path: string) => unknown,
  allowed: readonly string[],
): Target {
  return {
    name,
    async open() {
      const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
      const path = join(folder, "x");
      const property = propertyOf(inputs(), (bytes) => {
        writeFileSync(path, bytes);
        return verdictOf(() => read(path), allowed);
      });
      return { property, close: () => rmSync(folder, { recursive: true }) };
    },
  };
}

/** Reads every tensor of a file, whatever its format. */
function readAll(path: string): void {
  const file = openTensorFile(path);
  try {
    for (const [name, { shape }] of file.tensors) {
      const count = shape.reduce((product, side) => product * side, 1);
      must(file.readFloat32(name).length === count, `${name} has another size than its shape`);
    }
  } finally {
    file.close();
  }
}

const stored = (name: string) => readFileSync(goldenExtra(`storage/${name}`));

const gguf = fileTarget(
  "gguf",
  () => {
    const good = stored("packed.gguf");
    // Nearly all of a header is in its first part, nearly all of a file behind it.
    const { dataStart } = readGgufHeader(good, "good");
    const header = damagedBytes(good.subarray(0, dataStart)).map((damaged) =>
      Uint8Array.from(Buffer.concat([damaged, good.subarray(dataStart)])),
    );
    return fc.oneof({ weight: 3, arbitrary: header }, { weight: 1, arbitrary: damagedBytes(good) });
  },
  readAll,
  ["FILE_FORMAT", "UNSUPPORTED"],
);

const float8 = fileTarget("float8", () => damagedBytes(stored("float8.safetensors")), readAll, [
  "FILE_FORMAT",
  "UNSUPPORTED",
]);

const torchFiles = ["archive.ckpt", "legacy.pt", "embedding.pt", "embedding-module.pt"];
const torch = fileTarget(
  "torch",
  () => {
    const files = torchFiles.map((name) =>
      readFileSync(new URL(`../src/testing/torch/${name}`, import.meta.url)),
    );
    return fc.constantFrom(...files).chain(damagedBytes);
  },
  (path) => {
    const file = openTorchFile(path);
    try {
      for (const name of file.tensors.keys()) file.readFloat32(name);
    } finally {
      file.close();
    }
  },
  ["FILE_FORMAT", "UNSUPPORTED"],
);

/** Opcodes in any order, and the same few again and again, which is what multiplies. */
const pickle: Target = {
  name: "pickle",
  async open() {
    const opcodes = [
      ..."().]}|leduasthqjRbQNKJMGXcTUBC0l1",
      "\x80\x02",
      "\x85",
      "\x86",
      "\x87",
      "\x94",
      "\x93",
      "\x81",
    ];
    const pieces = fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...opcodes) },
      {
        weight: 2,
        arbitrary: fc.constantFrom("q\0", "h\0", "K\x01", "X\x01\0\0\0a", "]q\0", "}q\x01", "(h\0h\0e"),
      },
      { weight: 1, arbitrary: fc.constantFrom("ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n") },
      { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", maxLength: 4 }) },
    );
    const inputs = fc
      .array(fc.tuple(fc.array(pieces, { minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 2000 })), {
        minLength: 1,
        maxLength: 6,
      })
      .map((blocks) =>
        Buffer.from(
          `\x80\x02${blocks.map(([block, times]) => block.join("").repeat(times)).join("")}.`,
          "latin1",
        ),
      );
    const property = propertyOf(inputs, (bytes) =>
      verdictOf(() => unpickle(bytes, "fuzz"), ["FILE_FORMAT", "UNSUPPORTED"]),
    );
    return { property };
  },
};

const styles = fileTarget(
  "styles",
  () => {
    const good = Buffer.from('name,prompt,negative_prompt\r\nInk,"ink, {prompt}",photo\r\n"a ""b""",,\r\n');
    return fc.oneof(
      damagedBytes(good),
      fc.string({ unit: "binary", maxLength: 300 }).map((text) => Buffer.from(text)),
    );
  },
  async (path) => {
    for (const { name, prompt, negativePrompt } of await (await openStyles(path)).list())
      must(name !== "" && typeof prompt === "string" && typeof negativePrompt === "string", "a style");
  },
  ["FILE_FORMAT"],
);

const infotext: Target = {
  name: "infotext",
  async open() {
    const good =
      'a (dog:1.2), <lora:ink:0.8>\nNegative prompt: cat\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 64x32, Denoising strength: 0.5, Hires upscale: 2, TI hashes: "a: b, c: d", Version: v1.9';
    const inputs = fc.oneof(
      damagedBytes(Buffer.from(good)).map((bytes) => Buffer.from(bytes).toString()),
      promptText.map((text) => `${text}\n${good}`),
      fc
        .array(fc.constantFrom("\n", ", ", ": ", '"', "Steps", "Negative prompt: ", "Seed: 1", "\\", "a"))
        .map((parts) => parts.join("").repeat(200)),
      fc.string({ unit: "binary", maxLength: 500 }),
    );
    const property = propertyOf(inputs, (text) =>
      verdictOf(() => {
        must(
          Object.values(parseFields(text)).every((value) => typeof value === "string"),
          "fields are text",
        );
        const { prompt, steps, seed } = parseParameters(text);
        must(typeof prompt === "string", "a prompt is text");
        for (const number of [steps, seed])
          must(typeof number !== "number" || Number.isFinite(number), `a number is ${number}`);
      }, []),
    );
    return { property };
  },
};

/** The EXIF comment of JPEG and WebP: the block by itself, and within a picture. */
const exif: Target = {
  name: "exif",
  async open() {
    const plain = sharp({ create: { width: 16, height: 16, channels: 3, background: "red" } });
    const parameters = "a dog, ünïcode\nSteps: 4, Seed: 1";
    const pictures = await Promise.all(
      [plain.clone().jpeg(), plain.clone().webp()].map(async (one) =>
        withParameters(await one.toBuffer(), parameters),
      ),
    );
    const inputs = fc.oneof(
      damagedBytes(writeExif(parameters)).map((bytes) => ({ bytes, whole: false })),
      fc
        .constantFrom(...pictures)
        .chain(damagedBytes)
        .map((bytes) => ({ bytes, whole: true })),
    );
    const property = propertyOf(inputs, ({ bytes, whole }) =>
      verdictOf(async () => {
        if (!whole) {
          const { orientation, userComment } = readExif(bytes);
          must(orientation >= 1 && orientation <= 8, `orientation ${orientation}`);
          must(userComment === undefined || typeof userComment === "string", "a comment is text");
          return;
        }
        const texts = await readImageTexts(bytes);
        must(
          Object.values(texts).every((text) => typeof text === "string"),
          "texts are text",
        );
        withParameters(bytes, parameters);
      }, ["BAD_IMAGE"]),
    );
    return { property };
  },
};

/** What is called safe must be a regular expression, and take no time. */
const patterns: Target = {
  name: "patterns",
  async open() {
    const pieces = fc.constantFrom(
      "a",
      "\\s",
      "\\p{L}",
      "[",
      "]",
      "^",
      "(",
      ")",
      "(?:",
      "|",
      "+",
      "*",
      "?",
      "{2,}",
      "$",
      ".",
      "\\",
      "-",
      "b",
    );
    const inputs = fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(""));
    const texts = ["a".repeat(5000), "ab ".repeat(2000)];
    const property = propertyOf(inputs, (source) => {
      if (!isSafePattern(source)) return "refused";
      let compiled: RegExp;
      try {
        compiled = new RegExp(source, "gu");
      } catch {
        return "no pattern";
      }
      const began = performance.now();
      for (const text of texts) text.match(compiled);
      must(performance.now() - began < 1000, `${source} takes more than linear time`);
      return "accepted";
    });
    return { property };
  },
};

export const formats: readonly Target[] = [gguf, float8, torch, pickle, styles, infotext, exif, patterns];
