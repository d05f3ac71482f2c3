import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Job as Delivery, Queue, Worker } from "bullmq";
import type { Redis, RedisOptions } from "ioredis";
import { DiffusionError } from "../../index.js";
import { Refusal } from "../refusal.js";
import { cancelled } from "./local.js";
import {
  type Claim,
  hasEnded,
  type Job,
  type JobError,
  type JobProgress,
  type JobQueue,
  maxAttempts,
  type Outcome,
  type QueueEvent,
} from "./queue.js";
import { createRecords, type JobRecord, type RecordedJob, type Records } from "./records.js";
import { joinOutcomes, splitJob } from "./shards.js";

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

interface Shared {
  readonly records: Records;
  readonly redis: Redis;
  readonly bull: typeof import("bullmq");
  /** BullMQ's options for connections that it opens by itself. */
  readonly connection: RedisOptions & { url: string };
  readonly prefix: string;
  readonly bullQueues: Map<string, Queue>;
  readonly lockMs: number;
  readonly log: (line: string) => void;
}

/** How long an answer of Redis is waited for before a client is told that it does not come. */
const ANSWER_MS = 10_000;

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
  const [bull, ioredis] = await Promise.all([import("bullmq"), import("ioredis")]).catch(notInstalled);
  const retry = {
    maxRetriesPerRequest: null,
    retryStrategy: (attempt: number) => Math.min(50 * attempt, 1000),
  };
  const redis = new ioredis.Redis(url, { ...retry, lazyConnect: true });
  redis.on("error", () => {}); // it connects again; what waits for it says so
  await firstConnection(redis, url);
  const prefix = `{${namespace}}:`;
  const shared: Shared = {
    records: createRecords(redis, prefix),
    redis,
    bull,
    connection: { url, ...retry },
    prefix,
    bullQueues: new Map(),
    lockMs,
    log,
  };
  const listener = redis.duplicate();
  listener.on("error", () => {});
  await listener.subscribe(`${prefix}wake`, `${prefix}cancel`, `${prefix}progress`);
  return redisQueue(shared, listener, lanes, options.queued, await shared.records.lastEvent());
}

function notInstalled(cause: NodeJS.ErrnoException): never {
  if (cause.code !== "ERR_MODULE_NOT_FOUND" && cause.code !== "MODULE_NOT_FOUND") throw cause;
  throw new DiffusionError("UNSUPPORTED", "a queue in Redis needs the packages bullmq and ioredis", {
    cause,
    hint: "npm install bullmq@5 ioredis@5",
  });
}

async function firstConnection(redis: Redis, url: string): Promise<void> {
  const { host } = new URL(url); // without the password
  const refused = new Promise<never>((_, reject) => redis.once("error", reject));
  try {
    await Promise.race([redis.connect(), refused]);
  } catch (cause) {
    redis.disconnect();
    throw new DiffusionError("QUEUE", `Redis at ${host} cannot be reached: ${(cause as Error).message}`, {
      cause,
      hint: "start redis-server, or correct --queue redis://host:port",
    });
  }
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
  const claims = new Map<string, AbortController>();
  const closing = new AbortController();
  const workers = new Map(lanes.map((lane) => [lane, bullWorker(lane, shared)]));
  const name = randomUUID();
  let turn = 0;
  let events: Promise<void> | undefined;
  let reader: Redis | undefined;

  listener.on("message", (channel: string, message: string) => {
    if (channel.endsWith("wake")) for (const wake of sleepers) wake();
    else if (channel.endsWith("cancel")) claims.get(message)?.abort(cancelled);
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

  const repair = setInterval(() => void everyMoment(), lockMs / 3);
  repair.unref();
  const everyMoment = async () => {
    if (redis.status !== "ready") return;
    try {
      if (lanes.length > 0) await records.workers(name);
      await redeliver(shared);
    } catch (error) {
      log(`queue: ${(error as Error).message}`);
    }
  };
  if (lanes.length > 0) void everyMoment();

  /** Sleeps until a job may be there: told by who adds one, or after a second, should that have been missed. */
  const pause = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(() => woken(), 1000);
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
    const delivery = await workers.get(lane)!.getNextJob(token, { block: false });
    if (!delivery) return undefined;
    const taken = await take(delivery, token, shared);
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

  return {
    enqueue: (job) =>
      answered(async () => {
        const known = await records.read(job.id);
        if (known) return known.job;
        if (closing.signal.aborted) throw new Refusal(503, "CLOSING", "the server is shutting down");
        const { job: accepted, parts, answer } = await records.create(job, splitJob(job), limit, Date.now());
        if (answer === 0) return (await records.read(job.id))!.job;
        if (answer < 0)
          throw new Refusal(429, "QUEUE_FULL", `${limit} jobs are waiting already`, {
            hint: "try again later",
            headers: { "Retry-After": "10" },
          });
        // From here on the job is accepted; should this process end now, `redeliver` does the rest.
        await deliver(
          job.lane,
          parts.map(({ id }) => id),
          shared,
        );
        return accepted;
      }),
    get: (id) => answered(() => get(id)),
    list: (filter) => answered(() => list(records, filter)),
    async position(id) {
      return answered(async () => {
        const record = await records.read(id);
        if (!record?.job.shards) return records.position(id);
        for (const { id, status } of await records.shards(record.job))
          if (!hasEnded({ status })) return records.position(id);
        return undefined;
      });
    },
    async claim(accepts, signal) {
      for (;;) {
        signal.throwIfAborted();
        turn++;
        let again = false;
        for (let i = 0; i < lanes.length && !signal.aborted; i++) {
          const lane = lanes[(turn + i) % lanes.length]!;
          const found = accepts(lane)
            ? await claimFrom(lane).catch((error: Error) => log(`queue: ${error.message}`))
            : undefined;
          if (found === "again") again = true;
          else if (found) return found;
        }
        if (!again) await pause(signal);
      }
    },
    cancel: (id) => answered(() => cancel(id, shared)),
    skip: (id) => answered(() => skip(id, shared)),
    remove: (id) =>
      answered(async () => {
        const record = await records.read(id);
        return record !== undefined && hasEnded(record.job) && records.remove(record.job);
      }),
    subscribe(listen) {
      listeners.add(listen);
      reader ??= redis.duplicate();
      reader.on("error", () => {});
      events ??= readEvents(reader, `${prefix}events`, lastEvent, tell, closing.signal);
      return () => listeners.delete(listen);
    },
    counts: () => answered(() => records.counts()),
    workers: () => answered(() => records.workers()),
    async close() {
      closing.abort();
      clearInterval(repair);
      reader?.disconnect();
      listener.disconnect();
      await events;
      const all = [...workers.values(), ...shared.bullQueues.values()];
      await Promise.race([Promise.allSettled(all.map((one) => one.close())), sleep(2000)]);
      redis.disconnect();
    },
  };
}

/** An answer of Redis, or a refusal: requests do not hang for as long as it is gone. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  const late = new AbortController();
  const missing = sleep(ANSWER_MS, undefined, { signal: late.signal }).then(
    () => {
      throw new Refusal(503, "QUEUE", "the queue does not answer", {
        hint: "try again when Redis is back",
        headers: { "Retry-After": "10" },
      });
    },
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([ask(), missing]);
  } finally {
    late.abort();
  }
}

/** Everything that has happened since `last`, in order, also over lost connections. */
async function readEvents(
  reader: Redis,
  stream: string,
  last: string,
  tell: (event: QueueEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const answer = await reader.xread("BLOCK", 5000, "STREAMS", stream, last).catch(() => sleep(100, null));
    for (const [id, [, type, , job]] of answer?.[0]?.[1] ?? []) {
      last = id;
      tell({ type: type as QueueEvent["type"], job: JSON.parse(job!) });
    }
  }
}

/** BullMQ's names may hold no colon; a queue for each lane lets a worker ask for the models that it has. */
const bullName = (lane: string): string =>
  `${lane.replace(/[^\w.-]+/g, "-")}-${createHash("sha256").update(lane).digest("hex").slice(0, 8)}`;

/** Never a whole number, which BullMQ keeps for its own. */
const deliveryId = (id: string): string => `job-${id}`;

function bullQueue(lane: string, shared: Shared): Queue {
  const { bull, connection, prefix, bullQueues } = shared;
  const known = bullQueues.get(lane);
  if (known) return known;
  const queue = new bull.Queue(bullName(lane), { connection, prefix: `${prefix}bull` });
  queue.on("error", () => {});
  bullQueues.set(lane, queue);
  return queue;
}

function bullWorker(lane: string, { bull, connection, prefix, lockMs, log }: Shared): Worker {
  const worker = new bull.Worker(bullName(lane), null, {
    connection,
    prefix: `${prefix}bull`,
    autorun: false,
    lockDuration: lockMs,
    stalledInterval: lockMs / 3,
    // How often a job is tried is decided by its record.
    maxStalledCount: 1e6,
  });
  worker.on("error", () => {});
  worker.on("stalled", (id) => log(`${id}: whoever ran it is gone; it is handed out again`));
  void worker.startStalledCheckTimer();
  return worker;
}

async function deliver(lane: string, ids: readonly string[], shared: Shared): Promise<void> {
  const opts = (id: string) => ({ jobId: deliveryId(id), removeOnComplete: true, removeOnFail: true });
  await bullQueue(lane, shared).addBulk(ids.map((id) => ({ name: "job", data: { id }, opts: opts(id) })));
  await shared.redis.publish(`${shared.prefix}wake`, "");
}

/**
 * Hands jobs to BullMQ that wait or run by their record, and that it does not know: the process that accepted them
 * ended between the two. Those at the head of the line are looked at; the others come there.
 */
async function redeliver(shared: Shared): Promise<void> {
  const { records } = shared;
  const ids = [...(await records.oldestWaiting(100)), ...(await records.running())];
  for (const id of ids) {
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) continue;
    const { lane } = record.job;
    const delivery = await bullQueue(lane, shared).getJob(deliveryId(id));
    if (!delivery) await deliver(lane, [id], shared);
  }
}

/**
 * Makes a delivery a claim: the record says who runs the job from now on. Undefined when there is nothing to run:
 * the job has ended already, was cancelled, or has been tried too often.
 */
async function take(delivery: Delivery, token: string, shared: Shared): Promise<JobRecord | undefined> {
  const { records } = shared;
  for (;;) {
    const record = await records.read(delivery.data.id);
    if (!record || hasEnded(record.job)) {
      if (record) await settle(record.job, shared);
      await discard(delivery, token);
      return undefined;
    }
    // The answer to an earlier attempt was lost with the connection.
    if (record.token === token && record.job.status === "running") return record;
    const { job } = record;
    const spent = job.attempt >= maxAttempts;
    const next: RecordedJob = record.cancel
      ? { ...job, status: "cancelled", finished: Date.now() }
      : spent
        ? { ...job, status: "lost", finished: Date.now(), error: lost(job) }
        : { ...job, status: "running", attempt: job.attempt + 1, started: Date.now() };
    if (!(await records.move(record, next, token)) || hasEnded(next)) continue;
    if (next.shard) await join(next.shard.of, shared);
    return { ...record, job: next, token };
  }
}

const lost = (job: Job): JobError => ({
  code: "LOST",
  message: `the worker was lost ${job.attempt} times while this job ran`,
});

/** Tells BullMQ that a job is done with. Where its lock is gone, it hands the job out again, and `take` sees it. */
const discard = async (delivery: Delivery, token: string): Promise<void> => {
  await delivery.moveToCompleted(null, token, false).catch(() => {});
};

function claimOf(
  record: JobRecord,
  delivery: Delivery,
  stop: AbortController,
  shared: Shared,
  ended: () => void,
): Claim {
  const { records, lockMs } = shared;
  const { job, token } = record;
  let asking = false;
  const renewal = setInterval(async () => {
    if (asking) return;
    asking = true;
    try {
      await delivery.extendLock(token, lockMs).catch(() => 0);
      const now = await records.read(job.id);
      if (!now || now.token !== token) stop.abort(claimLost);
      else if (now.cancel) stop.abort(cancelled);
    } catch {
      // Redis is away. The job goes on; whether it still is ours shows when it is back.
    } finally {
      asking = false;
    }
  }, lockMs / 3);
  let latest: JobProgress | undefined;
  let telling: Promise<void> | undefined;
  const tell = async () => {
    for (let next = latest; next; next = latest) {
      latest = undefined;
      await records.progress(job, next);
    }
  };
  const close = () => {
    clearInterval(renewal);
    latest = undefined;
    ended();
  };
  const finish = async (outcome: Outcome): Promise<Job> => {
    const done: RecordedJob = { ...job, ...outcome, finished: Date.now() };
    try {
      const moved = await records.move(record, done, token);
      // Somebody else may have it by now: then nothing of this run is shown.
      if (!moved) return (await records.read(job.id))?.job ?? done;
      await settle(done, shared);
      await discard(delivery, token);
      return done;
    } finally {
      close();
    }
  };
  return {
    job,
    signal: stop.signal,
    async heartbeat(progress) {
      latest = progress;
      telling ??= tell()
        .catch(() => {})
        .finally(() => {
          telling = undefined;
        });
      await telling;
    },
    finish,
    async release(reason) {
      // A worker that is asked to stop has not failed.
      const attempt = reason.code === "CLOSING" ? job.attempt - 1 : job.attempt;
      if (attempt >= maxAttempts) return finish({ status: "failed", error: reason });
      const back: RecordedJob = { ...job, status: "queued", attempt };
      try {
        if (!(await records.move(record, back, ""))) return (await records.read(job.id))?.job ?? back;
        await delivery.moveToWait(token).catch(() => {});
        await shared.redis.publish(`${shared.prefix}wake`, "");
        return back;
      } finally {
        close();
      }
    },
  };
}

/** The reason of a claim's signal when another worker has the job. */
const claimLost = new Refusal(409, "CLAIM_LOST", "another worker has taken the job over");

/** What is to be done when a job has ended: a part may have been the last one. */
async function settle(job: RecordedJob, shared: Shared): Promise<void> {
  if (job.shard) await join(job.shard.of, shared);
}

/** Brings the whole to where its parts are. Anybody may do so at any time, any number of times. */
async function join(id: string, { records }: Shared): Promise<void> {
  for (;;) {
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) return;
    const { job } = record;
    const statuses = await records.shardStatuses(job);
    let next: RecordedJob;
    if (statuses.every((status) => hasEnded({ status })))
      next = {
        ...job,
        ...joinOutcomes(await records.shards(job), record.cancel),
        finished: Date.now(),
      };
    else if (job.status === "queued" && statuses.some((status) => status !== "queued"))
      next = { ...job, status: "running", attempt: 1, started: Date.now() };
    else return;
    if (await records.move(record, next, "")) return;
  }
}

async function cancel(id: string, shared: Shared): Promise<Job | undefined> {
  const { records } = shared;
  for (;;) {
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) return record?.job;
    const { job } = record;
    if (job.shards) {
      await records.askToCancel(id);
      await Promise.all((await records.shards(job)).map((part) => cancel(part.id, shared)));
      await join(id, shared);
      return (await records.read(id))?.job;
    }
    if (job.status === "running") {
      await records.askToCancel(id);
      return job;
    }
    const next: RecordedJob = { ...job, status: "cancelled", finished: Date.now() };
    if (!(await records.move(record, next, ""))) continue;
    await settle(next, shared);
    await (await bullQueue(job.lane, shared).getJob(deliveryId(id)))?.remove().catch(() => {});
    return next;
  }
}

/** The whole leaves out the part that has been under way for longest; a job without parts is all there is. */
async function skip(id: string, shared: Shared): Promise<void> {
  const record = await shared.records.read(id);
  if (!record || hasEnded(record.job)) return;
  const parts = record.job.shards ? await shared.records.shards(record.job) : [record.job];
  const [first] = parts.filter(({ status }) => status === "running");
  if (first) await cancel(first.id, shared);
}

async function list(
  records: Records,
  { status, task, before, limit = 100 }: Parameters<JobQueue["list"]>[0] = {},
): Promise<readonly Job[]> {
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
