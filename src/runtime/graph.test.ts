import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { buildNetwork, type NetworkOf } from "../models/registry.js";
import { pseudoRandomInputs, tinyUNet } from "../testing/tiny.js";
import { eagerRunner } from "./eager.js";
import { type GraphRunnerOptions, graphRunner } from "./graph.js";
import { loadNative } from "./native.js";
import { probe } from "./probe.js";

const native = loadNative();
const cacheRoot = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(cacheRoot, { recursive: true, force: true }));

const options: GraphRunnerOptions = {
  precision: "fp32",
  cacheRoot,
  label: "tiny",
  capabilities: probe(native),
};

type UNet = NetworkOf<"unet">;

function run(
  network: UNet,
  open: ReturnType<typeof tinyUNet>["open"],
  changed: Partial<GraphRunnerOptions> = {},
) {
  const runner = graphRunner(native, network, open(), { ...options, ...changed });
  const { sample } = runner.run(pseudoRandomInputs(network));
  runner.dispose();
  return sample;
}

const psnr = (got: Float32Array, want: Float32Array): number => {
  const peak = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = want.reduce((sum, value, i) => sum + (value - got[i]!) ** 2, 0) / want.length;
  return 10 * Math.log10(peak ** 2 / error);
};

describe("a UNet as a graph", () => {
  test.each([
    ["tiny-sd1", { batch: 1, height: 8, width: 8, tokens: 77 }],
    ["tiny-sd2", { batch: 2, height: 7, width: 12, tokens: 77 }],
  ])("%s gives the numbers of the eager runtime and leaves no tensor behind", (model, size) => {
    const { spec, open } = tinyUNet(model, size);
    const network = buildNetwork(spec);
    const before = native.tf.memory().numTensors;
    const eager = eagerRunner(native.tf, network, open(), "fp32");
    const want = eager.run(pseudoRandomInputs(network)).sample;
    eager.dispose();
    const got = run(network, open);
    expect(got.shape).toEqual(want.shape);
    expect(got.data).toBeCloseTo32(want.data, { abs: 1e-5, rel: 1e-5 });
    expect(native.tf.memory().numTensors).toBe(before);
  });

  test("fused nodes and their plain forms agree", () => {
    const { spec, open } = tinyUNet();
    const network = buildNetwork(spec);
    const plain = {
      ...options.capabilities,
      fused: { layerNorm: false, swish: false, linearGelu: false, functions: false },
    };
    const got = run(network, open, { capabilities: plain });
    expect(got.data).toBeCloseTo32(run(network, open).data, { abs: 1e-5, rel: 1e-5 });
  });

  test("with Conv2D, and without it where it is slow", () => {
    const { spec, open } = tinyUNet();
    const network = buildNetwork(spec);
    const by = (directConvolution: boolean) =>
      run(network, open, { capabilities: { ...options.capabilities, directConvolution } });
    expect(by(false).data).toBeCloseTo32(by(true).data, { abs: 1e-5, rel: 1e-5 });
  });

  test("fp16 stays close to fp32", () => {
    const { spec, open } = tinyUNet();
    const network = buildNetwork(spec);
    const want = run(network, open).data;
    expect(psnr(run(network, open, { precision: "fp16" }).data, want)).toBeGreaterThan(60);
  });

  test("a damaged weight file in the cache is made again", () => {
    const { spec, open } = tinyUNet();
    const network = buildNetwork(spec);
    const want = run(network, open).data;
    const files = (readdirSync(cacheRoot, { recursive: true }) as string[]).filter((name) =>
      /conv_in\.weight.*\.bin$/.test(name),
    );
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) writeFileSync(join(cacheRoot, file), "damaged");
    expect(run(network, open).data).toEqual(want);
  });
});
