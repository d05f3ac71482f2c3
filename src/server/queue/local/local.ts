import { z } from "zod";
import type { Log } from "../../log.js";
import { Refusal } from "../../refusal.js";
import { processName } from "../process-name.js";
import {
  type Claim,
  cancelled,
  hasEnded,
  isNoFault,
  type Job,
  type JobQueue,
  type LaneState,
  maxAttempts,
  type NewJob,
  type Outcome,
  type QueueEvent,
} from "../queue.js";
import { storedJob } from "../stored-job.js";
import { createHistory, type History } from "./history.js";
import { type Journal, openJournal } from "./journal.js";

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
  const { now = Date.now, log = () => {}, name = processName() } = options;
  const jobs = createHistory();
  const read = (line: unknown) => {
    const entry = journalLine.safeParse(line);
    if (!entry.success) return false;
    if ("removed" in entry.data) jobs.delete(entry.data.removed);
    else jobs.set(entry.data.job as unknown as Job);
    return true;
  };
  const recovered: Job[] = [];
  const journal = await openJournal(path, read, () => {
    for (const job of jobs.all()) if (!hasEnded(job)) recovered.push(recover(job, now()));
    for (const job of recovered) jobs.set(job);
    return Array.from(jobs.all(), (job) => ({ job }));
  });
  const { damaged, aside } = journal;
  if (aside)
    log(
      `${path}: ${damaged} lines could not be understood; it is kept as ${aside}, and all other jobs go on`,
      { level: "warn" },
    );
  for (const job of recovered) await journal.append({ job });
  /** By lane, what the processes before had at work when they ended for the last time. */
  const lost = new Map<string, number>();
  for (const { lane, status } of recovered) if (status === "lost") lost.set(lane, (lost.get(lane) ?? 0) + 1);
  return localQueue(jobs, journal, { queued: options.queued, now, name, lost });
}

function recover(job: Job, now: number): Job {
  if (!job.attended && job.attempt < maxAttempts) return { ...job, status: "queued" };
  const message = job.attended
    ? "the server stopped while somebody waited for this job"
    : `the server stopped ${job.attempt} times while this job ran`;
  return { ...job, status: "lost", finished: now, error: { code: "LOST", message } };
}

const journalLine = z.union([z.object({ removed: z.string() }), z.object({ job: storedJob })]);

function localQueue(
  jobs: History,
  journal: Journal,
  {
    queued,
    now,
    name,
    lost,
  }: Required<Pick<LocalQueueOptions, "queued" | "now" | "name">> & {
    readonly lost: ReadonlyMap<string, number>;
  },
): JobQueue {
  const waiting: string[] = [];
  for (const { id, status } of jobs.all()) if (status === "queued") waiting.push(id);
  const running = new Map<string, AbortController>();
  /** Jobs whose first line is still on its way to the disk. */
  const accepting = new Set<string>();
  const listeners = new Set<(event: QueueEvent) => void>();
  /** How often a job of each lane has begun in this process. */
  const attempts = new Map<string, number>();
  const sleepers = new Set<() => void>();
  let closed = false;

  const tell = (event: QueueEvent) => {
    for (const listener of listeners) listener(event);
  };
  const wake = () => {
    for (const sleeper of sleepers) sleeper();
  };
  const leaveLine = (id: string) => {
    const at = waiting.indexOf(id);
    if (at >= 0) waiting.splice(at, 1);
  };
  /** True at once for all who look, told to those who listen when it is on disk. */
  const change = async ({ progress, ...job }: Job): Promise<Job> => {
    jobs.set(job);
    try {
      await journal.append({ job });
    } finally {
      tell({ type: "status", job });
      wake();
    }
    return job;
  };
  const end = (id: string, outcome: Outcome): Promise<Job> => {
    running.delete(id);
    leaveLine(id);
    return change({ ...jobs.get(id)!, ...outcome, finished: now() });
  };

  /** Newest first, without a look at all jobs: many ask for it. */
  const runningJobs = (): Job[] =>
    [...running.keys()]
      .map((id) => jobs.get(id)!)
      .reverse()
      .sort((a, b) => b.created - a.created);

  const claimed = (job: Job, stop: AbortController): Claim => ({
    job,
    signal: stop.signal,
    async heartbeat(progress) {
      const current = jobs.get(job.id);
      if (current?.status !== "running") return;
      const updated = { ...current, progress };
      jobs.set(updated);
      tell({ type: "progress", job: updated });
    },
    finish: (outcome) => end(job.id, outcome),
    async release(reason) {
      const attempt = isNoFault(reason) ? job.attempt - 1 : job.attempt;
      if (attempt >= maxAttempts) return end(job.id, { status: "failed", error: reason });
      running.delete(job.id);
      waiting.unshift(job.id);
      return change({ ...jobs.get(job.id)!, status: "queued", attempt });
    },
  });

  const take = async (id: string): Promise<Claim> => {
    const stop = new AbortController();
    leaveLine(id);
    running.set(id, stop);
    const job = jobs.get(id)!;
    attempts.set(job.lane, (attempts.get(job.lane) ?? 0) + 1);
    const taken: Job = { ...job, status: "running", attempt: job.attempt + 1, worker: name, started: now() };
    // Without the line (a full disk) the job runs all the same: only its attempt would be forgotten.
    await change(taken).catch(() => {});
    return claimed(taken, stop);
  };

  return {
    async enqueue(job: NewJob) {
      const known = jobs.get(job.id);
      if (known) return known;
      if (closed) throw new Refusal(503, "CLOSING", "the server is shutting down");
      if (waiting.length >= queued)
        throw new Refusal(429, "QUEUE_FULL", `${queued} jobs are waiting already`, {
          hint: "try again later",
          headers: { "Retry-After": "10" },
        });
      accepting.add(job.id);
      waiting.push(job.id);
      try {
        return await change({ ...job, status: "queued", attempt: 0, created: now() });
      } catch (error) {
        leaveLine(job.id);
        jobs.delete(job.id);
        throw error;
      } finally {
        accepting.delete(job.id);
        wake();
      }
    },
    async get(id) {
      return jobs.get(id);
    },
    async list(filter = {}) {
      const { status, task, among, before, limit = 100 } = filter;
      const onlyRunning = status?.length === 1 && status[0] === "running";
      if (onlyRunning && task === undefined && among === undefined && before === undefined)
        return runningJobs().slice(0, limit);
      return jobs.list(filter);
    },
    jobsWith: async (pictures) => jobs.jobsWith(pictures),
    async position(id) {
      if (running.has(id)) return 0;
      const at = waiting.indexOf(id);
      return at < 0 ? undefined : running.size + at;
    },
    async claim(accepts, signal) {
      for (;;) {
        signal.throwIfAborted();
        const id = waiting.find((id) => !accepting.has(id) && accepts(jobs.get(id)!.lane));
        if (id !== undefined) return take(id);
        await new Promise<void>((resolve) => {
          const woken = () => {
            sleepers.delete(woken);
            signal.removeEventListener("abort", woken);
            resolve();
          };
          sleepers.add(woken);
          signal.addEventListener("abort", woken);
        });
      }
    },
    async cancel(id) {
      running.get(id)?.abort(cancelled);
      return waiting.includes(id) ? end(id, { status: "cancelled" }) : jobs.get(id);
    },
    async first(id) {
      const at = waiting.indexOf(id);
      if (at < 0) return false;
      waiting.unshift(...waiting.splice(at, 1));
      // Those who wait see their new places.
      tell({ type: "status", job: jobs.get(id)! });
      return true;
    },
    async remove(id) {
      const job = jobs.get(id);
      if (!job || !hasEnded(job)) return false;
      jobs.delete(id);
      await journal.append({ removed: id });
      tell({ type: "removed", job });
      return true;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async lanes() {
      const states = new Map<string, LaneState>();
      const fresh = (lane: string): LaneState => ({
        ...{ lane, waiting: 0, running: 0 },
        attempts: attempts.get(lane) ?? 0,
        lost: lost.get(lane) ?? 0,
      });
      for (const lane of new Set([...attempts.keys(), ...lost.keys()])) states.set(lane, fresh(lane));
      const count = (id: string, waits: boolean) => {
        const { lane, created } = jobs.get(id)!;
        const state = states.get(lane) ?? fresh(lane);
        const { waiting, running, oldest = created } = state;
        states.set(
          lane,
          waits
            ? { ...state, waiting: waiting + 1, oldest: Math.min(oldest, created) }
            : { ...state, running: running + 1 },
        );
      };
      for (const id of waiting) count(id, true);
      for (const id of running.keys()) count(id, false);
      return [...states.values()];
    },
    counts: async () => jobs.counts(),
    async close() {
      closed = true;
      await journal.close();
    },
  };
}
