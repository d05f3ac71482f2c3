import { hasEnded, type Job, type JobQueue, type LaneState } from "../queue.js";
import { answered, type Shared } from "./connection.js";
import type { JobLists } from "./lists.js";
import { recent } from "./recent.js";

type Reads = Pick<JobQueue, "get" | "list" | "jobsWith" | "position" | "lanes" | "counts" | "workers"> & {
  readonly recent: NonNullable<JobQueue["recent"]>;
  /** Changes something: whoever asks here afterwards sees at once that it has changed. */
  changing<T>(change: () => Promise<T>): Promise<T>;
};

/** Where the answers stand. */
type Known = Pick<Shared, "records" | "found" | "lists" | "progress" | "workers">;

/** What is asked of a queue. */
export function queueReads(known: Known): Reads {
  const { records, found, lists, progress, workers } = known;
  const get = async (id: string): Promise<Job | undefined> => {
    const record = await records.read(id);
    return record && progress.addedTo(record.job);
  };
  const position = async (id: string): Promise<number | undefined> => {
    const record = await records.read(id);
    if (!record?.job.shards) return lists.position(id);
    for (const { id, status } of await records.shards(record.job))
      if (!hasEnded({ status })) return lists.position(id);
    return undefined;
  };
  const jobsLately = recent((id) => answered(() => get(id)));
  const listsLately = recent((filter) => answered(() => list(known, JSON.parse(filter))));
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
    list: (filter) => answered(() => list(known, filter)),
    position: (id) => answered(() => position(id)),
    jobsWith: (pictures) => answered(() => found.havingPictures(pictures)),
    counts: () => answered(() => lists.counts()),
    workers: () => answered(() => workers.list()),
    lanes: () => answered(() => laneStates(known)),
  };
}

async function list(
  known: Known,
  { status, task, among, before, limit = 100 }: Parameters<JobQueue["list"]>[0] = {},
): Promise<readonly Job[]> {
  const { records, found, lists, progress } = known;
  const onlyRunning = status?.length === 1 && status[0] === "running";
  const ids = among ?? (task === undefined ? undefined : await found.ofTask(task));
  if (onlyRunning && !ids && before === undefined) return runningJobs(known, limit);
  const jobs: Job[] = [];
  const only = ids && (await newestOf(lists, ids, before));
  let from = only || before === undefined ? 0 : ((await lists.rank(before)) ?? -1) + 1;
  for (;;) {
    // Every one read is one of the answer, as long as nothing else is asked of them.
    const missing = limit - jobs.length;
    const count = Math.min(MOST_AT_ONCE, status ? Math.max(50, missing) : missing);
    if (count <= 0) break;
    const page = only ? only.slice(from, from + count) : await lists.newest(from, count);
    for (const record of await Promise.all(page.map((id) => records.read(id)))) {
      if (!record || (status && !status.includes(record.job.status))) continue;
      if (task === undefined || record.job.task === task) jobs.push(record.job);
    }
    if (page.length < count) break;
    from += count;
  }
  return Promise.all(jobs.slice(0, limit).map((job) => progress.addedTo(job)));
}

/** Records that are read at a time, at most. */
const MOST_AT_ONCE = 500;

/** Of these ids, those of jobs that there are, newest first. @param before only older ones */
async function newestOf(
  lists: JobLists,
  ids: readonly string[],
  before: string | undefined,
): Promise<readonly string[]> {
  const unique = [...new Set(ids)];
  const [all, bound] = await Promise.all([
    Promise.all(unique.map(async (id) => ({ id, place: await lists.place(id) }))),
    before === undefined ? undefined : lists.place(before),
  ]);
  const most = bound ?? Number.POSITIVE_INFINITY;
  return all
    .flatMap(({ id, place }) => (place !== undefined && place < most ? [{ id, place }] : []))
    .sort((a, b) => b.place - a.place)
    .map(({ id }) => id);
}

async function laneStates({ records, lists }: Known): Promise<readonly LaneState[]> {
  const running = new Map<string, number>();
  for (const record of await Promise.all((await lists.running()).map((id) => records.read(id))))
    if (record) running.set(record.job.lane, (running.get(record.job.lane) ?? 0) + 1);
  const [lanes, attempts, lost] = await Promise.all([lists.lanes(), lists.attempts(), lists.lost()]);
  return Promise.all(
    lanes.map(async (lane) => {
      const [waiting, [first]] = await Promise.all([lists.waitingIn(lane), lists.oldestWaiting(1, lane)]);
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
async function runningJobs({ records, lists, progress }: Known, limit: number): Promise<readonly Job[]> {
  const found = await Promise.all((await lists.begun()).map((id) => records.read(id)));
  const jobs = found.flatMap((record) => (record?.job.status === "running" ? [record.job] : []));
  return Promise.all(jobs.slice(0, limit).map((job) => progress.addedTo(job)));
}
