import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { buildNetwork } from "../models/registry.js";
import { thrown } from "../testing/thrown.js";
import { pseudoRandomInputs, tinyUNet } from "../testing/tiny.js";
import { graphRunner } from "./graph.js";
import { loadNative } from "./native.js";
import { probe } from "./probe.js";

const native = loadNative();
const prefix = "tfjs-diffusion-test-";
const scratch = mkdtempSync(join(tmpdir(), prefix));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const nobody = 65534;

/** Runs `work` where neither the folder nor the system's temporary one can be written to. */
function readOnly<T>(folder: string, work: () => T): T {
  const isRoot = process.geteuid?.() === 0; // who may write everywhere
  const paths = [
    folder,
    ...(readdirSync(folder, { recursive: true }) as string[]).map((path) => join(folder, path)),
  ];
  for (const path of paths) chmodSync(path, statSync(path).isDirectory() ? 0o555 : 0o444);
  for (const above of [scratch, dirname(scratch)].filter((path) => basename(path).startsWith(prefix)))
    chmodSync(above, 0o755);
  const { TMPDIR } = process.env;
  process.env.TMPDIR = join(folder, "no-such-folder");
  if (isRoot) process.seteuid?.(nobody);
  try {
    return work();
  } finally {
    if (isRoot) process.seteuid?.(0);
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    for (const path of paths) chmodSync(path, statSync(path).isDirectory() ? 0o755 : 0o644);
  }
}

function run(cacheRoot: string, height = 8): Float32Array {
  const { spec, open } = tinyUNet("tiny-sd1", { batch: 1, height, width: 8, tokens: 77 });
  const network = buildNetwork(spec);
  const checkpoint = open();
  const options = {
    precision: "fp32",
    cacheRoot,
    label: "tiny",
    capabilities: probe(native, cacheRoot),
  } as const;
  const runner = graphRunner(native, network, checkpoint, options);
  checkpoint.close();
  try {
    return runner.run(pseudoRandomInputs(network)).sample.data;
  } finally {
    runner.dispose();
  }
}

test("a model that is ready runs from a cache that nobody may write to, and writes nowhere else", () => {
  const cacheRoot = mkdtempSync(join(scratch, "cache-"));
  const want = run(cacheRoot);
  expect(readOnly(cacheRoot, () => run(cacheRoot))).toEqual(want);
});

test("what is not ready names the folder, once, and how to choose another", () => {
  const cacheRoot = mkdtempSync(join(scratch, "cache-"));
  run(cacheRoot);
  const error = readOnly(cacheRoot, () => thrown(() => run(cacheRoot, 16)));
  expect(error).toMatchObject({
    code: "DISK",
    message: expect.stringContaining(`nothing can be added to the cache in ${cacheRoot}: `),
    hint: expect.stringMatching(
      /writable, or choose another: TFJS_DIFFUSION_CACHE=<folder>, or the option cacheDir/,
    ),
  });
  expect(error.message).toMatch(/permission denied$/);
});

test("a cache that vanished is made again; where that is impossible, the same error says so", () => {
  const cacheRoot = mkdtempSync(join(scratch, "cache-"));
  const want = run(cacheRoot);
  rmSync(cacheRoot, { recursive: true });
  expect(run(cacheRoot)).toEqual(want);
  const file = join(scratch, "file");
  writeFileSync(file, "");
  const inside = join(file, "cache");
  expect(thrown(() => run(inside))).toMatchObject({
    code: "DISK",
    message: expect.stringContaining(`nothing can be added to the cache in ${inside}: `),
  });
});
