import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { machineKey } from "./machine.js";
import { loadNative, type Native } from "./native.js";
import { nodesThatRun } from "./probe.js";

const root = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
// Whoever watches the tests hears of them between two.
afterEach(() => new Promise<void>((resolve) => setImmediate(resolve)));

const native = loadNative();
const all = { layerNorm: true, swish: true, linearGelu: true, functions: true };
const none = { layerNorm: false, swish: false, linearGelu: false, functions: false };
/** A library that runs nothing. */
const broken: Native = {
  ...{ tf: undefined as never, binding: {} as never },
  ...{ tensors: native.tensors, protobuf: native.protobuf, version: native.version },
};

test("that all nodes run is kept, for the program, library and environment that it was found with", (context) => {
  context.skip(machineKey() === undefined, "another library than set-up's: nothing is kept");
  expect(nodesThatRun(broken, root, "program")).toEqual(none); // a failure is not kept
  expect(nodesThatRun(native, root, "program")).toEqual(all);
  expect(nodesThatRun(broken, root, "program")).toEqual(all);
  expect(nodesThatRun(broken, root, "another")).toEqual(none);
  expect(nodesThatRun({ ...broken, version: "2.99.0" }, root, "program")).toEqual(none);
  process.env.ONEDNN_MAX_CPU_ISA = "SSE41";
  try {
    expect(nodesThatRun(broken, root, "program")).toEqual(none);
  } finally {
    delete process.env.ONEDNN_MAX_CPU_ISA;
  }
  expect(readdirSync(join(root, "compiled"))).toEqual([machineKey()]);
});

test("without a cache each node is tried", () => {
  expect(nodesThatRun(native)).toEqual(all);
  expect(nodesThatRun(broken)).toEqual(none);
});
