import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { readsMutations } from "../../testing/mutations.js";
import { dictPickle, pickle, tensorPickle, torchArchive, zipBytes } from "../../testing/torch-writer.js";
import { openTensorFile } from "./tensor-file.js";
import { openTorchFile } from "./torch-file.js";

const folder = mkdtempSync(join(tmpdir(), "torch-file-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Files that torch 1.13.1 wrote. */
const byTorch = (name: string) => fileURLToPath(new URL(`../../testing/torch/${name}`, import.meta.url));

function written(bytes: Buffer): string {
  const path = join(folder, "file.ckpt");
  writeFileSync(path, bytes);
  return path;
}

function readAll(
  path: string,
): Record<string, { dtype: string; shape: readonly number[]; values: number[] }> {
  const file = openTorchFile(path);
  try {
    return Object.fromEntries(
      [...file.tensors].map(([name, { dtype, shape }]) => [
        name,
        { dtype, shape, values: [...file.readFloat32(name)] },
      ]),
    );
  } finally {
    file.close();
  }
}

const grid = Array.from({ length: 12 }, (_, i) => i / 4 - 1); // torch.arange(12.) / 4 - 1

describe("files written by torch", () => {
  it.each(["archive.ckpt", "legacy.pt"])("%s: every type and every layout of strides", (name) => {
    expect(readAll(byTorch(name))).toEqual({
      plain: { dtype: "F32", shape: [3, 4], values: grid },
      transposed: {
        dtype: "F32",
        shape: [4, 3],
        values: grid.map((_, i) => grid[(i % 3) * 4 + Math.floor(i / 3)]),
      },
      strided: { dtype: "F32", shape: [2, 2], values: [4, 6, 8, 10].map((i) => grid[i]) },
      half: { dtype: "F16", shape: [3, 4], values: grid },
      bf16: { dtype: "BF16", shape: [3, 4], values: grid },
      int64: { dtype: "I64", shape: [5], values: [-2, -1, 0, 1, 2] },
      bool: { dtype: "BOOL", shape: [2], values: [1, 0] },
      scalar: { dtype: "F32", shape: [], values: [3.5] },
      empty: { dtype: "F32", shape: [0, 4], values: [] },
      parameter: { dtype: "F32", shape: [3, 4], values: grid },
      expanded: { dtype: "F64", shape: [], values: [2] },
    });
  });

  it("keeps what is no tensor in the value", () => {
    const file = openTorchFile(byTorch("archive.ckpt"));
    file.close();
    const value = file.value as Map<string, unknown>;
    expect([value.get("global_step"), value.get("epoch"), value.get("big"), value.get("note")]).toEqual([
      7,
      1.5,
      2 ** 40,
      "é",
    ]);
  });

  it("finds the parameters of a pickled module", () => {
    const { "string_to_param.*": embedding } = readAll(byTorch("embedding-module.pt"));
    expect(embedding?.values).toEqual(Array.from({ length: 16 }, (_, i) => i / 8 - 1));
  });

  it("offsets and ranges point at the bytes in the file", () => {
    const path = byTorch("archive.ckpt");
    const file = openTorchFile(path);
    const { offset, bytes, contiguous } = file.tensors.get("plain")!;
    expect(contiguous).toBe(true);
    expect(Buffer.from(file.read("plain"))).toEqual(readFileSync(path).subarray(offset, offset + bytes));
    expect(file.read("transposed", [4, 12])).toEqual(file.read("transposed").slice(4, 12));
    expect(() => file.read("plian")).toThrow(expect.objectContaining({ hint: 'The nearest is "plain".' }));
    file.close();
  });
});

const twoByTwo = { length: 4, shape: [2, 2], strides: [2, 1] };
const floats = Buffer.from(Float32Array.of(1, 2, 3, 4).buffer);

describe("archives that torch would not write", () => {
  const refused = (bytes: Buffer, message: string) =>
    expect(() => openTorchFile(written(bytes))).toThrow(message);
  const weights = dictPickle({ weight: tensorPickle(twoByTwo) });

  it("reads what the test writer writes", () => {
    expect(readAll(written(torchArchive(weights, { 0: floats })))).toEqual({
      weight: { dtype: "F32", shape: [2, 2], values: [1, 2, 3, 4] },
    });
  });

  it("executes nothing and says what was asked for", () => {
    const call = Buffer.concat([
      pickle.global("os", "system"),
      pickle.mark,
      pickle.text("touch owned"),
      pickle.tuple,
      pickle.reduce,
    ]);
    refused(torchArchive(dictPickle({ weight: call })), "os.system");
  });

  it.each([
    ["no data", {}, "data/0 is missing"],
    ["too little data", { 0: floats.subarray(4) }, "should hold 16 bytes"],
  ])("refuses %s", (_, storages, message) => refused(torchArchive(weights, storages), message));

  it("refuses one storage described in two ways", () => {
    const two = dictPickle({
      a: tensorPickle(twoByTwo),
      b: tensorPickle({ ...twoByTwo, type: "IntStorage" }),
    });
    refused(torchArchive(two, { 0: floats }), "two ways");
  });

  it("refuses a big-endian file and TorchScript", () => {
    const data = { name: "a/data.pkl", data: weights };
    refused(zipBytes([data, { name: "a/byteorder", data: Buffer.from("big") }]), "byte order");
    refused(zipBytes([data, { name: "a/constants.pkl", data: weights }]), "TorchScript");
  });

  it("calls an archive that is not torch's what it is", () => {
    const path = written(zipBytes([{ name: "model/v1.safetensors", data: floats, method: 8 }]));
    expect(() => openTensorFile(path)).toThrow(/is a zip archive, and not one of torch's; .*v1\.safetensors/);
    expect(() => openTensorFile(written(torchArchive(weights, { 0: floats }).subarray(0, 200)))).toThrow(
      /pickle checkpoint that cannot be used.*was cut off/,
    );
  });

  it("refuses two pickles and none", () => {
    refused(
      zipBytes([
        { name: "a/data.pkl", data: weights },
        { name: "b/data.pkl", data: weights },
      ]),
      "found 2",
    );
    refused(zipBytes([{ name: "a/version", data: Buffer.from("3\n") }]), "found 0");
  });

  it.each(["../data.pkl", "/data.pkl", "a/../../data.pkl", "C:/data.pkl", "a\\data.pkl", "a/\0data.pkl"])(
    "refuses the name %j",
    (name) => refused(zipBytes([{ name, data: weights }]), "a name that leaves it"),
  );

  it.each([
    ["compressed", { method: 8 }, "compressed"],
    ["encrypted", { flags: 1 }, "encrypted"],
    ["of two sizes", { packed: 3 }, "two sizes"],
    ["longer than the file", { size: 5000, packed: 5000 }, "past the end"],
    ["under another name locally", { localName: "a/data.pkx" }, "disagree"],
    ["somewhere else", { localOffset: 1_000_000 }, "ends inside"],
    ["without its zip64 field", { size: 0xffffffff, packed: 0xffffffff }, "zip64"],
  ])("refuses a member that is %s", (_, change, message) =>
    refused(zipBytes([{ name: "a/data.pkl", data: weights, ...change }]), message),
  );

  it("refuses members twice and members that overlap", () => {
    const member = { name: "a/data.pkl", data: weights };
    refused(zipBytes([member, member]), "twice");
    // A whole local record of "a/b" inside the data of "a/data.pkl": two archives in one file.
    const inner = zipBytes([{ name: "a/b", data: floats }]).subarray(0, 30 + 3 + floats.length);
    const localOffset = 30 + "a/data.pkl".length;
    refused(
      zipBytes([
        { name: "a/data.pkl", data: inner },
        { name: "a/b", data: floats, localOffset },
      ]),
      "share bytes",
    );
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["a web page", Buffer.from("<!DOCTYPE html><html>login</html>")],
    ["a cut archive", torchArchive(weights, { 0: floats }).subarray(0, 200)],
    ["a pickle of another program", dictPickle({ a: pickle.int(1) })],
  ])("refuses %s", (_, bytes) => refused(bytes, "file.ckpt"));

  it("says that a file is missing", () => {
    expect(() => openTorchFile(join(folder, "none.ckpt"))).toThrow(
      expect.objectContaining({ code: "FILE_MISSING" }),
    );
  });

  it.each(["archive.ckpt", "legacy.pt"])(
    "answers mutations of %s with values or a DiffusionError",
    (name) => {
      const sound = readFileSync(byTorch(name));
      readsMutations(sound, (mutated) => readAll(written(mutated)), { numRuns: 1000 });
    },
  );
});
