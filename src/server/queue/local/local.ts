import type { Log } from "../../log.js";
import { Refusal } from "../../refusal.js";
import { processName } from "../process-name.js";
import {
  type Claim,
  isNoFault,
  type Job,
  type JobError,
  type JobQueue,
  maxAttempts,
  type Outcome,
} from "../queue.js";
import { createSleepers } from "../sleepers.js";
import { queueReads } from "./reads.js";
import { openRecords, type Records } from "./records.js";
import { createRuns } from "./runs.js";
import { createWaitingLine } from "./waiting-line.js";

export interface LocalQueueOptions {
  /** Jobs that may wait. */
  readonly queued: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** What this process is called in the records of jobs. */
  readonly name?: string;
  readonly log?: Log;
}

/**
 * The queue of one process. Jobs are in memory and, line by line, in a journal: after a crash waiting jobs wait
 * again, and those that ran are tried once more or, when nobody waits for them or they have been tried twice,
 * read as lost.
 *
 * @param path of the journal
 * @throws DiffusionError DISK
 */
export async function openLocalQueue(path: string, options: LocalQueueOptions): Promise<JobQueue> {
  const { queued, now = Date.now, log = () => {}, name = processName() } = options;
  return localQueue(await openRecords(path, { now, log }), { queued, now, name });
}

function localQueue(
  records: Records,
  { queued, now, name }: Required<Pick<LocalQueueOptions, "queued" | "now" | "name">>,
): JobQueue {
  const line = createWaitingLine(
    [...records.all()].flatMap(({ id, status }) => (status === "queued" ? [id] : [])),
  );
  /** Jobs whose first record is on its way to the disk: they have their place, and are not begun yet. */
  const accepting = new Map<string, Promise<Job>>();
  const runs = createRuns();
  /** Those who would take a job, and have found none. */
  const sleepers = createSleepers();
  let closed = false;

  /** Every change may be what somebody waits for: a job that has come, or a lane that is free. */
  const change = async (job: Job): Promise<Job> => {
    try {
      return await records.change(job);
    } finally {
      sleepers.wake();
    }
  };

  const end = (id: string, outcome: Outcome): Promise<Job> => {
    runs.end(id);
    line.leave(id);
    return change({ ...records.get(id)!, ...outcome, finished: now() });
  };

  const giveBack = async ({ id, attempt }: Job, reason: JobError): Promise<Job> => {
    const spent = isNoFault(reason) ? attempt - 1 : attempt;
    if (spent >= maxAttempts) return end(id, { status: "failed", error: reason });
    runs.end(id);
    line.putFirst(id);
    return change({ ...records.get(id)!, status: "queued", attempt: spent });
  };

  const take = async (id: string): Promise<Claim> => {
    const waiting = records.get(id)!;
    line.leave(id);
    const signal = runs.begin(waiting);
    const attempt = waiting.attempt + 1;
    const job: Job = { ...waiting, status: "running", attempt, worker: name, started: now() };
    // Without its line in the journal (a full disk) the job runs all the same: only its attempt would be forgotten.
    await change(job).catch(() => {});
    return {
      job,
      signal,
      heartbeat: async (progress) => records.progress(id, progress),
      finish: (outcome) => end(id, outcome),
      release: (reason) => giveBack(job, reason),
    };
  };

  return {
    ...queueReads({ records, line, runs }),
    async enqueue(job) {
      // A job that is sent twice is accepted twice, or not at all.
      const known = accepting.get(job.id) ?? records.get(job.id);
      if (known) return known;
      if (closed) throw new Refusal(503, "CLOSING", "the server is shutting down");
      if (line.length >= queued)
        throw new Refusal(429, "QUEUE_FULL", `${queued} jobs are waiting already`, {
          hint: "try again later",
          headers: { "Retry-After": "10" },
        });
      line.putLast(job.id);
      const accepted = change({ ...job, status: "queued", attempt: 0, created: now() });
      accepting.set(job.id, accepted);
      try {
        return await accepted;
      } catch (error) {
        line.leave(job.id);
        records.takeBack(job.id);
        throw error;
      } finally {
        accepting.delete(job.id);
        sleepers.wake();
      }
    },
    async claim(accepts, signal) {
      for (;;) {
        signal.throwIfAborted();
        const id = line.find((id) => !accepting.has(id) && accepts(records.get(id)!.lane));
        if (id !== undefined) return take(id);
        await sleepers.sleep(signal);
      }
    },
    async cancel(id) {
      runs.cancel(id);
      return line.has(id) ? end(id, { status: "cancelled" }) : records.get(id);
    },
    async first(id) {
      if (!line.has(id)) return false;
      line.putFirst(id);
      // Those who wait see their new places.
      records.tell({ type: "status", job: records.get(id)! });
      return true;
    },
    remove: records.remove,
    subscribe: records.subscribe,
    async close() {
      closed = true;
      await records.close();
    },
  };
}
