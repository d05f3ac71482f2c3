import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Values } from "../latents/latents.js";
import { quantise } from "../latents/quantise.js";
import { readVae } from "../runtime/model.js";
import { type PlainVae, plainVae } from "../runtime/networks/autoencoder.js";
import { referenceTo } from "../runtime/networks/network-runner.js";
import type { Run, RuntimeName } from "../runtime/runner.js";
import { type GoldenCase, goldenCases, goldenPath, goldenTensor, toNhwc } from "../testing/golden.js";
import { inProcess } from "../testing/in-process.js";
import { openComponentFolder } from "../weights/folder.js";
import { codebookWeight } from "./vq.js";

const tolerance = { abs: 2e-5, rel: 1e-4 };
const runtimes = { eager: inProcess("eager"), graph: inProcess("graph") };
const values = (reference: { file: string; key: string }): Values => toNhwc(goldenTensor(reference));

const networkOf = ({ config }: GoldenCase) =>
  openComponentFolder(goldenPath(join(config.model, config.component)));

function codebookOf(golden: GoldenCase): Float32Array {
  const checkpoint = networkOf(golden).open();
  const codebook = checkpoint.readFloat32(codebookWeight);
  checkpoint.close();
  return codebook;
}

function vaeOf(golden: GoldenCase, runtime: RuntimeName): PlainVae {
  const network = networkOf(golden);
  const { engine, options } = runtimes[runtime];
  const weights = referenceTo(network);
  const run: Run = (spec, inputs) => engine.runner({ ...options, spec, weights }).run(inputs);
  return plainVae(readVae(network), run, () => codebookOf(golden));
}

/** Every case op by op; batch 2, not square, as a graph, too. */
const rows = (cases: readonly GoldenCase[], input: string) =>
  cases.flatMap((c) => {
    const names: RuntimeName[] = c.inputs[input].shape[0] === 2 ? ["eager", "graph"] : ["eager"];
    return names.map((runtime) => [c.id, runtime, c] as const);
  });

describe("encoder", () => {
  it.each(rows(goldenCases("vae-encode"), "sample"))("%s, %s", async (_, runtime, golden) => {
    const { inputs, expected } = golden;
    const { mean, logvar } = await vaeOf(golden, runtime).encode(values(inputs.sample));
    const want = values(expected.mean ?? expected.latents);
    expect(mean.shape).toEqual(want.shape);
    expect(mean.data).toBeCloseTo32(want.data, tolerance);
    if (!expected.logvar) {
      expect(logvar.data.every((value) => value === -Infinity)).toBe(true);
      return;
    }
    const clamped = logvar.data.map((value) => Math.min(20, Math.max(-30, value)));
    expect(clamped).toBeCloseTo32(values(expected.logvar).data, tolerance);
    const deviation = clamped.map((value) => Math.exp(0.5 * value));
    expect(deviation).toBeCloseTo32(values(expected.std).data, tolerance);
  });
});

describe("decoder", () => {
  it.each(rows(goldenCases("vae-decode"), "latents"))("%s, %s", async (_, runtime, golden) => {
    const image = await vaeOf(golden, runtime).decode(values(golden.inputs.latents));
    const want = values(golden.expected.sample);
    expect(image.shape).toEqual(want.shape);
    // Values reach 10 and come out of long sums; the reference itself is this far from float64.
    const own = golden.expected.reference_fp32_vs_fp64;
    expect(image.data).toBeCloseTo32(want.data, {
      abs: Math.max(tolerance.abs, 5 * own),
      rel: tolerance.rel,
    });
  });

  const quantised = goldenCases("vae-decode").filter((c) => c.expected.indices);
  it.each(quantised.map((c) => [c.id, c] as const))("%s: the nearest codes", (_, golden) => {
    const latents = values(golden.inputs.latents);
    const codebook = codebookOf(golden);
    const got = quantise(latents, codebook);
    expect(got.data).toBeCloseTo32(values(golden.expected.quantized).data, { abs: 1e-6 });
    const width = latents.shape[3]!;
    const indices = goldenTensor(golden.expected.indices).data;
    for (const [cell, index] of indices.entries())
      expect(got.data.subarray(cell * width, (cell + 1) * width)).toEqual(
        codebook.subarray(index * width, (index + 1) * width),
      );
  });
});
