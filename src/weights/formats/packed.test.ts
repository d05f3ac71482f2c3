import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { goldenExtra, readTensors } from "../../testing/golden.js";
import { readsMutations } from "../../testing/mutations.js";
import { thrown } from "../../testing/thrown.js";
import { openCheckpoint } from "../checkpoint.js";
import { type TensorToWrite, writeSafetensors } from "./safetensors.js";
import { openTensorFile } from "./tensor-file.js";

const folder = mkdtempSync(join(tmpdir(), "packed-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const written = (bytes: Uint8Array): string => {
  const path = join(folder, `${++files}`);
  writeFileSync(path, bytes);
  return path;
};
const safetensors = (tensors: Record<string, TensorToWrite>): string => {
  const path = join(folder, `${++files}.safetensors`);
  writeSafetensors(path, new Map(Object.entries(tensors)));
  return path;
};

const cases = [
  ["float8.safetensors", "float8.expected.safetensors"],
  ["packed.gguf", "packed.expected.safetensors"],
] as const;

describe.each(cases)("%s", (stored, expected) => {
  const path = goldenExtra(`storage/${stored}`);
  const want = readTensors(goldenExtra(`storage/${expected}`));

  test("every value to the last bit, and no tensor more", () => {
    const file = openTensorFile(path);
    expect([...file.tensors.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [name, { shape, data }] of want) {
      expect([name, file.tensors.get(name)?.shape]).toEqual([name, shape]);
      const got = file.readFloat32(name);
      expect(got.length).toBe(data.length);
      const wrong = got.findIndex(
        (value, i) => !Object.is(value, data[i]) && !(value === 0 && data[i] === 0),
      );
      expect([name, wrong, got[wrong]]).toEqual([name, -1, undefined]);
    }
    file.close();
  });

  test("a range of bytes is that part of the whole", () => {
    const file = openTensorFile(path);
    for (const [name, { bytes }] of file.tensors)
      for (const range of [
        [0, bytes],
        [4, Math.min(12, bytes)],
        [Math.floor(bytes / 2), bytes],
      ] as const)
        expect([name, ...file.read(name, range)]).toEqual([name, ...file.read(name).subarray(...range)]);
    file.close();
  });

  test("a checkpoint reads the same", () => {
    const checkpoint = openCheckpoint(path);
    const zero = (values: Float32Array) => [...values].map((value) => value + 0);
    for (const [name, { data }] of want) expect(zero(checkpoint.readFloat32(name))).toEqual(zero(data));
    checkpoint.close();
  });
});

test("damaged GGUF files are answered with values or an error that says what is wrong", () => {
  const sound = readFileSync(goldenExtra("storage/packed.gguf"));
  readsMutations(
    sound.subarray(0, 1400),
    (header) => {
      const file = openTensorFile(written(Buffer.concat([header, sound.subarray(1400)])));
      try {
        for (const name of file.tensors.keys()) file.readFloat32(name);
      } finally {
        file.close();
      }
    },
    { numRuns: 300 },
  );
});

test("damaged files of scaled weights are, too", () => {
  const sound = readFileSync(goldenExtra("storage/float8.safetensors"));
  readsMutations(
    sound,
    (bytes) => {
      const file = openTensorFile(written(bytes));
      try {
        for (const name of file.tensors.keys()) file.readFloat32(name);
      } finally {
        file.close();
      }
    },
    { numRuns: 200 },
  );
});

/** The same file with one place of its header changed. */
function changed(find: string, change: (bytes: Buffer, at: number) => void): string {
  const bytes = Buffer.from(readFileSync(goldenExtra("storage/packed.gguf")));
  change(bytes, bytes.indexOf(find));
  return written(bytes);
}

test.each<[string, string, (bytes: Buffer, at: number) => void, string, RegExp]>([
  [
    "a type that is not known",
    "half",
    (b, at) => b.writeUInt32LE(99, at + 4 + 4 + 32),
    "UNSUPPORTED",
    /"half" is packed as ggml's type 99, which cannot be read/,
  ],
  ...[[20, "IQ4_NL"] as const, [23, "IQ4_XS"] as const].map(
    ([type, name]): [string, string, (bytes: Buffer, at: number) => void, string, RegExp] => [
      `the type ${name}`,
      "half",
      (b, at) => b.writeUInt32LE(type, at + 4 + 4 + 32),
      "UNSUPPORTED",
      new RegExp(`"half" is packed as ${name}, which cannot be read`),
    ],
  ),
  ["another version", "GGUF", (b, at) => b.writeUInt32LE(1, at + 4), "UNSUPPORTED", /version 1/],
  ["a name that occurs twice", "Q4_1", (b, at) => b.write("Q4_0", at), "FILE_FORMAT", /"Q4_0" occurs twice/],
  [
    "a tensor behind the end",
    "Q4_0",
    (b, at) => b.writeBigUInt64LE(2n ** 40n, at + 4 + 4 + 16 + 4),
    "FILE_FORMAT",
    /"Q4_0" reaches to byte/,
  ],
  [
    "rows that blocks do not fill",
    "Q8_0",
    (b, at) => b.writeBigUInt64LE(511n, at + 4 + 4),
    "FILE_FORMAT",
    /"Q8_0" has rows of 511/,
  ],
  [
    "a shape of other size",
    "orig_shape",
    (b, at) => b.writeInt32LE(9, at + 10 + 7 + 4 + 4 + 8),
    "FILE_FORMAT",
    /"kernel" has 288 values, its original shape \[9,4,3,3\]/,
  ],
])("GGUF with %s", (_, find, change, code, message) => {
  const error = thrown(() => openTensorFile(changed(find, change)));
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
});

describe("what is not read as weights", () => {
  const four = { shape: [2, 2], data: new Uint8Array(4) };
  const scale = { dtype: "F32", shape: [], data: Float32Array.of(2) };

  test.each(["I8", "U8"])("whole numbers (%s) are refused by name, as weights of a network", (dtype) => {
    const path = safetensors({ "conv.weight": { dtype, ...four } });
    const error = thrown(() => openCheckpoint(path));
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain(`conv.weight is stored as ${dtype}`);
  });

  test.each([
    ["conv.weight.quant_state.bitsandbytes__nf4", "bitsandbytes (NF4)"],
    ["conv.weight.quant_state.bitsandbytes__fp4", "bitsandbytes (FP4)"],
    ["conv.weight.absmax", "bitsandbytes (four bits, NF4 or FP4)"],
    ["conv.SCB", "bitsandbytes (eight bits, LLM.int8)"],
  ])("whole numbers beside %s are refused by what packed them", (mark, what) => {
    const path = safetensors({ "conv.weight": { dtype: "U8", ...four }, [mark]: scale });
    expect(thrown(() => openCheckpoint(path)).message).toContain(
      `conv.weight is stored as U8, quantised by ${what}, which cannot be read`,
    );
  });

  test("scales of other weights than 8-bit floats, and scales of blocks", () => {
    const ofHalf = { "a.weight": { dtype: "I8", ...four }, "a.scale_weight": scale };
    expect(thrown(() => openTensorFile(safetensors(ofHalf))).message).toContain(
      "a.scale_weight scales a weight",
    );
    const ofBlocks = {
      "a.weight": { dtype: "F8_E4M3", ...four },
      "a.weight_scale": { dtype: "F32", shape: [2], data: Float32Array.of(1, 2) },
    };
    expect(thrown(() => openTensorFile(safetensors(ofBlocks))).message).toContain("has the shape [2]");
  });

  test("a scale without its weight is a tensor like any other", () => {
    const file = openTensorFile(
      safetensors({ "a.scale_weight": scale, "b.weight": { dtype: "F8_E5M2", ...four } }),
    );
    expect([...file.tensors.keys()].sort()).toEqual(["a.scale_weight", "b.weight"]);
    file.close();
  });
});
