import { describe, expect, it } from "vitest";
import { DiffusionError } from "../../errors.js";
import { readsMutations } from "../../testing/mutations.js";
import { dictPickle, pickle, tensorPickle } from "../../testing/torch-writer.js";
import { unpickle } from "./pickle.js";

const read = (...parts: Uint8Array[]) => unpickle(Buffer.concat([pickle.proto, ...parts]), "test.ckpt").value;

describe("unpickle", () => {
  it("reads plain values", () => {
    const value = read(
      pickle.emptyList,
      pickle.mark,
      pickle.int(-70_000),
      pickle.text("é"),
      pickle.none,
      pickle.no,
      Buffer.from([0x8a, 2, 0x00, 0xff]), // LONG1 -256
      Buffer.from([0x47, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]), // BINFLOAT 1.5
      Buffer.from([0x4d, 0x34, 0x12]), // BININT2
      pickle.appends,
      pickle.stop,
    );
    expect(value).toEqual([-70_000, "é", null, false, -256, 1.5, 0x1234]);
  });

  it("recalls what was memoized, the same object", () => {
    const value = read(
      pickle.emptyList,
      pickle.put(3),
      pickle.mark,
      pickle.get(3),
      pickle.appends,
      pickle.stop,
    );
    expect(Array.isArray(value) && value[0] === value).toBe(true);
  });

  it("makes a record of a tensor", () => {
    const value = read(
      tensorPickle({ type: "HalfStorage", key: "7", length: 12, offset: 4, shape: [2, 2], strides: [4, 2] }),
      pickle.stop,
    );
    expect(value).toEqual({
      kind: "tensor",
      storage: { kind: "storage", dtype: "F16", key: "7", length: 12 },
      offset: 4,
      shape: [2, 2],
      strides: [4, 2],
    });
  });

  it.each([
    ["argparse", "Namespace"],
    ["pathlib", "PosixPath"],
    ["pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"],
  ])("makes a record that does nothing of %s.%s, which training scripts leave", (module, name) => {
    const value = read(pickle.global(module, name), pickle.emptyTuple, pickle.reduce, pickle.stop);
    expect(value).toMatchObject({ kind: "inert", name: `${module}.${name}` });
  });

  it("gives the position after the last byte", () => {
    const bytes = Buffer.concat([pickle.proto, pickle.none, pickle.stop, Buffer.from("rest")]);
    expect(unpickle(bytes, "x")).toEqual({ value: null, end: 4 });
  });
});

describe("hostile pickles", () => {
  const call = (module: string, name: string) => [
    pickle.global(module, name),
    pickle.mark,
    pickle.text("id"),
    pickle.tuple,
    pickle.reduce,
    pickle.stop,
  ];

  it.each([
    ["os", "system"],
    ["posix", "system"],
    ["builtins", "eval"],
    ["__builtin__", "getattr"],
    ["pkgutil", "resolve_name"],
    ["torch", "load"],
    ["torch.hub", "load"],
    ["collections", "OrderedDict.__init__"],
    ["torch._utils", "_rebuild_tensor_v2.__globals__"],
    ["numpy", "load"],
    ["constructor", "constructor"],
    ["__proto__", "toString"],
  ])("refuses %s.%s by name", (module, name) => {
    expect(() => read(...call(module, name))).toThrow(`asks for ${module}.${name}`);
  });

  it("refuses a global that is put together on the stack", () => {
    const short = (text: string) =>
      Buffer.concat([Buffer.from([0x8c, text.length]), Buffer.from(text), Buffer.from([0x94])]);
    expect(() => read(short("os"), short("system"), Buffer.from([0x93]), pickle.stop)).toThrow(
      "asks for os.system",
    );
  });

  it.each([
    ["INST", "(S'id'\nios\nsystem\n.", "0x53"],
    ["OBJ", "o.", "0x6f"],
    ["EXT1", "\x82\x01.", "0x82"],
    ["NEWOBJ_EX", "\x92.", "0x92"],
    ["text PERSID", "Pfoo\n.", "0x50"],
    ["BYTEARRAY8", "\x96\0\0\0\0\0\0\0\0.", "0x96"],
  ])("refuses %s", (_, text, opcode) => {
    expect(() => read(Buffer.from(text, "latin1"))).toThrow(opcode);
  });

  it("does not call storages, results or texts", () => {
    expect(() => read(...call("torch", "FloatStorage"))).toThrow("type of storage");
    expect(() => read(pickle.text("os.system"), pickle.emptyTuple, pickle.reduce, pickle.stop)).toThrow(
      "no global",
    );
  });

  it("keeps inert objects inert", () => {
    const value = read(...call("_codecs", "encode"));
    expect(value).toEqual({ kind: "inert", name: "_codecs.encode", state: { kind: "tuple", items: ["id"] } });
  });

  it("stops at a stack bomb and at a memo bomb", () => {
    expect(() => read(Buffer.alloc(2_000_000, "]"), pickle.stop)).toThrow("piles up");
    const memo = Buffer.alloc(5 * 2_100_000);
    for (let i = 0; i < 2_100_000; i++) {
      memo[5 * i] = 0x72; // LONG_BINPUT
      memo.writeUInt32LE(i, 5 * i + 1);
    }
    expect(() => read(pickle.none, memo, pickle.stop)).toThrow("remembers more");
  });

  it("reads a billion laughs in no time, because nothing is copied", () => {
    const parts: Buffer[] = [pickle.emptyList, pickle.put(0)];
    for (let i = 0; i < 100; i++)
      parts.push(
        pickle.emptyList,
        pickle.mark,
        ...Array.from({ length: 10 }, () => pickle.get(i)),
        pickle.appends,
        pickle.put(i + 1),
      );
    expect(read(...parts, pickle.stop)).toHaveLength(10);
  });

  it.each([
    ["a length beyond the file", Buffer.from([0x58, 0xff, 0xff, 0xff, 0x7f])],
    ["an integer of a megabyte", Buffer.from([0x8b, 0, 0, 0x10, 0])],
    ["an empty stack", Buffer.from("R.")],
    ["a value below the mark", Buffer.from("N(0.")],
    ["a missing mark", Buffer.from("t.")],
    ["a memo entry that is not there", Buffer.from([0x68, 9])],
    ["items of a number", Buffer.from("K\x01(u.")],
    ["an odd number of items", Buffer.from("}(Nu.")],
    ["a global without its second line", Buffer.from("cos\n")],
    ["protocol 9", Buffer.from([0x80, 9])],
  ])("refuses %s", (_, bytes) => {
    expect(() => read(bytes)).toThrow(DiffusionError);
  });

  it.each([
    ["reaches past its storage", { length: 11, shape: [3, 4], strides: [4, 1] }],
    ["starts past its storage", { length: 12, offset: 1, shape: [3, 4], strides: [4, 1] }],
    ["strides past its storage", { length: 12, shape: [2, 2], strides: [11, 1] }],
    ["repeats its storage a trillion times", { length: 1, shape: [1_000_000, 1_000_000], strides: [0, 0] }],
    ["has fewer strides than axes", { length: 12, shape: [3, 4], strides: [4] }],
    ["has a negative size", { length: 12, shape: [-1], strides: [1] }],
    ["has a negative stride", { length: 12, offset: 11, shape: [2], strides: [-1] }],
    ["has a negative storage", { length: -1, shape: [0], strides: [1] }],
  ])("refuses a tensor that %s", (_, view) => {
    expect(() => read(tensorPickle(view), pickle.stop)).toThrow(DiffusionError);
  });

  it("answers any mutation of a sound pickle with a value or a DiffusionError", () => {
    const sound = dictPickle({
      weight: tensorPickle({ length: 6, shape: [2, 3], strides: [3, 1] }),
      step: pickle.int(3),
    });
    readsMutations(sound, (mutated) => unpickle(mutated, "fuzz"), { numRuns: 3000 });
  });
});
