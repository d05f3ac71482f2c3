import type { Job } from "./queue/queue.js";

/** What a line of the log is about, for programs; the line itself says it to people. */
export interface LogFields {
  /** Default "info". */
  readonly level?: "info" | "warn" | "error";
  readonly job?: string;
  readonly lane?: string;
  readonly attempt?: number;
  /** Who made the attempt, where it is not the process that says the line. */
  readonly ranBy?: string;
  readonly status?: string;
  readonly durationMs?: number;
}
export type Log = (line: string, fields?: LogFields) => void;

/** A job that has started in this process, or has ended here. */
export interface JobEvent {
  readonly job: Pick<Job, "id" | "lane" | "attempt">;
  readonly status: "started" | Job["status"];
  /** Of one that has ended here, or was given back. */
  readonly durationMs?: number;
}

/** Start and end of a job. */
export const logJobs =
  (log: Log) =>
  ({ job: { id, lane, attempt }, status, durationMs }: JobEvent): void => {
    const took = durationMs === undefined ? "" : ` after ${(durationMs / 1000).toFixed(1)} s`;
    log(`job ${id} (${lane}, attempt ${attempt}): ${status}${took}`, {
      ...{ job: id, lane, attempt, status },
      ...((status === "failed" || status === "lost") && { level: "error" as const }),
      ...(durationMs !== undefined && { durationMs: Math.round(durationMs) }),
    });
  };

/** What a job has met with, in words. */
export const logProblem = (
  log: Log,
  level: "warn" | "error",
  { id, lane, attempt }: JobEvent["job"],
  words: string,
): void => log(`job ${id} (${lane}, attempt ${attempt}): ${words}`, { level, job: id, lane, attempt });

/**
 * Says when something goes away and when it is back: once for each change, however often it is looked at.
 *
 * @returns told what is the matter, undefined when nothing is
 */
export function tellChanges(
  log: Log,
  words: { away(problem: string): string; readonly back: string },
): (problem: string | undefined) => void {
  let since: number | undefined;
  return (problem) => {
    if (problem !== undefined && since === undefined) {
      since = performance.now();
      log(words.away(problem), { level: "warn" });
    }
    if (problem !== undefined || since === undefined) return;
    log(`${words.back} after ${((performance.now() - since) / 1000).toFixed(1)} s`);
    since = undefined;
  };
}
