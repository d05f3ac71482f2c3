import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { DiffusionError, encodePng } from "../index.js";
import type { Work } from "../server/jobs/running.js";
import type { ImageStore } from "../server/storage/store.js";
import { startWorker } from "../server/worker.js";

/**
 * A worker for tests of the queue: the real supervisor, whose child only sleeps. As a native call does, the child
 * blocks its thread for each step. `STEP_MS` is how long, and a request's `steps` how often. With `MODELS_FOLDER` it is
 * the real one throughout, but for the time of its locks.
 */
const stepMs = Number(process.env.STEP_MS ?? 20);
const here = fileURLToPath(import.meta.url);

if (process.argv.includes("--child")) {
  process.on("message", () => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stepMs);
    process.send!("done");
  });
  process.on("disconnect", () => process.exit(0));
} else {
  const worker = await startWorker({
    queue: process.env.QUEUE!,
    dataDir: process.env.DATA!,
    ...(process.env.MODELS && { model: process.env.MODELS.split(",") }),
    ...(process.env.IMAGES && { images: process.env.IMAGES }),
    lockMs: Number(process.env.LOCK_MS ?? 1500),
    graceMs: Number(process.env.GRACE_MS ?? 5000),
    log: (line) => process.stderr.write(`${line}\n`),
    ...(process.env.MODELS_FOLDER
      ? { models: process.env.MODELS_FOLDER, load: { threads: 1 } }
      : { work: sleepingWork }),
  });
  process.on("SIGTERM", () => void worker.close().then(() => process.exit(0)));
  process.stdout.write("ready\n");
}

function sleepingWork(images: ImageStore): Work {
  let child: ChildProcess | undefined;
  const step = () =>
    new Promise<void>((resolve, reject) => {
      child ??= fork(here, ["--child"]);
      const current = child;
      const lost = () => {
        current.off("message", done);
        if (child === current) child = undefined;
        reject(new DiffusionError("WORKER", "the process that computes was killed"));
      };
      const done = () => {
        current.off("exit", lost);
        resolve();
      };
      current.once("exit", lost);
      current.once("message", done);
      current.send("step", (error) => error && lost());
    });
  return async ({ id, request }, { signal, progress, finished }) => {
    if (request.kind !== "generate") throw new Error("stub");
    const { steps = 5, count } = request;
    for (let image = 0; image < count; image++) {
      for (let i = 1; i <= steps; i++) {
        signal.throwIfAborted();
        await step();
        progress({ phase: "denoise", image, images: count, step: i, steps, share: i / steps });
      }
      const parameters = `${id} ${request.prompt}\nSeed: ${request.seed}`;
      const picture = { width: 8, height: 8, data: new Uint8Array(192) };
      const key = await images.put(encodePng(picture, { parameters }));
      finished({ key, width: 8, height: 8, seed: String(request.seed ?? 0), parameters });
    }
    return { width: 8, height: 8, ms: { encode: 0, denoise: steps * stepMs, decode: 0 } };
  };
}
