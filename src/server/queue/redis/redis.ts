import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import type { Redis } from "ioredis";
import { Refusal } from "../../refusal.js";
import {
  type Claim,
  cancelled,
  hasEnded,
  type Job,
  type JobQueue,
  type LaneState,
  type NewJob,
  type QueueEvent,
} from "../queue.js";
import { splitJob } from "../shards.js";
import { cancel, skip } from "./changes.js";
import { claimOf, take } from "./claims.js";
import { answered, checkQueueUrl, firstAnswer, notInstalled, type Shared } from "./connection.js";
import { bullWorker, deliver, redeliver } from "./deliveries.js";
import { durabilityWarnings, lossWatch } from "./durability.js";
import { readEvents } from "./events.js";
import { recent } from "./recent.js";
import { createRecords, type Records } from "./records.js";

/** How long a job may wait whose addition nobody heard of: of a dead worker, or told while Redis was away. */
const MISSED_MS = 1000;

export interface RedisQueueOptions {
  /** Jobs and parts of jobs that may wait. */
  readonly queued: number;
  /** The lanes that this process takes jobs from; none for a server that only accepts them. */
  readonly lanes?: readonly string[];
  /** Milliseconds without a sign of life after which another worker may take a job over. Default 15 s. */
  readonly lockMs?: number;
  /** In front of all keys, for several queues in one Redis. Default "tfjs-diffusion". */
  readonly namespace?: string;
  readonly log?: (line: string) => void;
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
  const { namespace = "tfjs-diffusion", lockMs = 15_000, log = () => {}, lanes = [] } = options;
  checkQueueUrl(url);
  const [bull, ioredis] = await Promise.all([import("bullmq"), import("ioredis")]).catch(notInstalled);
  const retry = {
    maxRetriesPerRequest: null,
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 1000),
  };
  const redis = new ioredis.Redis(url, { ...retry, lazyConnect: true });
  redis.on("error", () => {}); // it connects again; what waits for it says so
  const listener = redis.duplicate();
  listener.on("error", () => {});
  const prefix = `{${namespace}}:`;
  const shared: Shared = {
    records: createRecords(redis, prefix),
    redis,
    bull,
    prefix,
    bullQueues: new Map(),
    lockMs,
    log,
  };
  const connected = async () => {
    await redis.connect();
    await listener.subscribe(`${prefix}wake`, `${prefix}cancel`);
    return shared.records.lastEvent();
  };
  const lastEvent = await firstAnswer(redis, url, connected).catch((error: unknown) => {
    redis.disconnect();
    listener.disconnect();
    throw error;
  });
  for (const warning of await durabilityWarnings(redis)) log(warning);
  return redisQueue(shared, listener, lanes, options.queued, lastEvent);
}

function redisQueue(
  shared: Shared,
  listener: Redis,
  lanes: readonly string[],
  limit: number,
  lastEvent: string,
): JobQueue {
  const { records, redis, prefix, lockMs, log } = shared;
  const listeners = new Set<(event: QueueEvent) => void>();
  const sleepers = new Set<() => void>();
  /** Lanes in which nothing was found since somebody last added to them. */
  const empty = new Set<string>();
  const claims = new Map<string, AbortController>();
  const closing = new AbortController();
  const workers = new Map(lanes.map((lane) => [lane, bullWorker(lane, shared)]));
  const name = `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`;
  let turn = 0;
  let forgotten = 0;
  let events: Promise<void> | undefined;
  let reader: Redis | undefined;

  listener.on("message", (channel: string, message: string) => {
    if (channel.endsWith("wake")) {
      empty.delete(message);
      for (const wake of sleepers) wake();
    } else if (channel.endsWith("cancel")) claims.get(message)?.abort(cancelled);
    else if (listeners.size > 0) void tellProgress(message).catch(() => {});
  });
  const tell = (event: QueueEvent) => {
    for (const listen of listeners) listen(event);
  };
  const tellProgress = async (id: string) => {
    const record = await records.read(id);
    if (record?.job.status === "running")
      tell({ type: "progress", job: await records.withProgress(record.job) });
  };

  const watchLoss = lossWatch(records.order, log);
  const repair = setInterval(() => void everyMoment(), lockMs / 3);
  repair.unref();
  const everyMoment = async () => {
    if (redis.status !== "ready") return;
    try {
      await watchLoss();
      if (lanes.length > 0) await records.alive(name, lanes);
      await redeliver(shared);
    } catch (error) {
      log(`queue: ${(error as Error).message}`);
    }
  };
  if (lanes.length > 0) void everyMoment();

  /** Sleeps until a job may be there: told by who adds one, or after `MISSED_MS`. */
  const pause = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => woken(), MISSED_MS);
      const woken = () => {
        clearTimeout(timer);
        sleepers.delete(woken);
        signal.removeEventListener("abort", woken);
        resolve();
      };
      sleepers.add(woken);
      signal.addEventListener("abort", woken);
    });

  const claimFrom = async (lane: string): Promise<Claim | "again" | undefined> => {
    const token = randomUUID();
    // Until somebody adds to it, which may be while the answer is on its way.
    empty.add(lane);
    const delivery = await workers.get(lane)!.getNextJob(token, { block: false });
    if (!delivery) return undefined;
    const taken = await take(delivery, token, shared);
    empty.delete(lane);
    if (!taken) return "again";
    const stop = new AbortController();
    claims.set(taken.job.id, stop);
    return claimOf(taken, delivery, stop, shared, () => {
      if (claims.get(taken.job.id) === stop) claims.delete(taken.job.id);
    });
  };

  const get = async (id: string): Promise<Job | undefined> => {
    const record = await records.read(id);
    return record && records.withProgress(record.job);
  };
  const position = async (id: string): Promise<number | undefined> => {
    const record = await records.read(id);
    if (!record?.job.shards) return records.position(id);
    for (const { id, status } of await records.shards(record.job))
      if (!hasEnded({ status })) return records.position(id);
    return undefined;
  };

  const jobsLately = recent((id) => answered(() => get(id)));
  const listsLately = recent((filter) => answered(() => list(records, JSON.parse(filter))));
  const positionsLately = recent((id) => answered(() => position(id)));
  /** Whoever changes a job here sees at once that it has changed. */
  const changing = async <T>(change: () => Promise<T>): Promise<T> => {
    try {
      return await answered(change);
    } finally {
      for (const reads of [jobsLately, listsLately, positionsLately]) reads.forget();
    }
  };

  return {
    recent: {
      get: jobsLately.get,
      list: (filter = {}) => listsLately.get(JSON.stringify(filter)),
      position: positionsLately.get,
    },
    async enqueue(job, { keyed = false } = {}) {
      let heard = true;
      const wanted = () => {
        if (closing.signal.aborted) throw new Refusal(503, "CLOSING", "the server is shutting down");
        return heard || keyed;
      };
      try {
        return await changing(() => accept(job, limit, shared, wanted));
      } finally {
        heard = false;
      }
    },
    get: (id) => answered(() => get(id)),
    list: (filter) => answered(() => list(records, filter)),
    position: (id) => answered(() => position(id)),
    async claim(accepts, signal) {
      for (;;) {
        signal.throwIfAborted();
        turn++;
        if (performance.now() - forgotten >= MISSED_MS) {
          empty.clear();
          forgotten = performance.now();
        }
        let again = false;
        for (let i = 0; i < lanes.length && !signal.aborted; i++) {
          const lane = lanes[(turn + i) % lanes.length]!;
          if (empty.has(lane) || !accepts(lane)) continue;
          const found = await claimFrom(lane).catch((error: Error) => {
            log(`queue: ${error.message}`); // what it returns is no claim
            return undefined;
          });
          if (found === "again") again = true;
          else if (found) return found;
        }
        const added = lanes.some((lane) => !empty.has(lane) && accepts(lane));
        if (!again && !added) await pause(signal);
      }
    },
    cancel: (id) => changing(() => cancel(id, shared)),
    skip: (id) => answered(() => skip(id, shared)),
    remove: (id) =>
      changing(async () => {
        const record = await records.read(id);
        return record !== undefined && hasEnded(record.job) && records.remove(record.job);
      }),
    subscribe(listen) {
      listeners.add(listen);
      if (!reader) listener.subscribe(`${prefix}progress`).catch(() => {});
      reader ??= redis.duplicate();
      reader.on("error", () => {});
      events ??= readEvents(reader, `${prefix}events`, lastEvent, tell, closing.signal);
      return () => listeners.delete(listen);
    },
    counts: () => answered(() => records.counts()),
    workers: () => answered(() => records.workers()),
    lanes: () => answered(() => laneStates(records)),
    probe: () => answered(async () => void (await records.probe())),
    async close() {
      closing.abort();
      clearInterval(repair);
      // A worker that has left is not waited for; without an answer it is forgotten after a while.
      if (lanes.length > 0) await Promise.race([records.left(name).catch(() => {}), sleep(500)]);
      reader?.disconnect();
      listener.disconnect();
      await events;
      const all = [...workers.values(), ...shared.bullQueues.values()];
      await Promise.race([Promise.allSettled(all.map((one) => one.close())), sleep(2000)]);
      redis.disconnect();
    },
  };
}

/**
 * @param wanted whether the client still waits for the answer; asked before the job is made, and after
 * @throws Refusal 429
 */
async function accept(job: NewJob, limit: number, shared: Shared, wanted: () => boolean): Promise<Job> {
  const { records } = shared;
  const known = await records.read(job.id);
  if (known) return known.job;
  if (!wanted()) throw new Refusal(503, "QUEUE", "the client has been told that the queue does not answer");
  const { job: accepted, parts, answer } = await records.create(job, splitJob(job), limit, Date.now());
  if (answer === 0) return (await records.read(job.id))!.job;
  if (answer < 0)
    throw new Refusal(429, "QUEUE_FULL", `${limit} jobs are waiting already`, {
      hint: "try again later",
      headers: { "Retry-After": "10" },
    });
  if (!wanted()) {
    const ended = await cancel(job.id, shared);
    if (ended && hasEnded(ended)) await records.remove({ ...accepted, ...ended });
    return accepted;
  }
  // From here on the job is accepted; should this process end now, `redeliver` does the rest.
  await deliver(
    job.lane,
    parts.map(({ id }) => id),
    shared,
  );
  return accepted;
}

async function list(
  records: Records,
  { status, task, before, limit = 100 }: Parameters<JobQueue["list"]>[0] = {},
): Promise<readonly Job[]> {
  const onlyRunning = status?.length === 1 && status[0] === "running";
  if (onlyRunning && task === undefined && before === undefined) return runningJobs(records, limit);
  const found: Job[] = [];
  let from = before === undefined ? 0 : ((await records.rank(before)) ?? -1) + 1;
  for (const page = 500; found.length < limit; from += page) {
    const ids = await records.newest(from, page);
    for (const record of await Promise.all(ids.map((id) => records.read(id)))) {
      if (!record || (status && !status.includes(record.job.status))) continue;
      if (task === undefined || record.job.task === task) found.push(record.job);
    }
    if (ids.length < page) break;
  }
  return Promise.all(found.slice(0, limit).map((job) => records.withProgress(job)));
}

async function laneStates(records: Records): Promise<readonly LaneState[]> {
  const running = new Map<string, number>();
  for (const record of await Promise.all((await records.running()).map((id) => records.read(id))))
    if (record) running.set(record.job.lane, (running.get(record.job.lane) ?? 0) + 1);
  return Promise.all(
    (await records.lanes()).map(async (lane) => {
      const [waiting, [first]] = await Promise.all([records.waitingIn(lane), records.oldestWaiting(1, lane)]);
      const oldest = first === undefined ? undefined : (await records.read(first))?.job.created;
      return { lane, waiting, running: running.get(lane) ?? 0, ...(oldest !== undefined && { oldest }) };
    }),
  );
}

/** Newest first, without a look at all that there are: many ask for it. */
async function runningJobs(records: Records, limit: number): Promise<readonly Job[]> {
  const found = await Promise.all((await records.begun()).map((id) => records.read(id)));
  const jobs = found.flatMap((record) => (record?.job.status === "running" ? [record.job] : []));
  return Promise.all(jobs.slice(0, limit).map((job) => records.withProgress(job)));
}
