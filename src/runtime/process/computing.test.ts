import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { goldenPath } from "../../testing/golden.js";
import { buildProcesses } from "../../testing/processes.js";

const folder = mkdtempSync(join(tmpdir(), "computing-"));
const cacheDir = join(folder, "cache");
const threads = join(folder, "threads.mjs");
let built: Awaited<ReturnType<typeof buildProcesses>>;
beforeAll(async () => {
  built = await buildProcesses({ index: "index.ts", "runtime/worker": "runtime/process/worker.ts" });
  const library = pathToFileURL(join(built.folder, "index.js")).href;
  writeFileSync(threads, programOf(library));
});
afterAll(() => built.remove());

/** A thread that draws for ever, and a program that does with it what it is told. */
const programOf = (library: string): string =>
  `import { createInterface } from "node:readline";
  import { Worker, isMainThread, parentPort } from "node:worker_threads";
  if (isMainThread) {
    const worker = new Worker(new URL(import.meta.url));
    worker.on("message", (message) => console.log(JSON.stringify(message)));
    worker.on("error", (error) => console.log(JSON.stringify(error.message)));
    worker.on("exit", () => console.log(JSON.stringify("terminated")));
    for await (const line of createInterface({ input: process.stdin })) {
      if (line === "terminate") await worker.terminate();
      else worker.postMessage(line);
    }
  } else {
    const { StableDiffusion } = await import(${JSON.stringify(library)});
    const model = await StableDiffusion.load(${JSON.stringify(goldenPath("models/tiny-sd1"))}, {
      cacheDir: ${JSON.stringify(cacheDir)},
    });
    let ends = false;
    parentPort.on("message", async () => { ends = true; await model.dispose(); parentPort.postMessage("disposed"); });
    while (!ends)
      try {
        const options = { prompt: "a cat", width: 16, height: 16, steps: 2, seed: 1 };
        await model.generate(options);
        parentPort.postMessage("drawn");
      } catch (error) {
        parentPort.postMessage(String(error.message));
      }
  }`;

let program: ChildProcess | undefined;
let said: string[] = [];
afterEach(() => {
  program?.kill("SIGKILL");
});

/** Starts it, and waits until it has drawn. */
async function start(): Promise<void> {
  said = [];
  program = spawn(process.execPath, [threads], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  program.stdout!.on("data", (chunk: Buffer) => said.push(...String(chunk).trim().split("\n")));
  await until("drawn");
}

async function until(message: string | RegExp): Promise<void> {
  const is = (line: string) =>
    typeof message === "string" ? line === JSON.stringify(message) : message.test(line);
  while (!said.some(is)) await once(program!.stdout!, "data");
}

/** Processes that compute for our program (its marks are in their environment), and zombies that are its children. */
function left(): { readonly computing: number[]; readonly zombies: number[] } {
  const found = { computing: [] as number[], zombies: [] as number[] };
  for (const pid of readdirSync("/proc").map(Number).filter(Boolean))
    try {
      const [, state, parent] = /\) (\w) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
      if (state === "Z" && Number(parent) === program!.pid) found.zombies.push(pid);
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      const isOurs = environment.includes(`TFJS_DIFFUSION_CACHE=${cacheDir}`);
      if (isOurs && state !== "Z") found.computing.push(pid);
    } catch {
      // It has ended meanwhile.
    }
  return found;
}

const untilNothingIsLeft = () =>
  expect.poll(left, { timeout: 50_000, interval: 100 }).toEqual({ computing: [], zombies: [] });

describe.skipIf(process.platform !== "linux")("a process that computes for a thread", () => {
  test("is no zombie when the thread is terminated, and does not go on", async () => {
    await start();
    expect(left().computing.length).toBeGreaterThan(0);
    program!.stdin!.write("terminate\n");
    await until("terminated");
    await untilNothingIsLeft();
    expect(program!.exitCode).toBeNull();
  }, 120_000);

  test("ends with a program that is killed", async () => {
    await start();
    program!.kill("SIGKILL");
    await once(program!, "exit");
    await untilNothingIsLeft();
  }, 120_000);

  test("ends when its model is disposed of, which waits for that", async () => {
    await start();
    program!.stdin!.write("dispose\n");
    await until("disposed");
    expect(left().zombies).toEqual([]);
    await untilNothingIsLeft();
  }, 120_000);

  test("is told of in the same words when it is killed, and started again", async () => {
    await start();
    // The one that waits for it is a shell.
    const [node] = left().computing.filter((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") !== "sh\n");
    process.kill(node!, "SIGKILL");
    await until(/^"the process that computes was killed by SIGKILL"$/);
    said = [];
    await until("drawn");
  }, 120_000);
});
