import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import type { Log } from "../../log.js";
import { Refusal } from "../../refusal.js";
import { processName } from "../process-name.js";
import { hasEnded, type Interruption, type JobQueue } from "../queue.js";
import { readJson } from "../stored-job.js";
import { accept } from "./accepting.js";
import { careForQueue } from "./care.js";
import { cancel, first, interrupt, skip } from "./changes.js";
import { claiming } from "./claiming.js";
import {
  answered,
  checkQueueUrl,
  firstAnswer,
  type Lacking,
  notInstalled,
  type Shared,
} from "./connection.js";
import { durabilityWarnings } from "./durability.js";
import { latestEvent } from "./events.js";
import { foundRecords } from "./found-by.js";
import { watchHealth } from "./health.js";
import { listening } from "./listening.js";
import { jobLists } from "./lists.js";
import { progressRecords } from "./progress.js";
import { queueReads } from "./reads.js";
import { createRecords } from "./records.js";
import { workerRecords } from "./workers.js";

export interface RedisQueueOptions {
  /** Jobs and parts of jobs that may wait. */
  readonly queued: number;
  /** The lanes that this process takes jobs from; none for a server that only accepts them. */
  readonly lanes?: readonly string[];
  /** Milliseconds without a sign of life after which another worker may take a job over. Default 15 s. */
  readonly lockMs?: number;
  /** Milliseconds after which a worker looks for jobs that it was not told of. Default 1 s. */
  readonly missedMs?: number;
  /** Milliseconds that its first answer is waited for. Default 4 s. */
  readonly answerMs?: number;
  /** In front of all keys, for several queues in one Redis. Default "tfjs-diffusion". */
  readonly namespace?: string;
  /** What this process is called in the records of jobs that it runs; no other one may be called so. */
  readonly name?: string;
  /** What keeps this process from a job that it would take, and others perhaps not. */
  readonly lacking?: Lacking;
  readonly log?: Log;
}

/**
 * A queue in Redis or Valkey, on BullMQ: it hands out jobs, locks them, and hands out again what a dead worker has
 * left. How each job stands is a record of its own (`records.ts`), changed only by who holds the job's token, so
 * that a job that was handed out twice still ends once.
 *
 * @param url redis://[user:password@]host:port[/database]
 * @throws DiffusionError QUEUE when Redis cannot be reached, UNSUPPORTED when BullMQ is not installed
 */
export async function openRedisQueue(url: string, options: RedisQueueOptions): Promise<JobQueue> {
  const {
    namespace = "tfjs-diffusion",
    lockMs = 15_000,
    missedMs = 1000,
    log = () => {},
    lanes = [],
    answerMs = 4000,
  } = options;
  checkQueueUrl(url);
  // BullMQ takes longer to load than Redis to answer: a start that fails does not wait for it.
  const bullmq = import("bullmq");
  bullmq.catch(() => {});
  const ioredis = await import("ioredis").catch(notInstalled);
  const retry = {
    maxRetriesPerRequest: null,
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 1000),
  };
  const redis = new ioredis.Redis(url, { ...retry, lazyConnect: true });
  redis.on("error", () => {}); // it connects again; what waits for it says so
  const listener = redis.duplicate();
  listener.on("error", () => {});
  const prefix = `{${namespace}}:`;
  const connected = async () => {
    await redis.connect();
    await listener.subscribe(`${prefix}wake`, `${prefix}cancel`, `${prefix}finish`);
    return latestEvent(redis, `${prefix}events`);
  };
  const end = (error: unknown): never => {
    redis.disconnect();
    listener.disconnect();
    throw error;
  };
  const lastEvent = await firstAnswer(redis, url, connected, answerMs).catch(end);
  const bull = await bullmq.catch(notInstalled).catch(end);
  for (const warning of await durabilityWarnings(redis)) log(warning, { level: "warn" });
  const { name = processName(), lacking = async () => undefined } = options;
  const health = watchHealth(redis, log);
  const records = createRecords(redis, prefix, log);
  const shared: Shared = {
    ...{ redis, bull, prefix, lockMs, missedMs, log, name, health, lacking },
    records,
    found: foundRecords(redis, prefix, records.read),
    lists: jobLists(redis, prefix),
    progress: progressRecords(redis, prefix),
    workers: workerRecords(redis, prefix),
    bullQueues: new Map(),
  };
  return redisQueue(shared, listener, { lanes, limit: options.queued, lastEvent });
}

function redisQueue(
  shared: Shared,
  listener: Redis,
  {
    lanes,
    limit,
    lastEvent,
  }: { readonly lanes: readonly string[]; readonly limit: number; readonly lastEvent: string },
): JobQueue {
  const { records, found, workers, redis, name } = shared;
  const { changing, ...reads } = queueReads(shared);
  const { claim, bullWorkers, ...claims } = claiming(shared, lanes);
  const ears = listening(shared, listener, lastEvent);
  const endCare = careForQueue(shared, lanes);
  // Whoever answers clients knows early what earlier versions have made; the first to ask for it tries again.
  if (lanes.length === 0) found.havingPictures([]).catch(() => {});
  let closed = false;

  listener.on("message", (channel: string, message: string) => {
    if (channel.endsWith("wake")) claims.wake(message);
    else if (channel.endsWith("cancel")) claims.cancel(message);
    else if (channel.endsWith("finish")) {
      // Anybody may write there; an error here would end the process.
      const said = readJson(message);
      if (Array.isArray(said)) claims.finish(String(said[0]), said[1] as Interruption);
    } else ears.progress(message);
  });

  return {
    ...reads,
    claim,
    async enqueue(job, { keyed = false } = {}) {
      let heard = true;
      const wanted = () => {
        if (closed) throw new Refusal(503, "CLOSING", "the server is shutting down");
        return heard || keyed;
      };
      try {
        return await changing(() => accept(job, limit, shared, wanted));
      } finally {
        heard = false;
      }
    },
    cancel: (id) => changing(() => cancel(id, shared)),
    first: (id) => changing(() => first(id, shared)),
    skip: (id, keep) => answered(() => skip(id, keep, shared)),
    interrupt: (id) => changing(() => interrupt(id, shared)),
    remove: (id) =>
      changing(async () => {
        const record = await records.read(id);
        return record !== undefined && hasEnded(record.job) && records.remove(record.job);
      }),
    subscribe: ears.subscribe,
    probe: () => answered(async () => void (await records.probe())),
    async close() {
      closed = true;
      shared.health.end();
      endCare();
      // A worker that has left is not waited for; without an answer it is forgotten after a while.
      if (lanes.length > 0) await Promise.race([workers.left(name).catch(() => {}), sleep(500)]);
      listener.disconnect();
      await ears.close();
      const all = [...bullWorkers, ...shared.bullQueues.values()];
      await Promise.race([Promise.allSettled(all.map((one) => one.close())), sleep(2000)]);
      redis.disconnect();
    },
  };
}
