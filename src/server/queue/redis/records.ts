import type { Redis } from "ioredis";
import type { Log } from "../../log.js";
import { hasEnded, type Interruption, type JobStatus, type NewJob } from "../queue.js";
import { type Sharded, shardId } from "../shards.js";
import { foundBy } from "./found-by.js";
import { newlyRecorded, type RecordedJob, readRecorded, rootOf } from "./recorded.js";
import { create, first, move, probe, remove, scriptRunner } from "./scripts.js";
import { setAside } from "./upkeep-scripts.js";

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
 *   where BullMQ has one queue for each lane and knows no whole (lists.ts).
 * - `found-by`, sorted by name: what jobs are found by without a look at the others (found-by.ts), and `findable`, how
 *   far all of them are in it.
 * - `ended`, a hash: how many jobs have ended in which way. BullMQ forgets a job that is done with.
 * - `events`, a stream of about 10,000 entries: each change of a whole job in order, written by the script that makes
 *   it, so that no listener hears of what did not happen. Readers go on from the entry that they had last.
 * - `progress:<id>`, a hash that ends after a day: how far each part is, and the latest preview. It is told on the
 *   channel `progress` and not kept as a change (progress.ts).
 * - `waiting:<lane>`, the same as `waiting` for each lane, and `lanes`, the set of them: so that no lane hides the
 *   others from whoever looks at the oldest, and for numbers of each.
 * - `attempts` and `lost`, hashes: how often a job or part of each lane has begun to run, and how many are lost.
 * - `workers`, sorted by the time at which each last said that it is alive, and `serves`, a hash of the lanes that
 *   each takes jobs from. BullMQ counts connections, which says neither, and needs a command that not every user of
 *   a shared Redis may give (workers.ts).
 * - `probe` and what begins with it: whether Redis takes what an accepted job writes.
 * - `looking`, which ends by itself: one process has just looked for jobs that BullMQ does not know.
 * - `set-back`, which ends by itself: the clock of Redis' machine was set back, and BullMQ's marks outlast their time.
 * - channels: `wake` (a lane has a new job), `cancel` and `finish` (of a job that runs), `progress`. They carry hints; whoever
 *   misses one finds the same in the records a moment later.
 */
export type Records = ReturnType<typeof createRecords>;

/** @param prefix of every key, with a hash tag, so that a cluster keeps them together */
export function createRecords(redis: Redis, prefix: string, log: Log = () => {}) {
  const script = scriptRunner(redis, prefix);

  /** A job without a record, or with one that is set aside: no list has it any more. */
  const forget = (id: string): Promise<number> => script(setAside, id);

  /** @param why it cannot be understood */
  const damaged = async (id: string, why: string): Promise<void> => {
    if ((await forget(id)) !== 1) return;
    const line = `the record of job ${id} cannot be understood (${why}); it is kept as ${prefix}damaged:${id}, and all other jobs go on`;
    log(line, { level: "error", job: id });
  };

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

  return {
    read,
    forget,

    /** A job, and one for each of its parts: all of them, or none. */
    async create(job: NewJob, parts: readonly (NewJob & Sharded)[], limit: number, now: number) {
      const whole = newlyRecorded({ ...job, ...(parts.length > 0 && { shards: parts.length }) }, now);
      const all = [whole, ...parts.map((part) => newlyRecorded(part, now))];
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
      const args = [from.job.status, from.token, job.status, token, JSON.stringify(job)];
      const end = hasEnded(job) ? "ended" : "";
      return (await script(move, job.id, kindOf(job), ...args, end, foundBy(job), rootOf(job))) === 1;
    },

    /** @param whole told to those who listen @returns false for what does not wait */
    first: async (id: string, whole?: RecordedJob): Promise<boolean> =>
      (await script(first, id, whole ? JSON.stringify(whole) : "")) === 1,

    async remove(job: RecordedJob): Promise<boolean> {
      return (await script(remove, job.id, job.status, foundBy(job), ...partIds(job))) === 1;
    },

    /** A part whose record was damaged is lost. */
    async shards(whole: RecordedJob): Promise<readonly RecordedJob[]> {
      const { shards, ...job } = whole;
      const ids = partIds(whole);
      const records = await Promise.all(ids.map(read));
      const error = { code: "DAMAGED", message: "the record of a part could not be understood" };
      return records.map(
        (record, i): RecordedJob => record?.job ?? { ...job, id: ids[i]!, status: "lost", error },
      );
    },

    async shardStatuses(whole: RecordedJob): Promise<readonly JobStatus[]> {
      const pipeline = redis.pipeline();
      for (const id of partIds(whole)) pipeline.hget(`${prefix}job:${id}`, "status");
      return ((await pipeline.exec()) ?? []).map(([, status]) => status as JobStatus);
    },

    async askToCancel(id: string): Promise<void> {
      await redis.hset(`${prefix}job:${id}`, "cancel", "1");
      await redis.publish(`${prefix}cancel`, id);
    },

    async askToFinish(id: string, what: Interruption): Promise<void> {
      await redis.hset(`${prefix}job:${id}`, "finish", what);
      await redis.publish(`${prefix}finish`, JSON.stringify([id, what]));
    },

    /** Fails where Redis takes no writes: a full memory, a user who may not. */
    probe: () => script(probe),
  };
}

const kindOf = ({ shards, shard }: Sharded): "whole" | "part" | "job" =>
  shards ? "whole" : shard ? "part" : "job";

const partIds = ({ id, shards = 0 }: RecordedJob): readonly string[] =>
  Array.from({ length: shards }, (_, i) => shardId(id, i));
