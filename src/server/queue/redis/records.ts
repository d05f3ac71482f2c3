import type { Redis } from "ioredis";
import type { Log } from "../../log.js";
import {
  hasEnded,
  type Interruption,
  type JobProgress,
  type JobStatus,
  jobStatuses,
  type NewJob,
  type WorkerInfo,
} from "../queue.js";
import { joinProgress, type Sharded, shardId } from "../shards.js";
import { readJson } from "../stored-job.js";
import { foundBy, foundRecords } from "./found-by.js";
import { type RecordedJob, readRecorded } from "./recorded.js";
import { create, first, move, probe, remove } from "./scripts.js";
import { alive, setAside } from "./upkeep-scripts.js";

export type { RecordedJob };

/** What Redis knows of a job. */
export interface JobRecord {
  readonly job: RecordedJob;
  /** Of the claim that runs it: whoever holds another one may not change it. */
  readonly token: string;
  readonly cancel: boolean;
  /** What is to be ended as it is by then. */
  readonly finish?: Interruption;
}

/**
 * What became of each job, beside BullMQ's own data. BullMQ delivers a job at least once; a record moves from one
 * state to the next exactly once, because each move names the state and the token that it starts from.
 *
 * All keys of ours, each behind `{namespace}:`, and what each is for. BullMQ's own stand behind `{namespace}:bull:`
 * and are touched through its public API only.
 *
 * - `job:<id>`, a hash: the job as JSON, its `status`, the `token` of the claim that runs it, `cancel` once somebody
 *   asked for it, `finish` once somebody asked for what there is ("job" or "picture"), its `order`, and `findable`, the status up to which it is in `found-by`. This is where exactly-once rests: a script compares status and token before it
 *   writes, so that a result of a worker that lost its claim is never shown. A request with several pictures has a
 *   record for the whole and one for each picture, and BullMQ delivers only the latter.
 * - `damaged:<id>`, the same for a job that nobody could understand: set aside, for people to look at.
 * - `order`, a counter: the place in line of the next job.
 * - `all`, `waiting`, `running`, `begun`, sorted by order: all jobs; jobs and parts that wait; those that a worker
 *   has; whole jobs that run. The lists of the API and places in the queue are read from them, across all lanes,
 *   where BullMQ has one queue for each lane and knows no whole.
 * - `found-by`, sorted by name: what jobs are found by without a look at the others (found-by.ts), and `findable`, how
 *   far all of them are in it.
 * - `ended`, a hash: how many jobs have ended in which way. BullMQ forgets a job that is done with.
 * - `events`, a stream of about 10,000 entries: each change of a whole job in order, written by the script that makes
 *   it, so that no listener hears of what did not happen. Readers go on from the entry that they had last.
 * - `progress:<id>`, a hash that ends after a day: how far each part is, and the latest preview. It is told on the
 *   channel `progress` and not kept as a change.
 * - `waiting:<lane>`, the same as `waiting` for each lane, and `lanes`, the set of them: so that no lane hides the
 *   others from whoever looks at the oldest, and for numbers of each.
 * - `attempts` and `lost`, hashes: how often a job or part of each lane has begun to run, and how many are lost.
 * - `workers`, sorted by the time at which each last said that it is alive, and `serves`, a hash of the lanes that
 *   each takes jobs from. BullMQ counts connections, which says neither, and needs a command that not every user of
 *   a shared Redis may give.
 * - `probe` and what begins with it: whether Redis takes what an accepted job writes.
 * - `looking`, which ends by itself: one process has just looked for jobs that BullMQ does not know.
 * - `set-back`, which ends by itself: the clock of Redis' machine was set back, and BullMQ's marks outlast their time.
 * - channels: `wake` (a lane has a new job), `cancel` and `finish` (of a job that runs), `progress`. They carry hints; whoever
 *   misses one finds the same in the records a moment later.
 */
export type Records = ReturnType<typeof createRecords>;

const lanesOf = (text = "[]"): readonly string[] => {
  const lanes = readJson(text);
  return Array.isArray(lanes) ? lanes.map(String) : [];
};

/** How long a worker that says nothing counts as alive. */
const ALIVE_S = 30;

/** @param prefix of every key, with a hash tag, so that a cluster keeps them together */
export function createRecords(redis: Redis, prefix: string, log: Log = () => {}) {
  const script = (text: string, ...args: (string | number)[]): Promise<number> =>
    redis.eval(text, 1, prefix, prefix, ...args) as Promise<number>;
  const kindOf = ({ shards, shard }: Sharded) => (shards ? "whole" : shard ? "part" : "job");
  const rootOf = ({ id, shard }: RecordedJob) => shard?.of ?? id;

  /** @returns undefined for a job that there is not, or whose record cannot be understood */
  const read = async (id: string): Promise<JobRecord | undefined> => {
    const fields = ["job", "token", "cancel", "finish"];
    const [job, token, cancel, finish] = await redis.hmget(`${prefix}job:${id}`, ...fields);
    if (job === null || job === undefined) return undefined;
    const known = readRecorded(job, id);
    if (typeof known !== "string")
      return {
        ...{ job: known, token: token ?? "", cancel: cancel === "1" },
        ...((finish === "job" || finish === "picture") && { finish }),
      };
    await damaged(id, known);
    return undefined;
  };

  /** @param why it cannot be understood */
  const damaged = async (id: string, why: string): Promise<void> => {
    if ((await script(setAside, id)) !== 1) return;
    const line = `the record of job ${id} cannot be understood (${why}); it is kept as ${prefix}damaged:${id}, and all other jobs go on`;
    log(line, { level: "error", job: id });
  };

  const progressOf = async ({ id, shards = 1 }: RecordedJob): Promise<JobProgress | undefined> => {
    const { preview, ...parts } = await redis.hgetall(`${prefix}progress:${id}`);
    const said = Object.values(parts).flatMap((part) => (readJson(part) as JobProgress | undefined) ?? []);
    const joined = joinProgress(said, shards);
    return joined && { ...joined, ...(preview && { preview }) };
  };

  const withProgress = async (job: RecordedJob): Promise<RecordedJob> => {
    const progress = job.status === "running" ? await progressOf(job) : undefined;
    return progress ? { ...job, progress } : job;
  };

  return {
    read,
    withProgress,

    async create(job: NewJob, parts: readonly (NewJob & Sharded)[], limit: number, now: number) {
      const recorded = (job: NewJob & Sharded): RecordedJob => ({
        ...job,
        status: "queued",
        attempt: 0,
        created: now,
      });
      const whole = recorded({ ...job, ...(parts.length > 0 && { shards: parts.length }) });
      const all = [whole, ...parts.map(recorded)];
      const answer = await script(
        create,
        limit,
        job.lane,
        foundBy(whole),
        ...all.flatMap((job) => [job.id, JSON.stringify(job)]),
      );
      return { job: whole, parts: parts.length > 0 ? all.slice(1) : all, answer };
    },

    /** @returns false when the record no longer stands at `from` */
    async move(from: JobRecord, to: RecordedJob, token: string): Promise<boolean> {
      const { progress, ...job } = to;
      const kind = kindOf(job);
      const args = [from.job.status, from.token, job.status, token, JSON.stringify(job)];
      const end = hasEnded(job) ? "ended" : "";
      return (await script(move, job.id, kind, ...args, end, foundBy(job), rootOf(job))) === 1;
    },

    /** @param whole told to those who listen @returns false for what does not wait */
    first: async (id: string, whole?: RecordedJob): Promise<boolean> =>
      (await script(first, id, whole ? JSON.stringify(whole) : "")) === 1,

    /** A part whose record was damaged is lost. */
    async shards(whole: RecordedJob): Promise<readonly RecordedJob[]> {
      const { shards = 0, ...job } = whole;
      const ids = Array.from({ length: shards }, (_, i) => shardId(job.id, i));
      const records = await Promise.all(ids.map(read));
      const error = { code: "DAMAGED", message: "the record of a part could not be understood" };
      return records.map(
        (record, i): RecordedJob => record?.job ?? { ...job, id: ids[i]!, status: "lost", error },
      );
    },

    async shardStatuses({ id, shards = 0 }: RecordedJob): Promise<readonly JobStatus[]> {
      const pipeline = redis.pipeline();
      for (let i = 0; i < shards; i++) pipeline.hget(`${prefix}job:${shardId(id, i)}`, "status");
      return ((await pipeline.exec()) ?? []).map(([, status]) => status as JobStatus);
    },

    async remove(job: RecordedJob): Promise<boolean> {
      const parts = Array.from({ length: job.shards ?? 0 }, (_, i) => shardId(job.id, i));
      return (await script(remove, job.id, job.status, foundBy(job), ...parts)) === 1;
    },

    /** A job without a record, or with one that is set aside: no list has it any more. */
    forget: (id: string) => script(setAside, id),

    async askToCancel(id: string): Promise<void> {
      await redis.hset(`${prefix}job:${id}`, "cancel", "1");
      await redis.publish(`${prefix}cancel`, id);
    },

    async askToFinish(id: string, what: Interruption): Promise<void> {
      await redis.hset(`${prefix}job:${id}`, "finish", what);
      await redis.publish(`${prefix}finish`, JSON.stringify([id, what]));
    },

    /** Keeps the progress of a job or a part, and tells that of the whole. */
    async progress(job: RecordedJob, { preview, ...progress }: JobProgress): Promise<void> {
      const root = rootOf(job);
      const key = `${prefix}progress:${root}`;
      await redis
        .multi()
        .hset(
          key,
          String(job.shard?.index ?? 0),
          JSON.stringify(progress),
          ...(preview ? ["preview", preview] : []),
        )
        .pexpire(key, 24 * 3600_000)
        .publish(`${prefix}progress`, root)
        .exec();
    },

    ...foundRecords(redis, prefix, read),

    /** Ids, newest first, from one position on. */
    newest: (from: number, count: number) => redis.zrevrange(`${prefix}all`, from, from + count - 1),
    rank: (id: string) => redis.zrevrank(`${prefix}all`, id),
    /** Of a whole job among all: later ones have a higher one. */
    async place(id: string): Promise<number | undefined> {
      const place = await redis.zscore(`${prefix}all`, id);
      return place === null ? undefined : Number(place);
    },
    /** Of all lanes, or of one. */
    oldestWaiting: (count: number, lane?: string) =>
      redis.zrange(`${prefix}waiting${lane === undefined ? "" : `:${lane}`}`, "0", String(count - 1)),
    /** How many whole jobs were ever accepted. */
    order: async () => Number((await redis.get(`${prefix}order`)) ?? 0),
    lanes: () => redis.smembers(`${prefix}lanes`),
    /** By lane. */
    attempts: () => redis.hgetall(`${prefix}attempts`),
    lost: () => redis.hgetall(`${prefix}lost`),
    waitingIn: (lane: string) => redis.zcard(`${prefix}waiting:${lane}`),
    /** An entry of a lane that says no more than that a process of an earlier version took it. */
    leaveLane: (lane: string, id: string) => redis.zrem(`${prefix}waiting:${lane}`, id),
    /** Jobs and parts that a worker has. */
    running: () => redis.zrange(`${prefix}running`, "0", "-1"),
    /** Jobs that run, newest first; a whole one also between two of its parts. */
    begun: () => redis.zrevrange(`${prefix}begun`, 0, -1),

    /** Jobs and parts that run or wait before a waiting one; 0 for those that run. */
    async position(id: string): Promise<number | undefined> {
      const rank = await redis.zrank(`${prefix}waiting`, id);
      if (rank !== null) return rank + (await redis.zcard(`${prefix}running`));
      return (await redis.zscore(`${prefix}running`, id)) === null ? undefined : 0;
    },

    async counts(): Promise<Record<JobStatus, number>> {
      const [queued, running, ended] = await Promise.all([
        redis.zcard(`${prefix}waiting`),
        redis.zcard(`${prefix}running`),
        redis.hgetall(`${prefix}ended`),
      ]);
      const counts = jobStatuses.map((status) => [status, Number(ended[status] ?? 0)]);
      return { ...(Object.fromEntries(counts) as Record<JobStatus, number>), queued, running };
    },

    /** Said by a worker now and then. */
    alive: (name: string, lanes: readonly string[]) => script(alive, ALIVE_S, name, JSON.stringify(lanes)),
    async left(name: string): Promise<void> {
      await redis.multi().zrem(`${prefix}workers`, name).hdel(`${prefix}serves`, name).exec();
    },
    async workers(): Promise<readonly WorkerInfo[]> {
      await script(alive, ALIVE_S);
      const [names, serves] = await Promise.all([
        redis.zrange(`${prefix}workers`, "0", "-1"),
        redis.hgetall(`${prefix}serves`),
      ]);
      return names.map((name) => ({ name, lanes: lanesOf(serves[name]) }));
    },
    /** Fails where Redis takes no writes: a full memory, a user who may not. */
    probe: () => script(probe),

    /** The place in the stream of events from which on a reader misses nothing. */
    async lastEvent(): Promise<string> {
      const [last] = await redis.xrevrange(`${prefix}events`, "+", "-", "COUNT", 1);
      return last?.[0] ?? "0-0";
    },
  };
}
