import type { Redis } from "ioredis";
import { type JobStatus, jobStatuses } from "../queue.js";

export type JobLists = ReturnType<typeof jobLists>;

/**
 * The lists in which jobs stand by their ids, and what is counted of them. The scripts that change a record keep them;
 * here they are read.
 */
export function jobLists(redis: Redis, prefix: string) {
  return {
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

    lanes: () => redis.smembers(`${prefix}lanes`),
    waitingIn: (lane: string) => redis.zcard(`${prefix}waiting:${lane}`),
    /** An entry of a lane that says no more than that a process of an earlier version took it. */
    leaveLane: (lane: string, id: string) => redis.zrem(`${prefix}waiting:${lane}`, id),
    /** By lane. */
    attempts: () => redis.hgetall(`${prefix}attempts`),
    lost: () => redis.hgetall(`${prefix}lost`),

    /** How many whole jobs were ever accepted. */
    order: async () => Number((await redis.get(`${prefix}order`)) ?? 0),
    async counts(): Promise<Record<JobStatus, number>> {
      const [queued, running, ended] = await Promise.all([
        redis.zcard(`${prefix}waiting`),
        redis.zcard(`${prefix}running`),
        redis.hgetall(`${prefix}ended`),
      ]);
      const counts = jobStatuses.map((status) => [status, Number(ended[status] ?? 0)]);
      return { ...(Object.fromEntries(counts) as Record<JobStatus, number>), queued, running };
    },
  };
}
