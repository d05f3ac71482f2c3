import type { Redis } from "ioredis";
import type { WorkerInfo } from "../queue.js";
import { readJson } from "../stored-job.js";
import { scriptRunner } from "./scripts.js";
import { alive } from "./upkeep-scripts.js";

export type WorkerRecords = ReturnType<typeof workerRecords>;

/** How long a worker that says nothing counts as alive. */
const ALIVE_S = 30;

/** Who takes jobs, and of which lanes, by what each worker says of itself. */
export function workerRecords(redis: Redis, prefix: string) {
  const script = scriptRunner(redis, prefix);
  return {
    /** Said by a worker now and then. */
    alive: (name: string, lanes: readonly string[]) => script(alive, ALIVE_S, name, JSON.stringify(lanes)),

    async left(name: string): Promise<void> {
      await redis.multi().zrem(`${prefix}workers`, name).hdel(`${prefix}serves`, name).exec();
    },

    /** Those who are alive. */
    async list(): Promise<readonly WorkerInfo[]> {
      await script(alive, ALIVE_S);
      const [names, serves] = await Promise.all([
        redis.zrange(`${prefix}workers`, "0", "-1"),
        redis.hgetall(`${prefix}serves`),
      ]);
      return names.map((name) => ({ name, lanes: lanesOf(serves[name]) }));
    },
  };
}

const lanesOf = (text = "[]"): readonly string[] => {
  const lanes = readJson(text);
  return Array.isArray(lanes) ? lanes.map(String) : [];
};
