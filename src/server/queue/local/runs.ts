import { cancelled, type Job } from "../queue.js";

/** The jobs that this process runs. */
export interface Runs {
  readonly size: number;
  /** In the order in which they began. */
  ids(): Iterable<string>;
  has(id: string): boolean;
  /** @returns what is aborted when the job is cancelled */
  begin(job: Pick<Job, "id" | "lane">): AbortSignal;
  cancel(id: string): void;
  end(id: string): void;
  /** How often a job of each lane has begun. */
  readonly attempts: ReadonlyMap<string, number>;
}

export function createRuns(): Runs {
  const stops = new Map<string, AbortController>();
  const attempts = new Map<string, number>();
  return {
    get size() {
      return stops.size;
    },
    ids: () => stops.keys(),
    has: (id) => stops.has(id),
    begin({ id, lane }) {
      const stop = new AbortController();
      stops.set(id, stop);
      attempts.set(lane, (attempts.get(lane) ?? 0) + 1);
      return stop.signal;
    },
    cancel: (id) => stops.get(id)?.abort(cancelled),
    end: (id) => void stops.delete(id),
    attempts,
  };
}
