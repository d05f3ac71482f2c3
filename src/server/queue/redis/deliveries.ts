import { createHash } from "node:crypto";
import type { Job as Delivery, Queue, Worker } from "bullmq";
import { hasEnded, type Job } from "../queue.js";
import type { Shared } from "./connection.js";

/** BullMQ's names may hold no colon; a queue for each lane lets a worker ask for the models that it has. */
const bullName = (lane: string): string =>
  `${lane.replace(/[^\w.-]+/g, "-")}-${createHash("sha256").update(lane).digest("hex").slice(0, 8)}`;

/** Never a whole number, which BullMQ keeps for its own. */
const deliveryId = (id: string): string => `job-${id}`;

export function bullQueue(lane: string, shared: Shared): Queue {
  const { bull, redis, prefix, bullQueues } = shared;
  const known = bullQueues.get(lane);
  if (known) return known;
  const queue = new bull.Queue(bullName(lane), { connection: redis, prefix: `${prefix}bull` });
  queue.on("error", () => {});
  bullQueues.set(lane, queue);
  return queue;
}

export function bullWorker(lane: string, { bull, redis, prefix, lockMs, log }: Shared): Worker {
  const worker = new bull.Worker(bullName(lane), null, {
    connection: redis,
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

export async function deliver(lane: string, ids: readonly string[], shared: Shared): Promise<void> {
  const opts = (id: string) => ({ jobId: deliveryId(id), removeOnComplete: true, removeOnFail: true });
  await bullQueue(lane, shared).addBulk(ids.map((id) => ({ name: "job", data: { id }, opts: opts(id) })));
  await shared.redis.publish(`${shared.prefix}wake`, lane);
}

/**
 * Hands jobs to BullMQ that wait or run by their record, and that it does not know: the process that accepted them
 * ended between the two. Those at the head of the line are looked at; the others come there. One process looks for
 * all, so that the cost does not grow with their number.
 */
export async function redeliver(shared: Shared): Promise<void> {
  const { records, redis, prefix, lockMs } = shared;
  await shorten([`${prefix}looking`], lockMs, shared);
  // Shorter than the time between two looks: whoever comes next finds it free.
  if ((await redis.set(`${prefix}looking`, "1", "PX", Math.ceil(lockMs / 4), "NX")) === null) return;
  const running = await records.running();
  await checkClock(running, shared);
  const ids = [...(await records.oldestWaiting(100)), ...running];
  await Promise.all(
    ids.map(async (id) => {
      const record = await records.read(id);
      if (!record || hasEnded(record.job)) return;
      const { lane } = record.job;
      const delivery = await bullQueue(lane, shared).getJob(deliveryId(id));
      if (!delivery) await deliver(lane, [id], shared);
    }),
  );
}

/**
 * Keys that expire do so on the clock of Redis' machine. When that is set back, they would stay for as long as it
 * was: dead workers' locks, and the mark that the stalled have just been looked for.
 */
async function checkClock(running: readonly string[], shared: Shared): Promise<void> {
  const { records, prefix, lockMs } = shared;
  const lanes = new Set(shared.bullQueues.keys());
  const locks: string[] = [];
  for (const record of await Promise.all(running.map((id) => records.read(id)))) {
    if (!record) continue;
    lanes.add(record.job.lane);
    locks.push(`${prefix}bull:${bullName(record.job.lane)}:${deliveryId(record.job.id)}:lock`);
  }
  const marks = [...lanes].map((lane) => `${prefix}bull:${bullName(lane)}:stalled-check`);
  await shorten([...locks, ...marks], lockMs, shared);
}

/** Keys that would stay for more than so many milliseconds stay for just as many. */
async function shorten(keys: readonly string[], mostMs: number, { redis }: Shared): Promise<void> {
  const left = await Promise.all(keys.map((key) => redis.pttl(key)));
  await Promise.all(keys.map((key, i) => left[i]! > mostMs && redis.pexpire(key, mostMs)));
}

/** Takes back what nobody has taken yet. */
export async function withdraw({ id, lane }: Job, shared: Shared): Promise<void> {
  await (await bullQueue(lane, shared).getJob(deliveryId(id)))?.remove().catch(() => {});
}

/** Tells BullMQ that a job is done with. Where its lock is gone, it hands the job out again, and `take` sees it. */
export const discard = async (delivery: Delivery, token: string): Promise<void> => {
  await delivery.moveToCompleted(null, token, false).catch(() => {});
};
