import { hasEnded, type Job, type JobQueue, type LaneState } from "../queue.js";
import { answered } from "./connection.js";
import { recent } from "./recent.js";
import type { Records } from "./records.js";

type Reads = Pick<JobQueue, "get" | "list" | "jobsWith" | "position" | "lanes" | "counts" | "workers"> & {
  readonly recent: NonNullable<JobQueue["recent"]>;
  /** Changes something: whoever asks here afterwards sees at once that it has changed. */
  changing<T>(change: () => Promise<T>): Promise<T>;
};

/** What is asked of a queue. */
export function queueReads(records: Records): Reads {
  const get = async (id: string): Promise<Job | undefined> => {
    const record = await records.read(id);
    return record && records.withProgress(record.job);
  };
  const position = async (id: string): Promise<number | undefined> => {
    const record = await records.read(id);
    if (!record?.job.shards) return records.position(id);
    for (const { id, status } of await records.shards(record.job))
      if (!hasEnded({ status })) return records.position(id);
    return undefined;
  };
  const jobsLately = recent((id) => answered(() => get(id)));
  const listsLately = recent((filter) => answered(() => list(records, JSON.parse(filter))));
  const positionsLately = recent((id) => answered(() => position(id)));
  return {
    recent: {
      get: jobsLately.get,
      list: (filter = {}) => listsLately.get(JSON.stringify(filter)),
      position: positionsLately.get,
    },
    async changing(change) {
      try {
        return await answered(change);
      } finally {
        for (const reads of [jobsLately, listsLately, positionsLately]) reads.forget();
      }
    },
    get: (id) => answered(() => get(id)),
    list: (filter) => answered(() => list(records, filter)),
    position: (id) => answered(() => position(id)),
    jobsWith: (pictures) => answered(() => records.havingPictures(pictures)),
    counts: () => answered(() => records.counts()),
    workers: () => answered(() => records.workers()),
    lanes: () => answered(() => laneStates(records)),
  };
}

async function list(
  records: Records,
  { status, task, among, before, limit = 100 }: Parameters<JobQueue["list"]>[0] = {},
): Promise<readonly Job[]> {
  const onlyRunning = status?.length === 1 && status[0] === "running";
  const ids = among ?? (task === undefined ? undefined : await records.ofTask(task));
  if (onlyRunning && !ids && before === undefined) return runningJobs(records, limit);
  const found: Job[] = [];
  const known = ids && (await newestOf(records, ids, before));
  let from = known || before === undefined ? 0 : ((await records.rank(before)) ?? -1) + 1;
  for (;;) {
    // Every one read is one of the answer, as long as nothing else is asked of them.
    const missing = limit - found.length;
    const count = Math.min(MOST_AT_ONCE, status ? Math.max(50, missing) : missing);
    if (count <= 0) break;
    const page = known ? known.slice(from, from + count) : await records.newest(from, count);
    for (const record of await Promise.all(page.map((id) => records.read(id)))) {
      if (!record || (status && !status.includes(record.job.status))) continue;
      if (task === undefined || record.job.task === task) found.push(record.job);
    }
    if (page.length < count) break;
    from += count;
  }
  return Promise.all(found.slice(0, limit).map((job) => records.withProgress(job)));
}

/** Records that are read at a time, at most. */
const MOST_AT_ONCE = 500;

/** Of these ids, those of jobs that there are, newest first. @param before only older ones */
async function newestOf(
  records: Records,
  ids: readonly string[],
  before: string | undefined,
): Promise<readonly string[]> {
  const unique = [...new Set(ids)];
  const [all, bound] = await Promise.all([
    Promise.all(unique.map(async (id) => ({ id, place: await records.place(id) }))),
    before === undefined ? undefined : records.place(before),
  ]);
  const most = bound ?? Number.POSITIVE_INFINITY;
  return all
    .flatMap(({ id, place }) => (place !== undefined && place < most ? [{ id, place }] : []))
    .sort((a, b) => b.place - a.place)
    .map(({ id }) => id);
}

async function laneStates(records: Records): Promise<readonly LaneState[]> {
  const running = new Map<string, number>();
  for (const record of await Promise.all((await records.running()).map((id) => records.read(id))))
    if (record) running.set(record.job.lane, (running.get(record.job.lane) ?? 0) + 1);
  const [lanes, attempts, lost] = await Promise.all([records.lanes(), records.attempts(), records.lost()]);
  return Promise.all(
    lanes.map(async (lane) => {
      const [waiting, [first]] = await Promise.all([records.waitingIn(lane), records.oldestWaiting(1, lane)]);
      const oldest = first === undefined ? undefined : (await records.read(first))?.job.created;
      return {
        ...{ lane, waiting, running: running.get(lane) ?? 0 },
        ...(oldest !== undefined && { oldest }),
        attempts: Number(attempts[lane] ?? 0),
        lost: Number(lost[lane] ?? 0),
      };
    }),
  );
}

/** Newest first, without a look at all that there are: many ask for it. */
async function runningJobs(records: Records, limit: number): Promise<readonly Job[]> {
  const found = await Promise.all((await records.begun()).map((id) => records.read(id)));
  const jobs = found.flatMap((record) => (record?.job.status === "running" ? [record.job] : []));
  return Promise.all(jobs.slice(0, limit).map((job) => records.withProgress(job)));
}
