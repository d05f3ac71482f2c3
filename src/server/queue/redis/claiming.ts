import { randomUUID } from "node:crypto";
import type { Worker } from "bullmq";
import { type Claim, cancelled, type Interruption, type JobQueue } from "../queue.js";
import { createSleepers } from "../sleepers.js";
import { claimOf, type Ends, take } from "./claims.js";
import { problemOf, type Shared } from "./connection.js";
import { bullWorker } from "./deliveries.js";

/** The side of a queue that takes jobs. */
export interface Claiming {
  readonly claim: JobQueue["claim"];
  /** Somebody has added a job to a lane. */
  wake(lane: string): void;
  /** Somebody has cancelled a job, which may run here. */
  cancel(id: string): void;
  /** Somebody wants what there is by now of a job, which may run here. */
  finish(id: string, what: Interruption): void;
  readonly bullWorkers: readonly Worker[];
}

/** @param lanes that jobs are taken from, by turns */
export function claiming(shared: Shared, lanes: readonly string[]): Claiming {
  // How long a job may wait whose addition nobody heard of: of a dead worker, or told while Redis was away.
  const { redis, health, missedMs } = shared;
  const workers = new Map(lanes.map((lane) => [lane, bullWorker(lane, shared)]));
  const sleepers = createSleepers();
  /** Lanes in which nothing was found since somebody last added to them. */
  const empty = new Set<string>();
  const claims = new Map<string, Ends>();
  let turn = 0;
  let forgotten = 0;

  const claimFrom = async (lane: string): Promise<Claim | "again" | undefined> => {
    const token = randomUUID();
    // Until somebody adds to it, which may be while the answer is on its way.
    empty.add(lane);
    const delivery = await workers.get(lane)!.getNextJob(token, { block: false });
    if (!delivery) return undefined;
    const taken = await take(delivery, token, shared);
    empty.delete(lane);
    if (!taken) return "again";
    const ends: Ends = { stop: new AbortController(), interrupt: new AbortController() };
    claims.set(taken.job.id, ends);
    return claimOf(taken, delivery, ends, shared, () => {
      if (claims.get(taken.job.id) === ends) claims.delete(taken.job.id);
    });
  };

  return {
    bullWorkers: [...workers.values()],
    wake(lane) {
      empty.delete(lane);
      sleepers.wake();
    },
    cancel: (id) => claims.get(id)?.stop.abort(cancelled),
    finish: (id, what) => claims.get(id)?.interrupt.abort(what),
    async claim(accepts, signal) {
      for (;;) {
        signal.throwIfAborted();
        turn++;
        if (performance.now() - forgotten >= missedMs) {
          empty.clear();
          forgotten = performance.now();
        }
        let again = false;
        for (let i = 0; i < lanes.length && !signal.aborted; i++) {
          const lane = lanes[(turn + i) % lanes.length]!;
          if (empty.has(lane) || !accepts(lane)) continue;
          const found = await claimFrom(lane).catch((error: unknown) => {
            if (redis.status === "ready") health.obeys(problemOf(error));
            return undefined;
          });
          if (found === "again") again = true;
          else if (found) return found;
        }
        const added = lanes.some((lane) => !empty.has(lane) && accepts(lane));
        if (!again && !added) await sleepers.sleep(signal, missedMs);
      }
    },
  };
}
