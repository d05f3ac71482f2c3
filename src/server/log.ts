import type { JobEvent } from "./jobs/jobs.js";

/** What a line of the log is about, for programs; the line itself says it to people. */
export interface LogFields {
  readonly job?: string;
  readonly lane?: string;
  readonly attempt?: number;
  readonly status?: string;
  readonly durationMs?: number;
}
export type Log = (line: string, fields?: LogFields) => void;

/** Start and end of a job. */
export const logJobs =
  (log: Log) =>
  ({ job: { id, lane, attempt }, status, durationMs }: JobEvent): void => {
    const took = durationMs === undefined ? "" : ` after ${(durationMs / 1000).toFixed(1)} s`;
    log(`job ${id} (${lane}, attempt ${attempt}): ${status}${took}`, {
      ...{ job: id, lane, attempt, status },
      ...(durationMs !== undefined && { durationMs: Math.round(durationMs) }),
    });
  };
