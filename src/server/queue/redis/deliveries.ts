import { createHash } from "node:crypto";
import type { Job as Delivery, Queue, Worker } from "bullmq";
import type { Log } from "../../log.js";
import { hasEnded, type Job } from "../queue.js";
import type { Shared } from "./connection.js";

/** BullMQ's names may hold no colon; a queue for each lane lets a worker ask for the models that it has. */
const bullName = (lane: string): string =>
  `${lane.replace(/[^\w.-]+/g, "-")}-${createHash("sha256").update(lane).digest("hex").slice(0, 8)}`;

/** Never a whole number, which BullMQ keeps for its own. */
const deliveryId = (id: string): string => `job-${id}`;

function tellGone(delivery: string, log: Log): void {
  const job = delivery.replace(/^job-/, "");
  log(`job ${job}: whoever ran it is gone; it is handed out again`, { level: "warn", job });
}

function bullQueue(lane: string, shared: Shared): Queue {
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
  worker.on("stalled", (id) => tellGone(id, log));
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
 * ended between the two. Those at the head of each lane are looked at; the others come there. One process looks for
 * all, so that the cost does not grow with their number.
 */
export async function redeliver(shared: Shared): Promise<void> {
  const { records, redis, prefix, lockMs } = shared;
  const looking = `${prefix}looking`;
  const left = await redis.pttl(looking);
  if (left > lockMs) await endOldLocks(left, shared);
  // Shorter than the time between two looks: whoever comes next finds it free.
  if ((await redis.set(looking, "1", "PX", Math.ceil(lockMs / 4), "NX")) === null) return;
  const clockWasSetBack = (await redis.exists(`${prefix}set-back`)) === 1;
  await Promise.all(
    [...(await atTheHead(shared))].map(async (id) => {
      const record = await records.read(id);
      if (!record || hasEnded(record.job)) return;
      const { lane } = record.job;
      const delivery = await bullQueue(lane, shared).getJob(deliveryId(id));
      if (!delivery || (clockWasSetBack && (await isAbandoned(delivery, shared))))
        await deliver(lane, [id], shared);
      // Left to others until a time on the clock of whoever left it: that may be far off.
      else if (record.job.passedBy && (await delivery.isDelayed())) await delivery.promote().catch(() => {});
    }),
  );
}

/** Jobs and parts that run, and the oldest hundred of each lane that wait: no lane hides another one's. */
async function atTheHead({ records, lists }: Shared): Promise<ReadonlySet<string>> {
  const lanes = await lists.lanes();
  const [all, running, ...oldest] = await Promise.all([
    lists.oldestWaiting(100),
    lists.running(),
    ...lanes.map((lane) => lists.oldestWaiting(100, lane)),
  ]);
  for (const [i, ids] of oldest.entries())
    for (const id of ids) {
      const status = (await records.read(id))?.job.status;
      if (status !== "queued") await lists.leaveLane(lanes[i]!, id);
    }
  return new Set([...all, ...running, ...oldest.flat()]);
}

/**
 * Marks in Redis expire on the clock of its machine. When that is set back, they stay for as long as it was: our own
 * shows it, by living for longer than it was ever given. Locks of jobs that run are given their usual time from now
 * on, which the living renew; and for as long as BullMQ's own mark keeps it from looking for stalled jobs, `redeliver`
 * does.
 */
async function endOldLocks(leftMs: number, shared: Shared): Promise<void> {
  const { records, lists, redis, prefix, lockMs } = shared;
  const running = await Promise.all((await lists.running()).map((id) => records.read(id)));
  await Promise.all(
    running.map(async (record) => {
      if (!record) return;
      const delivery = await bullQueue(record.job.lane, shared).getJob(deliveryId(record.job.id));
      // Fails where the lock is another's, who renews it, or is gone.
      await delivery?.extendLock(record.token, lockMs).catch(() => {});
    }),
  );
  // Last: whoever does not come so far leaves all of it to the next one.
  await redis.multi().set(`${prefix}set-back`, "1", "PX", leftMs).del(`${prefix}looking`).exec();
}

/** Takes a delivery back that is out without a lock: BullMQ refuses to remove a locked one. */
async function isAbandoned(delivery: Delivery, { log }: Shared): Promise<boolean> {
  if (!(await delivery.isActive())) return false;
  const removed = await delivery.remove().then(
    () => true,
    () => false,
  );
  if (removed) tellGone(delivery.id!, log);
  return removed;
}

/** Takes back what nobody has taken yet. */
export async function withdraw({ id, lane }: Job, shared: Shared): Promise<void> {
  await (await bullQueue(lane, shared).getJob(deliveryId(id)))?.remove().catch(() => {});
}

/** Lets what nobody has taken yet be the next one of its lane. */
export async function advance({ id, lane }: Job, shared: Shared): Promise<void> {
  const delivery = await bullQueue(lane, shared).getJob(deliveryId(id));
  await delivery?.changePriority({ priority: 0, lifo: true });
}

/** Tells BullMQ that a job is done with. Where its lock is gone, it hands the job out again, and `take` sees it. */
export const discard = async (delivery: Delivery, token: string): Promise<void> => {
  await delivery.moveToCompleted(null, token, false).catch(() => {});
};
