import { describe, expect, test } from "vitest";
import { harms, runChaos } from "../../testing/chaos.js";
import { hasRedis } from "../../testing/redis-server.js";

if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

const jobs = 200;

describe.skipIf(!hasRedis)(
  "kill -9, drains, frozen workers and a store that goes away, at random moments",
  () => {
    test(`${jobs} jobs of two models: each ends once, every picture is that of a single run, nothing stalls`, async () => {
      const result = await runChaos({ jobs, seed: 9, patienceMs: 150_000 });
      const statuses: Record<string, number> = {};
      for (const { status } of result.jobs) statuses[status] = (statuses[status] ?? 0) + 1;
      console.info(result.done, "ended", statuses);
      expect(new Set(result.ids).size).toBe(jobs);
      expect(Object.keys(result.done).sort()).toEqual([...harms].sort());
      // At most two attempts: who is unlucky twice has failed, and says so. Most are not.
      expect(statuses.completed).toBeGreaterThan(jobs / 2);
      expect(result.wrong).toEqual([]);
      expect(result.ends).toEqual(result.ids.map(() => 1));
      expect(result.left).toBe(0);
    }, 400_000);
  },
);
