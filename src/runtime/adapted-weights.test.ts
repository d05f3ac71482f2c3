import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { matchLora } from "../adapters/lora.js";
import { adaptWeight, type Contributions, lowRankChange, planMerge } from "../adapters/lora-merge.js";
import type { Node } from "../ops/graph-def.js";
import type { WeightView } from "../ops/layout.js";
import { NodeWriter } from "../ops/node-writer.js";
import { pseudoRandom } from "../testing/tiny.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { toFloat32 } from "../weights/formats/dtypes.js";
import { float32ToBfloat16, float32ToFloat16 } from "../weights/formats/float16.js";
import { takeAdapted } from "./adapted-weights.js";
import { convertedWeights, storedTypes } from "./graph-weights.js";
import { loadNative } from "./native.js";
import type { Precision } from "./runner.js";
import { openSession } from "./session.js";

const native = loadNative();
const cacheRoot = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(cacheRoot, { recursive: true, force: true }));

type Tensors = Readonly<Record<string, readonly number[]>>;
const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const rounded = {
  F32: (values: Float32Array) => values,
  F16: (values: Float32Array) => float32ToFloat16(values),
  BF16: (values: Float32Array) => float32ToBfloat16(values),
};
type Stored = keyof typeof rounded;

const shapes: Tensors = {
  "to_q.weight": [12, 20],
  "proj.weight": [16, 6],
  "conv.weight": [6, 8, 3, 3],
  "odd.weight": [7, 4],
};
const views: [name: string, view: WeightView][] = [
  ["to_q.weight", { layout: "matrix" }],
  ["odd.weight", { layout: "matrix" }],
  ["proj.weight", { layout: "matrix", columns: [0, 8] }],
  ["proj.weight", { layout: "matrix", columns: [8, 16] }],
  ["to_q.weight", { layout: "rows" }],
  ["proj.weight", { layout: "rows", columns: [8, 16] }],
  ["conv.weight", { layout: "kernel" }],
  ["conv.weight", { layout: "winograd" }],
  ["conv.weight", { layout: "upsampled" }],
  ["conv.weight", { layout: "upsampled-winograd" }],
  ["conv.weight", { layout: "turned" }],
];

/** Values like weights', some of them too small for normal numbers in float16. */
const storedOf = (name: string, dtype: Stored): Uint8Array<ArrayBuffer> => {
  const values = pseudoRandom(size(shapes[name]!), name.length).map((x, i) => (i % 7 ? x / 10 : x * 1e-5));
  const { buffer, byteOffset, byteLength } = rounded[dtype](values);
  return Uint8Array.from(new Uint8Array(buffer, byteOffset, byteLength));
};
const weightOf = (name: string, dtype: Stored): Float32Array => toFloat32(storedOf(name, dtype), dtype, name);

/** LoRAs in kohya's layout over all tensors. */
function loras(extra: Tensors = {}): Map<string, Contributions> {
  const model = { unet: new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }])) };
  const uses = [3, 5].map((rank, i) => {
    const tensors = new Map<string, { shape: readonly number[]; data: Float32Array; dtype: string }>();
    const add = (key: string, shape: readonly number[], seed: number) =>
      tensors.set(key, { dtype: "F32", shape, data: pseudoRandom(size(shape), seed).map((x) => x / 10) });
    for (const [name, [out = 0, ...inner]] of Object.entries(shapes)) {
      const key = `lora_unet_${name.replace(".weight", "")}`;
      add(`${key}.lora_down.weight`, [rank, ...inner], rank + 10);
      add(`${key}.lora_up.weight`, [out, rank, ...inner.slice(1).map(() => 1)], rank + 20);
      tensors.set(`${key}.alpha`, { dtype: "F32", shape: [], data: Float32Array.of(2) });
    }
    if (i === 0) for (const [key, shape] of Object.entries(extra)) add(key, shape, 30);
    const file = { path: "", tensors, readFloat32: (key: string) => tensors.get(key)!.data };
    return { lora: matchLora(file, model), scale: i === 0 ? 0.7 : -0.4 };
  });
  return planMerge(uses).get("unet")!;
}

const given = views.map(([name, view]) => ({ name, view }));

/** A checkpoint of the weights, with `changed` over them, and what is read of it in full. */
function open(dtype: Stored, changed?: Checkpoint["changed"], plan = loras()) {
  const read: string[] = [];
  const checkpoint: Checkpoint = {
    path: "",
    id: `base ${dtype}`,
    tensors: new Map(Object.entries(shapes).map(([name, shape]) => [name, { dtype, shape }])),
    ...(changed && { changed }),
    read: (name) => storedOf(name, dtype),
    readFloat32(name) {
      read.push(name);
      return changed ? adaptWeight(weightOf(name, dtype), plan.get(name)!) : weightOf(name, dtype);
    },
    close: () => undefined,
  };
  return { checkpoint, read };
}

/** Converts all weights, as loading the model without adapters does. */
function convert(dtype: Stored, precision: Precision): void {
  const file = convertedWeights(open(dtype).checkpoint, { precision, cacheRoot, label: "test" });
  for (const [name, view] of views) file({ name, view });
}

/** All tensors that a graph is given, as float32, and the weights that were read in full for them. */
function adapt(dtype: Stored, precision: Precision, changed?: Checkpoint["changed"]) {
  const { checkpoint, read } = open(dtype, changed);
  const { ids, release } = takeAdapted(native, checkpoint, { precision, cacheRoot, label: "test" }, given);
  try {
    return { tensors: ids.map((id) => asFloat32(id, precision)), read };
  } finally {
    release();
  }
}

function asFloat32(id: number, precision: Precision): Float32Array {
  const w = new NodeWriter();
  const x: Node = { name: "x", shape: [-1], type: storedTypes[precision] };
  const y = w.elementwise("AddV2", [w.cast(x, "DT_FLOAT"), w.scalar(0)], [-1]);
  const body = { arguments: [x], nodes: w.nodes, results: [["y", y]] } as const;
  const session = openSession(native, body);
  const [result] = session.run([id]) as [number];
  const values = Float32Array.from(native.binding.tensorDataSync(result));
  native.binding.deleteTensor(result);
  session.close();
  return values;
}

const names = new Set(Object.keys(shapes));

describe("merged into converted weights", () => {
  test.each<[Stored, Precision, number]>([
    ["F32", "fp32", 1e-6],
    ["F16", "fp32", 1e-6],
    ["F16", "fp16", 2 ** -10],
    ["BF16", "bf16", 2 ** -7],
  ])("%s in %s equals merging before converting", (dtype, precision, rel) => {
    const plan = loras();
    const lowRank = (name: string) => lowRankChange(plan.get(name)!);
    const tolerance = { abs: 1e-6, rel };
    const id = `${dtype} ${precision}`;
    convert(dtype, precision);
    const base = adapt(dtype, precision).tensors;
    const slow = adapt(dtype, precision, { id: `${id} slow`, names });
    const fast = adapt(dtype, precision, { id: `${id} fast`, names, lowRank });
    fast.tensors.forEach((got, i) => {
      expect(got).toBeCloseTo32(slow.tensors[i]!, tolerance);
      expect(got.some((value, j) => Math.abs(value - base[i]![j]!) > 1e-3)).toBe(true);
    });
    expect(slow.read).toHaveLength(views.length);
    // From the checkpoint: what is no product in this view; in half precision Winograd's forms, too, which have been rounded.
    const once = ["conv.weight", "conv.weight"];
    expect(fast.read).toEqual(precision === "fp32" ? once : [...once, ...once]);
  });

  test("where digits are lost, or nothing is converted yet, the checkpoint is read", () => {
    const plan = loras();
    const lowRank = (name: string) => lowRankChange(plan.get(name)!);
    convert("F32", "fp16");
    expect(adapt("F32", "fp16", { id: "rounded", names, lowRank }).read).toHaveLength(views.length);
    expect(adapt("BF16", "fp32", { id: "first", names, lowRank }).read).toHaveLength(views.length);
  });

  test("those of one network are there once, until the last user is gone", () => {
    const take = (id: string) => {
      const { checkpoint, read } = open("F32", { id, names });
      const options = { precision: "fp32", cacheRoot, label: "test" } as const;
      return { ...takeAdapted(native, checkpoint, options, given), read };
    };
    const first = take("shared");
    const second = take("shared");
    expect(second.ids).toEqual(first.ids);
    expect(second.read).toEqual([]);
    expect(take("others").ids).not.toEqual(first.ids);
    first.release();
    expect(asFloat32(second.ids[0]!, "fp32")).toHaveLength(240);
    second.release();
    expect(() => native.binding.deleteTensor(second.ids[0]!)).toThrow();
  });

  test("DoRA is no product", () => {
    const plan = loras({ "lora_unet_to_q.dora_scale": [12, 1] });
    expect(lowRankChange(plan.get("to_q.weight")!)).toBeUndefined();
    expect(lowRankChange(plan.get("proj.weight")!)).toBeDefined();
  });
});
