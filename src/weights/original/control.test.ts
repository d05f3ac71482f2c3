import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseT2iAdapterConfig } from "../../models/t2i-adapter-config.js";
import { readT2iAdapter } from "../../runtime/networks/adapter-networks.js";
import { goldenExtra } from "../../testing/golden.js";
import { tensorsOf } from "../../testing/original-layout.js";
import { thrown } from "../../testing/thrown.js";
import { openComponentFolder } from "../folder.js";
import { type TensorToWrite, writeSafetensors } from "../formats/safetensors.js";
import { openComponent } from "../model.js";

const folder = mkdtempSync(join(tmpdir(), "control-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;

type Tensors = ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>;
function write(tensors: Tensors): string {
  const path = join(folder, `${++files}.safetensors`);
  const made = [...tensors].map(([name, tensor]): [string, TensorToWrite] => [
    name,
    { dtype: "F32", ...tensor },
  ]);
  writeSafetensors(path, new Map(made));
  return path;
}
const open = (path: string) => openComponent(path, { pipeline: "StableDiffusionPipeline" }, {});
const adapter = (name: string) => openComponentFolder(goldenExtra(`t2i-adapter/${name}`));
const renamed = (tensors: Tensors, rename: (name: string) => string): Tensors =>
  new Map([...tensors].map(([name, tensor]) => [rename(name), tensor]));
const sorted = (tensors: Tensors): Tensors => new Map([...tensors].sort(([a], [b]) => (a < b ? -1 : 1)));

/** With two residual blocks a level, as the original code always has them. */
function doubled(tensors: Tensors): Tensors {
  const seconds = [...tensors].flatMap(([name, tensor]) =>
    name.includes(".resnets.0.") ? [[name.replace(".resnets.0.", ".resnets.1."), tensor] as const] : [],
  );
  return new Map([...tensors, ...seconds]);
}

test.each([
  ["full", 3 * 64],
  ["xl", 3 * 256],
])("a T2I-Adapter in the original layout, %s", (name, squares) => {
  const golden = doubled(tensorsOf(adapter(name).open()));
  // The picture's squares as large as they are for the real ones.
  const [out] = golden.get("adapter.conv_in.weight")!.shape;
  const conv = { shape: [out!, squares, 3, 3], data: new Float32Array(out! * squares * 9) };
  const want: Tensors = new Map([...golden, ["adapter.conv_in.weight", conv]]);
  const original = renamed(want, (key) =>
    key
      .replace(/^adapter\./, "")
      .replace(/^body\.(\d+)\.resnets\.(\d+)\./, (_, level, i) => `body.${2 * Number(level) + Number(i)}.`)
      .replace(/^body\.(\d+)\.in_conv\./, (_, level) => `body.${2 * Number(level)}.in_conv.`),
  );
  const component = open(write(original));
  expect(sorted(tensorsOf(component.open()))).toEqual(sorted(want));
  const config = { ...adapter(name).config, num_res_blocks: 2, downscale_factor: Math.sqrt(squares / 3) };
  expect(parseT2iAdapterConfig(component.config, "")).toEqual(parseT2iAdapterConfig(config, ""));
  expect(readT2iAdapter(component).config.kind).toBe("full");
});

test("the light T2I-Adapter in the original layout", () => {
  const golden = tensorsOf(adapter("light").open());
  const narrow = golden.get("adapter.body.0.in_conv.weight")!.shape[0]!;
  const first = { shape: [narrow, 64, 1, 1], data: new Float32Array(narrow * 64) };
  const want: Tensors = new Map([...golden, ["adapter.body.0.in_conv.weight", first]]);
  const original = renamed(want, (key) => key.replace(/^adapter\./, "").replace(".resnets.", ".body."));
  const component = open(write(original));
  expect(sorted(tensorsOf(component.open()))).toEqual(sorted(want));
  const config = { ...adapter("light").config, downscale_factor: 8 };
  expect(parseT2iAdapterConfig(component.config, "")).toEqual(parseT2iAdapterConfig(config, ""));
});

const one = { shape: [1], data: new Float32Array(1) };
test.each<[string, Record<string, { shape: number[]; data: Float32Array }>, string, RegExp]>([
  [
    "a T2I-Adapter of other squares",
    {
      "conv_in.weight": { shape: [1, 5], data: new Float32Array(5) },
      "body.0.block1.weight": one,
      "body.1.block1.weight": one,
    },
    "UNSUPPORTED",
    /T2I-Adapter of 2 blocks that takes 5 values/,
  ],
  [
    "a union ControlNet",
    { "controlnet_cond_embedding.conv_in.weight": one, task_embedding: one },
    "UNSUPPORTED",
    /is a union ControlNet \(ProMax\), which is not supported/,
  ],
  [
    "the encoder of TAESD",
    { "0.weight": one, "1.conv.0.weight": one },
    "UNSUPPORTED",
    /is the encoder of TAESD, which makes no pictures/,
  ],
  ["something else", { x: one }, "MODEL_KIND", /holds no VAE/],
])("%s is refused by name", (_, tensors, code, message) => {
  const error = thrown(() => open(write(new Map(Object.entries(tensors)))));
  expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
});
