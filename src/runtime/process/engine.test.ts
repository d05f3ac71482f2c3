import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { type Adapters, adaptedPlaces } from "../../adapters/adapted-checkpoint.js";
import { goldenPath } from "../../testing/golden.js";
import { pseudoRandom, tinyUNet } from "../../testing/tiny.js";
import { openFolder } from "../../weights/folder.js";
import type { RunnerRequest } from "../runner.js";
import { Engine } from "./engine.js";
import { unlessAborted } from "./given-up.js";

const cacheRoot = mkdtempSync(join(tmpdir(), "tfjs-diffusion-test-"));
const { spec } = tinyUNet();
const source = openFolder(goldenPath("models/tiny-sd1"));
const request: RunnerRequest<"unet"> = {
  spec,
  weights: {
    label: "tiny-sd1 unet",
    weights: source.unet.weights,
    adapted: { network: "unet", places: adaptedPlaces(source) },
  },
  runtime: "graph",
  precision: "fp32",
  cacheRoot,
};
const inputs = {
  sample: { shape: [1, 8, 8, 4], data: pseudoRandom(256) },
  time: { shape: [1, 16], data: pseudoRandom(16) },
  context: { shape: [1, 77, 32], data: pseudoRandom(77 * 32) },
};

let engine: Engine;
beforeAll(() => {
  engine = new Engine();
});
afterAll(async () => {
  await engine.dispose();
  rmSync(cacheRoot, { recursive: true, force: true });
});

test("converts with progress, runs, and gives the same numbers again", async () => {
  const progress: number[][] = [];
  const network = engine.runner(request);
  await network.load({ onProgress: (done, total) => progress.push([done, total]) });
  expect(progress.length).toBeGreaterThan(10);
  expect(progress.at(-1)![0]).toBe(progress.at(-1)![1]);
  const first = await network.run(inputs);
  expect(first.sample.shape).toEqual([1, 8, 8, 4]);
  expect(await network.run(inputs)).toEqual(first);
});

/** A golden LoRA, at a scale. */
const lora = (scale: number): Adapters => ({
  loras: [{ path: goldenPath("adapters/lora-peft.safetensors"), scales: { unet: scale, text: 0 } }],
  words: [],
});

test("adapters are exchanged, and callers beside each other get their own", async () => {
  const network = engine.runner(request);
  const alone = async (adapters?: Adapters) => {
    const fresh = engine.runner(request);
    const { sample } = await fresh.run(inputs, { ...(adapters && { adapters }) });
    await fresh.unload();
    return sample!.data;
  };
  const scales = [1, 0.3, 1];
  const want = [await alone(lora(1)), await alone(lora(0.3)), await alone(lora(1)), await alone()];
  const uses = [...scales.map((scale) => ({ adapters: lora(scale) })), {}];
  const got = await Promise.all(uses.map((use) => network.run(inputs, use)));
  expect(got.map(({ sample }) => sample!.data)).toEqual(want);
  expect(want[0]).not.toBeCloseTo32(want[1]!, { abs: 1e-4, rel: 1e-4 });
  expect(want[0]).not.toBeCloseTo32(want[3]!, { abs: 1e-4, rel: 1e-4 });
});

test("a LoRA that cannot be read is refused, and the network can be used again", async () => {
  const network = engine.runner(request);
  const { sample } = await network.run(inputs, { adapters: lora(1) });
  const broken: Adapters = {
    loras: [{ path: goldenPath("models/tiny-sd1/nothing.safetensors"), scales: { unet: 1, text: 0 } }],
    words: [],
  };
  await expect(network.run(inputs, { adapters: broken })).rejects.toMatchObject({ code: "FILE_MISSING" });
  expect(await network.run(inputs, { adapters: lora(1) })).toEqual({ sample });
});

test("the caller's event loop stays free while it computes", async () => {
  const network = engine.runner(request);
  let longest = 0;
  let before = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - before);
    before = performance.now();
  }, 1);
  for (let i = 0; i < 5; i++) await network.run(inputs);
  clearInterval(timer);
  // The loop turned at all times; how fast is measured in bench/, not here.
  expect(longest).toBeGreaterThan(0);
});

test("an error in the other process arrives with its code", async () => {
  const nowhere = { ...source.unet.weights, path: goldenPath("models/none") };
  const wrong = { ...request, weights: { ...request.weights, weights: nowhere } };
  await expect(engine.runner(wrong).load()).rejects.toMatchObject({
    name: "DiffusionError",
    code: "FILE_MISSING",
  });
});

test("a killed process is reported, and the next call starts another", async () => {
  const network = engine.runner(request);
  const want = await network.run(inputs);
  const call = network.run(inputs);
  const [pid] = childrenOf(process.pid);
  process.kill(pid!, "SIGKILL");
  // Whole: TensorFlow's remarks about what it has loaded are no reasons.
  await expect(call).rejects.toMatchObject({
    code: "WORKER",
    message: "the process that computes was killed by SIGKILL",
    hint: expect.stringContaining("fp16"),
  });
  expect(await network.run(inputs)).toEqual(want);
});

test("a process that hangs is ended and reported, and the next call starts another", async () => {
  const guarded = new Engine({ hangMs: 4000 });
  try {
    const network = guarded.runner(request);
    const before = new Set(childrenOf(process.pid));
    const want = await network.run(inputs);
    const call = network.run(inputs);
    const [pid] = childrenOf(process.pid).filter((child) => !before.has(child));
    process.kill(pid!, "SIGSTOP");
    await expect(call).rejects.toMatchObject({
      code: "WORKER",
      message: expect.stringContaining("no answer"),
      hint: expect.stringContaining("--hang"),
    });
    expect(await network.run(inputs)).toEqual(want);
  } finally {
    await guarded.dispose();
  }
});

test("a call whose signal aborts is given up at once; a process that goes on with it is ended, and others are answered by the next", async () => {
  const network = engine.runner(request);
  const want = await network.run(inputs);
  const before = childrenOf(process.pid);
  for (const fresh of [false, true]) {
    // One that runs, and one that is being loaded.
    const stopped = fresh ? engine.runner(request) : network;
    for (const pid of childrenOf(process.pid)) process.kill(pid, "SIGSTOP");
    const stop = new AbortController();
    const call = unlessAborted(stop.signal, () => stopped.run(inputs));
    await new Promise(setImmediate); // it has been sent
    const order: string[] = [];
    const behind = engine
      .runner(request)
      .run(inputs)
      .finally(() => order.push("behind"));
    await new Promise(setImmediate);
    stop.abort(new Error("enough"));
    await expect(call.finally(() => order.push("given up"))).rejects.toThrow("enough");
    expect(await behind).toEqual(want);
    expect(order).toEqual(["given up", "behind"]);
    expect(await stopped.run(inputs)).toEqual(want);
  }
  expect(childrenOf(process.pid)).toHaveLength(before.length);
  expect(childrenOf(process.pid)).not.toEqual(before);
}, 240_000);

test("a process that is done in time with what was given up goes on; nothing of a given-up load stays in it", async () => {
  const patient = new Engine({ givenUpMs: 60_000 });
  try {
    const others = childrenOf(process.pid);
    const network = patient.runner(request);
    await network.run(inputs);
    const [pid] = childrenOf(process.pid).filter((child) => !others.includes(child));
    const { tensors } = await patient.status();
    const eager = patient.runner({ ...request, runtime: "eager" });
    const stop = new AbortController();
    const call = unlessAborted(stop.signal, () => eager.load());
    await new Promise(setImmediate);
    stop.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
    await expect(unlessAborted(stop.signal, () => network.run(inputs))).rejects.toThrow("enough");
    await network.run(inputs);
    expect((await patient.status()).tensors).toBe(tensors);
    expect(childrenOf(process.pid)).toContain(pid);
  } finally {
    await patient.dispose();
  }
});

test("one that hangs while it starts or loads, too", async () => {
  const guarded = new Engine({ hangMs: 500 });
  try {
    const before = new Set(childrenOf(process.pid));
    const call = guarded.runner(request).load();
    await new Promise(setImmediate);
    const [pid] = childrenOf(process.pid).filter((child) => !before.has(child));
    process.kill(pid!, "SIGSTOP");
    await expect(call).rejects.toMatchObject({
      code: "WORKER",
      message: expect.stringContaining("no answer for 1.5 s"),
    });
  } finally {
    await guarded.dispose();
  }
});

test("a process that takes more memory than it may is ended and reported", async () => {
  const guarded = new Engine({ memoryLimit: 2 ** 20 });
  await expect(guarded.runner(request).run(inputs)).rejects.toMatchObject({
    code: "WORKER",
    message: expect.stringContaining("more than the 1 MB"),
    hint: expect.stringContaining("--memory"),
  });
  await guarded.dispose();
});

test("Ctrl-C, which reaches every process of a terminal, is left to the caller", async () => {
  const network = engine.runner(request);
  const want = await network.run(inputs);
  const call = network.run(inputs);
  for (const pid of childrenOf(process.pid)) process.kill(pid, "SIGINT");
  expect(await call).toEqual(want);
  expect(await network.run(inputs)).toEqual(want);
});

test("after dispose() nothing can be asked of it, and what was under way says why it ended", async () => {
  const ended = new Engine();
  const network = ended.runner(request);
  await network.run(inputs);
  const call = network.run(inputs);
  await new Promise(setImmediate); // it has been sent
  await Promise.all([
    expect(call).rejects.toMatchObject({
      code: "WORKER",
      message: "the model was disposed of while it was at work",
    }),
    ended.dispose(),
  ]);
  const before = childrenOf(process.pid);
  for (const use of [() => network.run(inputs), () => ended.status()])
    await expect(use()).rejects.toMatchObject({ code: "BAD_OPTION", hint: "load it again" });
  expect(childrenOf(process.pid)).toEqual(before);
});

test("status tells of memory and of tensors that are held", async () => {
  const status = await engine.status();
  expect(status.tensors).toBe(0);
  expect(status.residentBytes).toBeGreaterThan(50e6);
  expect(status.tensorflow).toMatch(/^\d+\.\d+/);
});

test("bf16 stays close to fp32, or is refused where the CPU lacks it", async () => {
  const want = (await engine.runner(request).run(inputs)).sample.data;
  const half = await Engine.forBfloat16().catch((error: unknown) => error);
  if (!(half instanceof Engine)) return expect(half).toMatchObject({ code: "UNSUPPORTED" });
  const got = (await half.runner({ ...request, precision: "bf16" }).run(inputs)).sample.data;
  await half.dispose();
  expect(got).toBeCloseTo32(want, { abs: 0.05 });
  expect(got).not.toEqual(want);
});

test("a process that is disposed of leaves no temporary folder", async () => {
  // Of its own: other tests run at the same time.
  const temporary = mkdtempSync(join(cacheRoot, "tmp-"));
  vi.stubEnv("TMPDIR", temporary);
  onTestFinished(() => void vi.unstubAllEnvs());
  const one = new Engine();
  await one.status();
  const compiled = () => readdirSync(temporary).filter((name) => name.startsWith("tfjs-diffusion-compiled-"));
  expect(compiled()).toHaveLength(1);
  await one.dispose();
  await expect.poll(compiled).toEqual([]);
});

test("await dispose() as the last thing ends a script well", () => {
  const script = `import { Engine } from ${JSON.stringify(new URL("./engine.ts", import.meta.url).href)};
    const engine = new Engine(); await engine.status(); await engine.dispose(); console.log("disposed");`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  expect(execFileSync(process.execPath, args, { encoding: "utf8" })).toContain("disposed");
});

const childrenOf = (pid: number): number[] =>
  execFileSync("ps", ["-o", "pid=,args=", "--ppid", String(pid)], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes("worker"))
    .map((line) => Number.parseInt(line, 10));
