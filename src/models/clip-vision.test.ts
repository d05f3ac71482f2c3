import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { clipPixels } from "../image/clip-pixels.js";
import { readImage } from "../image/read.js";
import type { Values } from "../latents/latents.js";
import { readImageEncoder } from "../runtime/networks/ip-adapter.js";
import { referenceTo, runnerOf } from "../runtime/networks/network-runner.js";
import type { RuntimeName } from "../runtime/runner.js";
import { goldenExtra, readTensors, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { openComponentFolder } from "../weights/folder.js";
import { parseImageEncoderConfig } from "./clip-config.js";

const tensors = readTensors(goldenExtra("ip-adapter/ip-adapter.safetensors"));
const values = (key: string): Values => toNhwc(tensors.get(key)!);
const folder = goldenExtra("ip-adapter/image_encoder");

interface Case {
  readonly picture: string;
  readonly pixels: string;
  readonly embedding: string;
  readonly penultimate: string;
}
const cases = JSON.parse(readFileSync(goldenExtra("ip-adapter/cases.json"), "utf8")).encoder as Case[];

describe("CLIP's pictures", () => {
  it.each(cases.map((c) => [c.picture, c] as const))("%s: pixels as transformers'", async (picture, c) => {
    const pixels = clipPixels(await readImage(goldenExtra(`ip-adapter/${picture}`)), 30);
    const want = values(c.pixels);
    expect(pixels.shape).toEqual(want.shape);
    expect(pixels.data).toBeCloseTo32(want.data, { abs: 1e-6 });
  });

  it("of a line are its middle, without the room that all of it would take", () => {
    const line = { width: 1, height: 60_001, data: new Uint8Array(3 * 60_001).fill(255) };
    line.data.fill(0, 0, 3 * 29_990);
    line.data.fill(0, 3 * 30_011);
    const { shape, data } = clipPixels(line, 30);
    expect(shape).toEqual([1, 30, 30, 3]);
    expect(Math.min(...data)).toBeGreaterThan(1.9);
  });
});

describe.each<RuntimeName>(["eager", "graph"])("CLIP's image encoder, %s", (runtime) => {
  const { engine, options } = inProcess(runtime);

  it.each(cases.map((c) => [c.picture, c] as const))("%s: embedding and tokens", async (_, c) => {
    const encoder = readImageEncoder(openComponentFolder(folder));
    const { config } = encoder;
    const run = runnerOf(referenceTo(encoder), "image_encoder", engine, options);
    const got = await run({ kind: "image_encoder", config, size: { batch: 1 } }, { image: values(c.pixels) });
    const tolerance = { abs: 2e-5, rel: 1e-4 };
    expect(got.projected!.data).toBeCloseTo32(values(c.embedding).data, tolerance);
    expect(got.penultimate!.data).toBeCloseTo32(values(c.penultimate).data, tolerance);
  });

  it("takes several pictures at once", async () => {
    const encoder = readImageEncoder(openComponentFolder(folder));
    const { config } = encoder;
    const run = runnerOf(referenceTo(encoder), "image_encoder", engine, options);
    const both = cases.map(({ pixels }) => values(pixels).data);
    const image = { shape: [2, 30, 30, 3], data: Float32Array.from(both.flatMap((data) => [...data])) };
    const { projected } = await run({ kind: "image_encoder", config, size: { batch: 2 } }, { image });
    const want = cases.flatMap(({ embedding }) => [...values(embedding).data]);
    expect(projected!.data).toBeCloseTo32(want, { abs: 2e-5, rel: 1e-4 });
  });
});

it("refuses configs that contradict themselves", () => {
  expect(() => parseImageEncoderConfig({ hidden_size: 10, num_attention_heads: 3 }, "f")).toThrow(
    /hidden_size 10/,
  );
  expect(() => parseImageEncoderConfig({ image_size: 4, patch_size: 8 }, "f")).toThrow(/patch_size 8/);
});
