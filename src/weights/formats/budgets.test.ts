import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { parseJson } from "../../disk/json.js";
import { parseTextEncoderConfig } from "../../models/clip-config.js";
import { parseUNetConfig } from "../../models/unet-config.js";
import { upscalerConfig } from "../../models/upscaler-config.js";
import { parseVaeConfig } from "../../models/vae-config.js";
import { thrown } from "../../testing/thrown.js";
import { pickle } from "../../testing/torch-writer.js";
import { readGgufHeader } from "./gguf-header.js";
import { unpickle } from "./pickle.js";
import { openSafetensors } from "./safetensors.js";

/*
 * Files that are small and made to cost much. Each is refused by what it asks for, which is counted, so that no clock
 * is needed: what is counted takes less than a second or two.
 */

const folder = mkdtempSync(join(tmpdir(), "budgets-"));
afterAll(() => rmSync(folder, { recursive: true }));
const read = (...parts: Uint8Array[]) => unpickle(Buffer.concat([pickle.proto, ...parts]), "test.ckpt").value;

describe("pickles", () => {
  test("a list of pairs that becomes a dictionary again and again", () => {
    const pair = Buffer.concat([pickle.mark, pickle.text("k"), pickle.int(1), pickle.tuple]);
    const pairs = Buffer.concat([
      pickle.emptyList,
      pickle.mark,
      ...Array<Buffer>(5000).fill(pair),
      pickle.appends,
      pickle.put(0),
    ]);
    const ordered = Buffer.concat([
      pickle.global("collections", "OrderedDict"),
      pickle.mark,
      pickle.get(0),
      pickle.tuple,
      pickle.reduce,
    ]);
    const times = (count: number) =>
      read(pairs, pickle.mark, ...Array<Buffer>(count).fill(ordered), pickle.tuple, pickle.stop);
    expect(times(10)).toBeDefined();
    expect(thrown(() => times(20_000))).toMatchObject({
      code: "FILE_FORMAT",
      message: expect.stringContaining("steps"),
    });
  });

  test("marks without an end", () => {
    const marks = (count: number) => read(Buffer.alloc(count, "("), Buffer.alloc(count, "t"), pickle.stop);
    expect(marks(1000)).toBeDefined();
    expect(thrown(() => marks(20_000))).toMatchObject({
      code: "FILE_FORMAT",
      message: expect.stringContaining("marks"),
    });
  });

  test("one long tuple that is the shape of many tensors", () => {
    const shape = Buffer.concat([
      pickle.mark,
      ...Array<Buffer>(2000).fill(pickle.int(1)),
      pickle.tuple,
      pickle.put(0),
    ]);
    const storage = Buffer.concat([
      ...[pickle.mark, pickle.text("storage"), pickle.global("torch", "FloatStorage"), pickle.text("0")],
      ...[pickle.text("cpu"), pickle.int(1), pickle.tuple, pickle.persistentId, pickle.put(1)],
    ]);
    const tensor = Buffer.concat([
      ...[pickle.global("torch._utils", "_rebuild_tensor_v2"), pickle.mark, pickle.get(1), pickle.int(0)],
      ...[pickle.get(0), pickle.get(0), pickle.tuple, pickle.reduce],
    ]);
    const many = () =>
      read(shape, storage, pickle.mark, ...Array<Buffer>(5000).fill(tensor), pickle.tuple, pickle.stop);
    expect(thrown(many)).toMatchObject({ code: "FILE_FORMAT", message: expect.stringContaining("steps") });
  });
});

test("a pickle's name is shown in part, however long it is", () => {
  const { message } = thrown(() => read(pickle.global("x".repeat(5000), "y"), pickle.stop)) as Error;
  expect(message.length).toBeLessThan(300);
});

test("safetensors hold at most 200,000 tensors", () => {
  const path = join(folder, "many.safetensors");
  const open = (count: number) => {
    const entries = Array.from(
      { length: count },
      (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`,
    );
    const header = Buffer.from(`{"__metadata__":{},${entries.join()}}`);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path, Buffer.concat([length, header]));
    const file = openSafetensors(path);
    file.close();
    return file.tensors.size;
  };
  expect(open(200_000)).toBe(200_000);
  expect(thrown(() => open(200_002))).toMatchObject({
    code: "FILE_FORMAT",
    message: expect.stringContaining("200001 keys"),
  });
});

test("JSON holds at most four million values, however they are nested", () => {
  expect(() => parseJson(`[${"0,".repeat(4_000_000)}0]`, "python")).toThrow("values");
  expect(() => parseJson(`[${"[],".repeat(2_100_000)}[0]]`, "python", 10)).not.toThrow();
});

test("lists in a GGUF header are bounded together", () => {
  const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const u64 = (value: number) => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
  const text = (value: string) => Buffer.concat([u64(value.length), Buffer.from(value)]);
  const list = (name: string, length: number) =>
    Buffer.concat([text(name), u32(9), u32(0), u64(length), Buffer.alloc(length)]);
  const file = (...lists: Buffer[]) =>
    Buffer.concat([Buffer.from("GGUF"), u32(3), u64(0), u64(lists.length), ...lists]);
  expect(readGgufHeader(file(list("a", 1000)), "x.gguf").values.size).toBe(1);
  const two = file(list("a", 1_500_000), list("b", 1_500_000));
  expect(thrown(() => readGgufHeader(two, "x.gguf"))).toMatchObject({ code: "FILE_FORMAT" });
});

test("no config has more than 64 layers in a block", () => {
  const of = (parse: () => unknown) => thrown(parse);
  const refused = { code: "MODEL_KIND", message: expect.stringContaining("64") };
  for (const layers of [
    { layers_per_block: 20_000 },
    { layers_per_block: [2, 2, 2, 65] },
    { transformer_layers_per_block: 65 },
  ])
    expect(
      of(() => parseUNetConfig(layers, "config.json")),
      JSON.stringify(layers),
    ).toMatchObject(refused);
  expect(
    of(() => parseVaeConfig({ layers_per_block: 20_000 }, "AutoencoderKL", "config.json")),
  ).toMatchObject(refused);
  expect(of(() => parseTextEncoderConfig({ num_hidden_layers: 20_000 }, "config.json"))).toMatchObject(
    refused,
  );
  const names = Array.from({ length: 20_000 }, (_, i) => `body.${i}.rdb1.conv1.weight`);
  const all = [...names, "conv_first.weight", "conv_last.weight"];
  const tensors = new Map(all.map((name) => [name, { shape: [3, 3, 3, 3] }]));
  expect(of(() => upscalerConfig(tensors, "x.pth"))).toMatchObject({
    code: "UNSUPPORTED",
    message: expect.stringContaining("256"),
  });
});
