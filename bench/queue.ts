import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Job, JobQueue } from "../src/server/queue/queue.js";
import { openRedisQueue } from "../src/server/queue/redis/redis.js";
import { folderStore } from "../src/server/storage/images.js";
import { buildProcesses, startProcess } from "../src/testing/processes.js";
import { hasRedis, startRedis } from "../src/testing/redis-server.js";
import { progress } from "./processes.js";
import { ms, ratio, type Table } from "./table.js";

export interface QueueBenchOptions {
  /** Of the backlog. */
  readonly jobs: number;
  /** Jobs of one second for each worker. */
  readonly each: number;
}

/** Milliseconds of "computing": what a job takes where the queue costs nothing. */
const STEP_MS = 1000;
const lane = "emoji-diffusion-256 CPU FP32";

/**
 * What the queue costs: real servers' side, Redis (an fsync for each change) and worker processes, whose children
 * sleep in place of computing.
 *
 * @throws Error when a job is lost, fails, or lacks its picture
 */
export async function benchQueue({ jobs, each }: QueueBenchOptions): Promise<Table[]> {
  if (!hasRedis) throw new Error("redis-server is not installed (apt-get install redis-server)");
  const built = await buildProcesses({ worker: "testing/queue-worker.ts" });
  const worker = join(built.folder, "worker.js");
  try {
    return [await scaling(worker, each), await backlog(worker, jobs)];
  } finally {
    built.remove();
  }
}

/** A queue with so many workers, for as long as `measure` takes. */
async function withWorkers<T>(
  worker: string,
  { workers, stepMs }: { workers: number; stepMs: number },
  measure: (queue: JobQueue, start: () => Promise<void>, data: string) => Promise<T>,
): Promise<T> {
  const data = mkdtempSync(join(tmpdir(), "queue-bench-"));
  const redis = await startRedis();
  const queue = await openRedisQueue(redis.url, { queued: 1_000_000 });
  // Locks as in service.
  const env = { QUEUE: redis.url, DATA: data, STEP_MS: String(stepMs), LOCK_MS: "15000" };
  const processes: Awaited<ReturnType<typeof startProcess>>[] = [];
  const start = async () => {
    const started = await Promise.all(
      Array.from({ length: workers }, () => startProcess(worker, [], env, "ready")),
    );
    processes.push(...started);
  };
  try {
    return await measure(queue, start, data);
  } finally {
    await Promise.all(processes.map((process) => process.kill()));
    await queue.close();
    await redis.kill();
    rmSync(data, { recursive: true, force: true });
  }
}

const newJob = (seed = 1) => ({
  id: randomUUID(),
  lane,
  request: { kind: "generate", model: lane, prompt: "", steps: 1, count: 1, seed } as const,
  attended: false,
  via: "native" as const,
});

async function allEnded(queue: JobQueue, jobs: number): Promise<readonly Job[]> {
  for (let done = 0; done < jobs; ) {
    await sleep(100);
    const counts = await queue.counts();
    done = counts.completed + counts.failed + counts.lost;
  }
  const ended = await queue.list({ limit: jobs });
  const bad = ended.filter(({ status }) => status !== "completed");
  if (bad.length > 0) throw new Error(`${bad.length} jobs did not complete: ${JSON.stringify(bad[0])}`);
  return ended;
}

/**
 * With W workers at work all the time, the job that ends W places behind another has taken a worker one cycle: the
 * second of computing and what the queue adds. Starting and running dry are left out.
 */
async function cycleMs(worker: string, workers: number, each: number): Promise<number> {
  const jobs = workers * (each + 2);
  return withWorkers(worker, { workers, stepMs: STEP_MS }, async (queue, start) => {
    await start();
    await Promise.all(Array.from({ length: jobs }, () => queue.enqueue(newJob())));
    const ends = (await allEnded(queue, jobs)).map(({ finished }) => finished!).sort((a, b) => a - b);
    const steady = ends.slice(workers, jobs - workers);
    const cycles = steady.slice(workers).map((end, i) => end - steady[i]!);
    return cycles.reduce((sum, cycle) => sum + cycle, 0) / cycles.length;
  });
}

async function scaling(worker: string, each: number): Promise<Table> {
  const rows: string[][] = [];
  let alone = 0;
  for (const workers of [1, 2, 4, 8]) {
    progress(`${workers} workers, jobs of one second`);
    const cycle = await cycleMs(worker, workers, each);
    alone ||= cycle;
    rows.push([
      `${workers}`,
      ms(cycle),
      ((workers * 1000) / cycle).toFixed(3),
      ratio((workers * alone) / cycle),
      `${signed((alone / cycle - 1) * 100)} %`,
    ]);
  }
  return {
    title: `Queue: jobs of one second of sleep, ${each} for each worker in the steady state`,
    columns: ["workers", "ms a job and worker", "jobs a second", "times one worker", "against linear"],
    rows,
    notes: [
      "The processes do not compute: workers beyond the cores of the machine only show what the queue costs.",
    ],
  };
}

/** All accepted before the first worker starts; then worked off. */
async function backlog(worker: string, jobs: number): Promise<Table> {
  const rows: string[][] = [];
  for (const workers of [1, 2])
    await withWorkers(worker, { workers, stepMs: 0 }, async (queue, start, data) => {
      progress(`${jobs} jobs, ${workers} workers`);
      const began = performance.now();
      for (let i = 0; i < jobs; i += 250)
        await Promise.all(
          Array.from({ length: Math.min(250, jobs - i) }, (_, k) => queue.enqueue(newJob(i + k))),
        );
      const accepted = performance.now();
      await start();
      const ready = performance.now();
      const ended = await allEnded(queue, jobs);
      const done = performance.now();
      await checkPictures(ended, data, jobs);
      rows.push([`${workers}`, ms((accepted - began) / jobs), ms((done - ready) / jobs)]);
    });
  return {
    title: `Queue: ${jobs} jobs that do nothing, waiting before the first worker starts`,
    columns: ["workers", "accepted, ms a job", "worked off, ms a job"],
    rows,
    notes: [
      "From its line in Redis to its picture on disk. Every job ended once, with a picture of its own.",
    ],
  };
}

async function checkPictures(ended: readonly Job[], data: string, jobs: number): Promise<void> {
  const images = folderStore(join(data, "images"));
  const keys = new Set(ended.flatMap(({ result }) => result?.images.map(({ key }) => key) ?? []));
  if (keys.size !== jobs) throw new Error(`${keys.size} pictures of ${jobs} jobs`);
  for (const key of keys) if (!(await images.get(key))) throw new Error(`picture ${key} is missing`);
}

const signed = (value: number): string => `${value < 0 ? "" : "+"}${value.toFixed(1)}`;
