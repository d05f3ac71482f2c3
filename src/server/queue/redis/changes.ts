import type { Log } from "../../log.js";
import { hasEnded, type Job } from "../queue.js";
import { joinOutcomes, wholeOf } from "../shards.js";
import type { Shared } from "./connection.js";
import { advance, withdraw } from "./deliveries.js";
import type { RecordedJob } from "./records.js";

/** What is to be done when a job has ended: a part may have been the last one. */
export async function settle(job: RecordedJob, shared: Shared): Promise<void> {
  if (job.shard) await join(job.shard.of, shared);
}

/** Brings the whole to where its parts are. Anybody may do so at any time, any number of times. */
export async function join(id: string, { records, log }: Shared): Promise<void> {
  for (;;) {
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) return;
    const { job } = record;
    const statuses = await records.shardStatuses(job);
    let next: RecordedJob;
    if (statuses.every((status) => hasEnded({ status })))
      next = {
        ...job,
        ...joinOutcomes(await records.shards(job), record.cancel),
        finished: Date.now(),
      };
    else if (job.status === "queued" && statuses.some((status) => status !== "queued"))
      next = { ...job, status: "running", attempt: 1, started: Date.now() };
    else return;
    if (!(await records.move(record, next, ""))) continue;
    if (hasEnded(next)) tellWhole(next, log);
    return;
  }
}

/** Its parts are told by who makes them. */
function tellWhole({ id, lane, status, shards }: RecordedJob, log: Log): void {
  const level = status === "failed" ? "error" : "info";
  log(`job ${id} (${lane}, ${shards} parts): ${status}`, { level, job: id, lane, status });
}

/** A job without a record that can be understood: nobody waits for it any more, and the whole that it is a part of goes on. */
export async function forget(id: string, shared: Shared): Promise<void> {
  await shared.records.forget(id);
  const whole = wholeOf(id);
  if (whole !== undefined) await join(whole, shared);
}

export async function cancel(id: string, shared: Shared): Promise<Job | undefined> {
  const { records } = shared;
  for (;;) {
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) return record?.job;
    const { job } = record;
    if (job.shards) {
      await records.askToCancel(id);
      await Promise.all((await records.shards(job)).map((part) => cancel(part.id, shared)));
      await join(id, shared);
      return (await records.read(id))?.job;
    }
    if (job.status === "running") {
      await records.askToCancel(id);
      return job;
    }
    const next: RecordedJob = { ...job, status: "cancelled", finished: Date.now() };
    if (!(await records.move(record, next, ""))) continue;
    await settle(next, shared);
    await withdraw(job, shared);
    return next;
  }
}

/** Puts a waiting job in front of all others, its parts in their order. A worker of several lanes still takes turns. */
export async function first(id: string, shared: Shared): Promise<boolean> {
  const { records } = shared;
  const record = await records.read(id);
  if (record?.job.status !== "queued") return false;
  const parts = record.job.shards ? await records.shards(record.job) : [record.job];
  let moved = false;
  for (const [i, part] of [...parts.entries()].toReversed()) {
    if (!(await records.first(part.id, i === 0 ? record.job : undefined))) continue;
    await advance(part, shared);
    moved = true;
  }
  return moved;
}

/** What is being made ends as it is by then, what waits is not begun. */
export async function interrupt(id: string, shared: Shared): Promise<void> {
  const { records } = shared;
  const record = await records.read(id);
  if (!record || hasEnded(record.job)) return;
  const { job } = record;
  if (job.shards) await records.askToCancel(id);
  const parts = job.shards ? await records.shards(job) : [job];
  await Promise.all(
    parts.map((part) =>
      part.status === "running" ? records.askToFinish(part.id, "job") : cancel(part.id, shared),
    ),
  );
  if (job.shards) await join(id, shared);
}

/**
 * The part that has been under way for longest ends; a job without parts is all there is.
 *
 * @param keep as it is by then, in place of leaving it out
 */
export async function skip(id: string, keep: boolean, shared: Shared): Promise<void> {
  const record = await shared.records.read(id);
  if (!record || hasEnded(record.job)) return;
  const parts = record.job.shards ? await shared.records.shards(record.job) : [record.job];
  const [first] = parts.filter(({ status }) => status === "running");
  if (!first) return;
  if (keep) await shared.records.askToFinish(first.id, "picture");
  else await cancel(first.id, shared);
}
