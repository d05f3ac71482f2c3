import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { readImage } from "../image/read.js";
import type { Values } from "../latents/latents.js";
import { createUpscaler, readUpscaler } from "../runtime/networks/upscaler.js";
import type { RuntimeName } from "../runtime/runner.js";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { pseudoRandom } from "../testing/tiny.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { openSafetensors, writeSafetensors } from "../weights/formats/safetensors.js";
import { upscalerMapping } from "../weights/original/upscaler.js";

/** ESRGAN in its layouts and SRVGGNetCompact, against spandrel. */
const folder = goldenExtra("upscalers");
const tensors = readTensors(join(folder, "upscalers.safetensors"));
const values = (key: string): Values => toNhwc(tensors.get(key)!);
const scratch = mkdtempSync(join(tmpdir(), "upscalers-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const files = [
  ["esrgan-first.safetensors", "esrgan-first", 4],
  ["real-esrgan.pth", "real-esrgan", 4],
  ["real-esrgan-x2.safetensors", "real-esrgan-x2", 2],
  ["esrgan-plus-x2.safetensors", "esrgan-plus-x2", 2],
  ["compact-x2.pth", "compact-x2", 2],
] as const;

/** The weights of an ESRGAN x4 but for its second enlargement, which may be those of an x2 or an x3. */
function oneEnlargement(name: string): string {
  const source = openCheckpoint(join(folder, "real-esrgan.pth"), upscalerMapping);
  const entries = [...source.tensors].flatMap(([tensor, { dtype, shape }]) =>
    tensor.startsWith("conv_up2.") ? [] : [[tensor, { dtype, shape, data: source.read(tensor) }] as const],
  );
  source.close();
  const path = join(scratch, name);
  writeSafetensors(path, new Map(entries));
  return path;
}

describe.each<RuntimeName>(["eager", "graph"])("upscalers, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it.each(files)("%s gives spandrel's numbers", async (file, name, scale) => {
    const upscaler = createUpscaler(readUpscaler(join(folder, file)), engine, options);
    expect(upscaler.config.scale).toBe(scale);
    const want = values(`${name}.output`);
    const got = await upscaler.run(values(`${name}.image`));
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 2e-5, rel: 1e-4 });
  });

  it("an ESRGAN x3 gives its numbers, too", async () => {
    const file = oneEnlargement(`3x-${runtime}.safetensors`);
    const upscaler = createUpscaler(readUpscaler(file), engine, options);
    const want = values("x3.output");
    const got = await upscaler.run(values("x3.image"));
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 2e-5, rel: 1e-4 });
  });
});

/** The file of Real-ESRGAN's names with others. */
function renamedCopy(rename: (name: string) => string | undefined): string {
  const source = openSafetensors(join(folder, "real-esrgan-x2.safetensors"));
  const path = join(scratch, `${Math.random()}.safetensors`);
  const entries = [...source.tensors].flatMap(([name, { dtype, shape }]) => {
    const other = rename(name);
    return other ? [[other, { dtype, shape, data: source.read(name) }] as const] : [];
  });
  writeSafetensors(path, new Map(entries));
  source.close();
  return path;
}

describe("files", () => {
  it("of ESRGAN's later release are read as the same network", () => {
    const names: [RegExp, string][] = [
      [/^body\./, "RRDB_trunk."],
      [/\.rdb/, ".RDB"],
      [/^conv_body/, "trunk_conv"],
      [/^conv_up/, "upconv"],
      [/^conv_hr/, "HRconv"],
    ];
    const later = renamedCopy((name) => names.reduce((now, [from, to]) => now.replace(from, to), name));
    expect(readUpscaler(later).config).toEqual(
      readUpscaler(join(folder, "real-esrgan-x2.safetensors")).config,
    );
  });

  it("of one enlargement are of scale 3 where their name says so, else 2", () => {
    for (const [name, scale] of [
      ["3x_Name.safetensors", 3],
      ["RealESRGAN_x3plus.safetensors", 3],
      ["name-x3.safetensors", 3],
      ["2x_Name.safetensors", 2],
      ["13x.safetensors", 2],
      ["x32.safetensors", 2],
    ] as const)
      expect([name, readUpscaler(oneEnlargement(name)).config.scale]).toEqual([name, scale]);
  });

  it("that lack a tensor, hold another, or are no upscaler are refused by name", () => {
    const without = renamedCopy((name) => (name === "body.0.rdb2.conv3.bias" ? undefined : name));
    expect(() => readUpscaler(without)).toThrow(/lacks body\.0\.rdb2\.conv3\.bias/);
    const more = renamedCopy((name) => (name === "conv_hr.bias" ? "conv_xr.bias" : name));
    expect(() => readUpscaler(more)).toThrow(/lacks conv_hr\.bias/);
    const other = renamedCopy((name) => `encoder.${name}`);
    expect(() => readUpscaler(other)).toThrow(/no upscaler that is known/);
    const last = renamedCopy((name) => (name.startsWith("conv_last") ? undefined : name));
    expect(() => readUpscaler(last)).toThrow(/lacks conv_last\.weight/);
  });
});

describe("tiles", () => {
  const { engine, options } = inProcess("graph");

  it("give the picture of one piece: no cell counts that an edge has a say in", async () => {
    const file = readUpscaler(join(folder, "compact-x2.pth"));
    const shape = [1, 70, 91, 3];
    const data = pseudoRandom(70 * 91 * 3);
    const whole = await createUpscaler(file, engine, options).run({ shape, data });
    const done: [number, number][] = [];
    const tiled = await createUpscaler(file, engine, options, 40).run(
      { shape, data },
      { onTile: (...progress) => done.push(progress) },
    );
    expect(done.length).toBeGreaterThan(4);
    expect(done.at(-1)).toEqual([done.length, done.length]);
    expect(tiled.shape).toEqual(whole.shape);
    expect(tiled.data).toBeCloseTo32(whole.data, { abs: 1e-5, rel: 1e-5 });
  });

  it("stop when they are told to", async () => {
    const upscaler = createUpscaler(readUpscaler(join(folder, "compact-x2.pth")), engine, options, 40);
    const stop = new AbortController();
    const image = { shape: [1, 60, 60, 3], data: new Float32Array(60 * 60 * 3) };
    const running = upscaler.run(image, { signal: stop.signal, onTile: () => stop.abort() });
    await expect(running).rejects.toThrow(/abort/i);
  });
});

describe.each<RuntimeName>(["eager", "graph"])("emoji-x4-compact, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it("gives PyTorch's numbers", async () => {
    const file = new URL("../../weights/emoji-x4-compact/emoji-x4-compact.safetensors", import.meta.url);
    const upscaler = createUpscaler(readUpscaler(fileURLToPath(file)), engine, options);
    const { width, height, data } = await readImage(join(folder, "wide-48x40.png"));
    const image = { shape: [1, height, width, 3], data: Float32Array.from(data, (level) => level / 255) };
    const want = toNhwc(readTensors(join(folder, "wide-48x40-x4.safetensors")).get("output")!);
    const got = await upscaler.run(image);
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 1e-4, rel: 0 });
  });
});
