import { setTimeout as sleep } from "node:timers/promises";
import type { Job as Delivery } from "bullmq";
import { Refusal } from "../../refusal.js";
import {
  type Claim,
  cancelled,
  hasEnded,
  isNoFault,
  type Job,
  type JobError,
  type JobProgress,
  maxAttempts,
  type Outcome,
} from "../queue.js";
import { forget, join, settle } from "./changes.js";
import type { Shared } from "./connection.js";
import { discard } from "./deliveries.js";
import { isLeftAlone, pass } from "./passing.js";
import type { JobRecord, RecordedJob } from "./records.js";

/**
 * Makes a delivery a claim: the record says who runs the job from now on. Undefined when there is nothing to run:
 * the job has ended already, was cancelled, or has been tried too often.
 */
export async function take(
  delivery: Delivery,
  token: string,
  shared: Shared,
): Promise<JobRecord | undefined> {
  const { records, name } = shared;
  for (;;) {
    const id = String(delivery.data.id);
    const record = await records.read(id);
    if (!record || hasEnded(record.job)) {
      if (record) await settle(record.job, shared);
      else await forget(id, shared);
      await discard(delivery, token);
      return undefined;
    }
    // The answer to an earlier attempt was lost with the connection.
    if (record.token === token && record.job.status === "running") return record;
    const { job } = record;
    const lack = record.cancel ? undefined : await shared.lacking(job.request);
    if (lack && !(lack.dispensable && (await isLeftAlone(job, shared)))) {
      if (await pass(record, lack, { delivery, token }, shared)) return undefined;
      continue;
    }
    const spent = job.attempt >= maxAttempts;
    const next: RecordedJob =
      record.cancel || record.finish === "job"
        ? { ...job, status: "cancelled", finished: Date.now() }
        : spent
          ? { ...job, status: "lost", finished: Date.now(), error: lost(job) }
          : { ...job, status: "running", attempt: job.attempt + 1, worker: name, started: Date.now() };
    if (!(await records.move(record, next, token))) continue;
    if (next.status === "lost") tellLost(next, shared);
    if (hasEnded(next)) continue;
    if (next.shard) await join(next.shard.of, shared);
    return { ...record, job: next, token };
  }
}

/** Nobody has been there to say how it ended. */
function tellLost({ id, lane, attempt, worker, status }: Job, { log }: Shared): void {
  log(`job ${id} (${lane}, attempt ${attempt}): lost; it last ran on ${worker ?? "an unknown worker"}`, {
    ...{ level: "error", job: id, lane, attempt, status },
    ...(worker !== undefined && { ranBy: worker }),
  });
}

const lost = (job: Job): JobError => ({
  code: "LOST",
  message: `the worker was lost ${job.attempt} times while this job ran`,
});

/** The ways in which others end a claim. */
export interface Ends {
  /** It was cancelled, or lost. */
  readonly stop: AbortController;
  /** What there is by then is wanted. */
  readonly interrupt: AbortController;
}

export function claimOf(
  record: JobRecord,
  delivery: Delivery,
  { stop, interrupt }: Ends,
  shared: Shared,
  ended: () => void,
): Claim {
  const { records, lockMs } = shared;
  const { job, token } = record;
  let asking = false;
  const renewal = setInterval(async () => {
    if (asking) return;
    asking = true;
    try {
      await delivery.extendLock(token, lockMs).catch(() => 0);
      const now = await records.read(job.id);
      if (!now || now.token !== token) stop.abort(claimLost);
      else if (now.cancel) stop.abort(cancelled);
      else if (now.finish) interrupt.abort(now.finish);
    } catch {
      // Redis is away. The job goes on; whether it still is ours shows when it is back.
    } finally {
      asking = false;
    }
  }, lockMs / 3);
  let latest: JobProgress | undefined;
  let said: JobProgress | undefined;
  let telling: Promise<void> | undefined;
  const tell = async () => {
    while (latest) {
      await sleep(PROGRESS_MS);
      const next = latest;
      latest = undefined;
      if (next) await shared.progress.tell(job, next);
    }
  };
  const close = () => {
    clearInterval(renewal);
    latest = undefined;
    ended();
  };
  /** The whole goes on, and shows the pictures of a part that has ended. */
  const tellPart = async ({ result }: Outcome): Promise<void> => {
    latest = undefined;
    if (!job.shard || !said || !result) return;
    await shared.progress.tell(job, { ...said, share: 1, finished: result.images });
  };
  const finish = async (outcome: Outcome): Promise<Job> => {
    const done: RecordedJob = { ...job, ...outcome, finished: Date.now() };
    try {
      // Redis carries out one after the other, and writes to disk once for both.
      const moving = records.move(record, done, token);
      const discarded = discard(delivery, token);
      const moved = await moving;
      // A hint, no more: who has missed it reads the result when the whole has ended.
      if (moved) await tellPart(outcome).catch(() => {});
      // Somebody else may have it by now: then nothing of this run is shown.
      const shown = moved ? done : (await records.read(job.id))?.job;
      if (shown && hasEnded(shown)) await settle(shown, shared);
      await discarded;
      return shown ?? done;
    } finally {
      close();
    }
  };
  return {
    job,
    signal: stop.signal,
    interrupted: interrupt.signal,
    async heartbeat(progress) {
      latest = progress;
      said = progress;
      telling ??= tell()
        .catch(() => {})
        .finally(() => {
          telling = undefined;
        });
      await telling;
    },
    finish,
    async release(reason) {
      const attempt = isNoFault(reason) ? job.attempt - 1 : job.attempt;
      if (attempt >= maxAttempts) return finish({ status: "failed", error: reason });
      const back: RecordedJob = { ...job, status: "queued", attempt };
      try {
        if (!(await records.move(record, back, ""))) return (await records.read(job.id))?.job ?? back;
        await delivery.moveToWait(token).catch(() => {});
        await shared.redis.publish(`${shared.prefix}wake`, job.lane);
        return back;
      } finally {
        close();
      }
    },
  };
}

/** How long progress is gathered before it is told: steps may be shorter, and those who look on see no more. */
const PROGRESS_MS = 50;

/** The reason of a claim's signal when another worker has the job. */
const claimLost = new Refusal(409, "CLAIM_LOST", "another worker has taken the job over");
