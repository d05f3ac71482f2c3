import { copyFileSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { goldenPath, readTensors } from "../testing/golden.js";
import { type Checkpoint, type Mapping, openCheckpoint, openShards } from "./checkpoint.js";
import { type TensorToWrite, writeSafetensors } from "./formats/safetensors.js";

const folder = mkdtempSync(join(tmpdir(), "checkpoint-"));
afterAll(() => rmSync(folder, { recursive: true }));

const float32 = (shape: number[], start = 0): TensorToWrite => ({
  dtype: "F32",
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => start + i),
});
const written = (name: string, tensors: Record<string, TensorToWrite>): string => {
  const path = join(folder, name);
  writeSafetensors(path, new Map(Object.entries(tensors)));
  return path;
};
const using = <T>(checkpoint: Checkpoint, run: (checkpoint: Checkpoint) => T): T => {
  try {
    return run(checkpoint);
  } finally {
    checkpoint.close();
  }
};
const valuesOf = (checkpoint: Checkpoint) =>
  using(
    checkpoint,
    (c) => new Map([...c.tensors].map(([name, { shape }]) => [name, { shape, data: c.readFloat32(name) }])),
  );

test("three shards hold what the one file holds", () => {
  const shards = valuesOf(
    openShards(
      goldenPath("models/tiny-sd1-sharded-unet/unet/diffusion_pytorch_model.safetensors.index.json"),
    ),
  );
  const whole = valuesOf(
    openCheckpoint(goldenPath("models/tiny-sd1/unet/diffusion_pytorch_model.safetensors")),
  );
  expect([...shards.keys()].sort()).toEqual([...whole.keys()].sort());
  for (const [name, { data }] of whole) expect(shards.get(name)!.data).toBeCloseTo32(data, {});
});

describe("today's names", () => {
  test("of a CLIP text encoder with and without the prefix, buffers dropped", () => {
    const old = openCheckpoint(goldenPath("models/tiny-sd1/text_encoder/model.safetensors"));
    const bare = openCheckpoint(goldenPath("models/tiny-ip2p/text_encoder/model.safetensors"));
    expect([...bare.tensors.keys()].sort()).toEqual([...old.tensors.keys()].sort());
    expect(old.tensors.has("text_model.embeddings.position_ids")).toBe(false);
    expect(old.tensors.has("text_model.final_layer_norm.weight")).toBe(true);
    old.close();
    bare.close();
    const projected = openCheckpoint(goldenPath("models/tiny-sdxl/text_encoder_2/model.safetensors"));
    expect(projected.tensors.get("text_projection.weight")?.shape).toEqual([24, 40]);
    projected.close();
  });

  test("of attention layers stored under the deprecated ones", () => {
    const path = goldenPath("models/tiny-ddpm-google/unet/diffusion_pytorch_model.safetensors");
    const stored = readTensors(path);
    const got = valuesOf(openCheckpoint(path));
    const today = openCheckpoint(goldenPath("models/tiny-ddpm/unet/diffusion_pytorch_model.safetensors"));
    expect([...got.keys()].sort()).toEqual([...today.tensors.keys()].sort());
    today.close();
    for (const [old, now] of [
      ["query", "to_q"],
      ["key", "to_k"],
      ["value", "to_v"],
      ["proj_attn", "to_out.0"],
    ] as const)
      expect(got.get(`mid_block.attentions.0.${now}.weight`)).toEqual(
        stored.get(`mid_block.attentions.0.${old}.weight`),
      );
  });

  test("of a VAE that stores them as 1x1 convolutions", () => {
    const at = "decoder.mid_block.attentions.0";
    const path = written("conv.safetensors", {
      [`${at}.query.weight`]: float32([2, 3, 1, 1]),
      [`${at}.query.bias`]: float32([2]),
    });
    const got = valuesOf(openCheckpoint(path));
    expect(got.get(`${at}.to_q.weight`)).toEqual({ shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) });
    expect([...got.keys()].sort()).toEqual([`${at}.to_q.bias`, `${at}.to_q.weight`]);
  });
});

test("a mapping picks rows, transposes and drops axes", () => {
  const path = written("mapped.safetensors", { fused: float32([6, 2]), square: float32([2, 3, 1, 1]) });
  const mapping: Mapping = () =>
    new Map([
      ["middle", { from: "fused", rows: [2, 4] }],
      ["turned", { from: "fused", transposed: true }],
      ["matrix", { from: "square", shape: [2, 3] }],
    ]);
  expect(valuesOf(openCheckpoint(path, mapping))).toEqual(
    new Map([
      ["middle", { shape: [2, 2], data: Float32Array.of(4, 5, 6, 7) }],
      ["turned", { shape: [2, 6], data: Float32Array.of(0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11) }],
      ["matrix", { shape: [2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) }],
    ]),
  );
});

test("a tensor that is not there is named, with the nearest", () => {
  using(openCheckpoint(written("one.safetensors", { "conv_in.weight": float32([2]) })), (c) => {
    expect(() => c.read("conv_im.weight")).toThrow(/lacks the tensor conv_im.weight/);
    expect(() => c.readFloat32("conv_im.weight")).toThrow(
      expect.objectContaining({ hint: "The nearest that it has is conv_in.weight." }),
    );
  });
});

test.runIf(process.platform === "linux")("a refused file is closed", () => {
  const path = join(folder, "integers.safetensors");
  const header = Buffer.from(JSON.stringify({ a: { dtype: "I64", shape: [1], data_offsets: [0, 8] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(path, Buffer.concat([length, header, Buffer.alloc(8)]));
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  for (let i = 0; i < 20; i++) expect(() => openCheckpoint(path)).toThrow("I64");
  expect(open()).toBeLessThan(before + 20);
});

test("the id follows place, time, header, values and mapping", () => {
  const idOf = (path: string, mapping?: Mapping) => using(openCheckpoint(path, mapping), ({ id }) => id);
  const time = new Date(1e12);
  const path = written("a.safetensors", { a: float32([100]) });
  utimesSync(path, time, time);
  const id = idOf(path);
  expect(idOf(path)).toBe(id);
  expect(idOf(path, () => new Map([["b", { from: "a" }]]))).not.toBe(id);
  copyFileSync(path, join(folder, "b.safetensors"));
  utimesSync(join(folder, "b.safetensors"), time, time);
  expect(idOf(join(folder, "b.safetensors"))).not.toBe(id);
  written("a.safetensors", { a: float32([100], 1) }); // same size, same header
  utimesSync(path, time, time);
  expect(idOf(path)).not.toBe(id);
});

describe("shard indices", () => {
  const open = (weightMap: string) => {
    writeFileSync(join(folder, "x.safetensors.index.json"), `{"weight_map": ${weightMap}}`);
    return openShards(join(folder, "x.safetensors.index.json"));
  };
  const isOpen = () => readdirSync("/proc/self/fd").length;

  test.each([
    ['{"a": "../a.safetensors"}', "same folder"],
    ['{"a": "/etc/passwd"}', "same folder"],
    ['{"a": "sub/a.safetensors"}', "same folder"],
    ['{"a": "..\\\\a.safetensors"}', "same folder"],
    ['{"a": 5}', "same folder"],
    ['{"__proto__": "x"}', '"__proto__" must be in'],
    ['["a"]', "expected a weight_map"],
    ['{"a": "none.safetensors"}', "there is no such file"],
    ['{"a": "shard.safetensors", "b": "shard.safetensors"}', "lacks b"],
    ['{"a": "shard.safetensors", "a": "shard.safetensors"}', "occurs twice"],
  ])("%s is refused", (weightMap, message) => {
    written("shard.safetensors", { a: float32([1]) });
    expect(() => open(weightMap)).toThrow(message);
  });

  test.runIf(process.platform === "linux")("a refused index leaves no file open", () => {
    written("shard.safetensors", { a: float32([1]) });
    const before = isOpen();
    expect(() => open('{"a": "shard.safetensors", "b": "none.safetensors"}')).toThrow();
    expect(isOpen()).toBe(before);
  });
});
