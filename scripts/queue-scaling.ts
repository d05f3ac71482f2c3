/**
 * What the queue costs, with work that only sleeps: milliseconds a job beyond the work, and how 1, 2, 4 and 8
 * worker processes share jobs of one second. Needs redis-server.
 *
 *   npx tsx scripts/queue-scaling.ts [--jobs-each 5] [--small 300]
 */
import { randomUUID } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { JobQueue } from "../src/server/queue/queue.js";
import { openRedisQueue } from "../src/server/queue/redis.js";
import { buildProcesses, startProcess } from "../src/testing/processes.js";
import { startRedis } from "../src/testing/redis-server.js";

const { values } = parseArgs({
  options: { "jobs-each": { type: "string", default: "5" }, small: { type: "string", default: "300" } },
});
const lane = "emoji-diffusion-256 CPU FP32";
const built = await buildProcesses({ worker: "testing/queue-worker.ts" });
const data = await mkdtemp(join(tmpdir(), "scaling-"));

/** Seconds for `jobs` jobs of one step, with workers that have run a job before. */
async function timed(workers: number, jobs: number, stepMs: number): Promise<number> {
  const redis = await startRedis();
  const queue = await openRedisQueue(redis.url, { queued: 100_000 });
  const env = { QUEUE: redis.url, DATA: data, STEP_MS: String(stepMs) };
  const start = () => startProcess(join(built.folder, "worker.js"), [], env, "ready");
  const processes = await Promise.all(Array.from({ length: workers }, start));
  await run(queue, workers * 2);
  const began = performance.now();
  await run(queue, jobs);
  const seconds = (performance.now() - began) / 1000;
  await Promise.all(processes.map((process) => process.kill()));
  await queue.close();
  await redis.kill();
  return seconds;
}

async function run(queue: JobQueue, jobs: number): Promise<void> {
  const before = (await queue.counts()).completed;
  const request = { kind: "generate", model: lane, prompt: "", steps: 1, count: 1 } as const;
  const job = () => ({ id: randomUUID(), lane, request, attended: false, via: "native" as const });
  await Promise.all(Array.from({ length: jobs }, () => queue.enqueue(job())));
  while ((await queue.counts()).completed < before + jobs) await sleep(10);
}

const small = Number(values.small);
const cost = (await timed(1, small, 0)) / small;
console.log(`${(cost * 1000).toFixed(1)} ms a job that does nothing, one worker, ${small} jobs`);
for (const workers of [1, 2, 4, 8]) {
  const each = Number(values["jobs-each"]);
  const seconds = await timed(workers, workers * each, 1000);
  console.log(
    `${workers} workers: ${workers * each} jobs of 1 s in ${seconds.toFixed(2)} s, ideal ${each} s`,
  );
}
built.remove();
