import { z } from "zod";
import type { Log } from "../../log.js";
import {
  hasEnded,
  type Job,
  type JobProgress,
  type JobQueue,
  maxAttempts,
  type QueueEvent,
} from "../queue.js";
import { storedJob } from "../stored-job.js";
import { createHistory, type History } from "./history.js";
import { type Journal, openJournal } from "./journal.js";

/** How every job stands: in memory for those who look, in a journal for the next process, told to those who listen. */
export interface Records extends Omit<History, "set" | "delete"> {
  /** True at once for all who look, told to those who listen when it is on disk. */
  change(job: Job): Promise<Job>;
  /** Of a job that runs; not kept on disk. */
  progress(id: string, progress: JobProgress): void;
  /** A new job that could not be written: it has never been there. */
  takeBack(id: string): void;
  /** As `JobQueue`. */
  remove: JobQueue["remove"];
  subscribe: JobQueue["subscribe"];
  tell(event: QueueEvent): void;
  /** By lane, what the processes before had at work when they ended for the last time. */
  readonly lost: ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/**
 * Opens the records of the processes before. What these left unfinished waits again or is lost, and the journal says
 * so before anything else happens.
 *
 * @param path of the journal
 * @throws DiffusionError DISK
 */
export async function openRecords(
  path: string,
  { now, log }: { readonly now: () => number; readonly log: Log },
): Promise<Records> {
  const jobs = createHistory();
  const recovered: Job[] = [];
  const read = (line: unknown) => readLine(line, jobs);
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
  const lost = new Map<string, number>();
  for (const { lane, status } of recovered) if (status === "lost") lost.set(lane, (lost.get(lane) ?? 0) + 1);
  return { ...keepRecords(jobs, journal), lost };
}

const journalLine = z.union([z.object({ removed: z.string() }), z.object({ job: storedJob })]);

/** @returns false for a line that cannot be understood */
function readLine(line: unknown, jobs: History): boolean {
  const entry = journalLine.safeParse(line);
  if (!entry.success) return false;
  if ("removed" in entry.data) jobs.delete(entry.data.removed);
  else jobs.set(entry.data.job as unknown as Job);
  return true;
}

function recover(job: Job, now: number): Job {
  if (!job.attended && job.attempt < maxAttempts) return { ...job, status: "queued" };
  const message = job.attended
    ? "the server stopped while somebody waited for this job"
    : `the server stopped ${job.attempt} times while this job ran`;
  return { ...job, status: "lost", finished: now, error: { code: "LOST", message } };
}

function keepRecords(jobs: History, journal: Journal): Omit<Records, "lost"> {
  const listeners = new Set<(event: QueueEvent) => void>();
  const tell = (event: QueueEvent) => {
    for (const listener of listeners) listener(event);
  };
  const { get, all, list, jobsWith, counts } = jobs;
  return {
    ...{ get, all, list, jobsWith, counts },
    async change({ progress, ...job }) {
      jobs.set(job);
      try {
        await journal.append({ job });
      } finally {
        tell({ type: "status", job });
      }
      return job;
    },
    progress(id, progress) {
      const current = get(id);
      if (current?.status !== "running") return;
      const job = { ...current, progress };
      jobs.set(job);
      tell({ type: "progress", job });
    },
    takeBack: (id) => jobs.delete(id),
    async remove(id) {
      const job = get(id);
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
    tell,
    close: () => journal.close(),
  };
}
