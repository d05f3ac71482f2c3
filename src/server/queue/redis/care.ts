import { setTimeout as sleep } from "node:timers/promises";
import { problemOf, type Shared } from "./connection.js";
import { redeliver } from "./deliveries.js";
import { lossWatch } from "./durability.js";

/** How long an answer may take before it is said that there is none. */
const SILENCE_MS = 5000;

/**
 * What each process does every few moments: says that it is alive, hands on again what nobody has, and notices what
 * is the matter with Redis.
 *
 * @param lanes that this process takes jobs from
 * @returns what stops it
 */
export function careForQueue(shared: Shared, lanes: readonly string[]): () => void {
  const { lists, workers, redis, lockMs, log, name, health } = shared;
  const watchLoss = lossWatch(lists.order, log);
  let looking = false;
  const look = async () => {
    await watchLoss();
    if (lanes.length > 0) await workers.alive(name, lanes);
    await redeliver(shared);
  };
  const everyMoment = async () => {
    // What was asked before is still on its way: the connection is there, and nobody answers.
    if (redis.status !== "ready" || looking) return;
    looking = true;
    const late = new AbortController();
    void sleep(SILENCE_MS, undefined, { signal: late.signal, ref: false }).then(
      () => health.answers(`no answer in ${SILENCE_MS / 1000} s`),
      () => {},
    );
    try {
      await look();
      health.answers(undefined);
      health.obeys(undefined);
    } catch (error) {
      // A connection that breaks is told by itself.
      if (redis.status === "ready") health.obeys(problemOf(error));
    } finally {
      late.abort();
      looking = false;
    }
  };
  const repair = setInterval(() => void everyMoment(), lockMs / 3);
  repair.unref();
  if (lanes.length > 0) void everyMoment();
  return () => clearInterval(repair);
}
