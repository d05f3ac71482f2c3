import type { Redis } from "ioredis";
import type { JobProgress } from "../queue.js";
import { joinProgress } from "../shards.js";
import { readJson } from "../stored-job.js";
import { type RecordedJob, rootOf } from "./recorded.js";

export type ProgressRecords = ReturnType<typeof progressRecords>;

/** After that what a job has left that never ended goes by itself. */
const KEPT_MS = 24 * 3600_000;

/** How far jobs are, beside their records: it changes many times a second, and nobody misses it later. */
export function progressRecords(redis: Redis, prefix: string) {
  const read = async ({ id, shards = 1 }: RecordedJob): Promise<JobProgress | undefined> => {
    const { preview, ...parts } = await redis.hgetall(`${prefix}progress:${id}`);
    const said = Object.values(parts).flatMap((part) => (readJson(part) as JobProgress | undefined) ?? []);
    const joined = joinProgress(said, shards);
    return joined && { ...joined, ...(preview && { preview }) };
  };

  return {
    /** The job, and how far it is while it runs: all parts together. */
    async addedTo(job: RecordedJob): Promise<RecordedJob> {
      const progress = job.status === "running" ? await read(job) : undefined;
      return progress ? { ...job, progress } : job;
    },

    /** Keeps the progress of a job or a part, and tells that of the whole. */
    async tell(job: RecordedJob, { preview, ...progress }: JobProgress): Promise<void> {
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
        .pexpire(key, KEPT_MS)
        .publish(`${prefix}progress`, root)
        .exec();
    },
  };
}
