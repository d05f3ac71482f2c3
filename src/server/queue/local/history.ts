import { imageKeys } from "../pictures.js";
import { type Job, type JobFilter, type JobStatus, jobStatuses } from "../queue.js";

/** All jobs of a queue, in the order in which they came. None is looked at but those that are asked for. */
export interface History {
  get(id: string): Job | undefined;
  /** All, oldest first. */
  all(): Iterable<Job>;
  /** As `JobQueue`. */
  list(filter: JobFilter): readonly Job[];
  jobsWith(pictures: readonly string[]): ReadonlyMap<string, readonly string[]>;
  counts(): Readonly<Record<JobStatus, number>>;
  /** A new one, or how a known one stands now. */
  set(job: Job): void;
  delete(id: string): void;
}

/** Places of deleted jobs that are kept free before all others move together. */
const MOST_FREE = 100;

export function createHistory(): History {
  let line: (Job | undefined)[] = [];
  /** Places in the line, by id. */
  const places = new Map<string, number>();
  const byPicture = createIndex();
  const byTask = createIndex();
  const counts = Object.fromEntries(jobStatuses.map((status) => [status, 0])) as Record<JobStatus, number>;

  const get = (id: string): Job | undefined => {
    const place = places.get(id);
    return place === undefined ? undefined : line[place];
  };
  const closeUp = () => {
    line = line.filter((job) => job !== undefined);
    for (const [place, job] of line.entries()) places.set(job!.id, place);
  };
  function* newest(from: number): Generator<Job> {
    for (let place = from; place >= 0; place--) {
      const job = line[place];
      if (job) yield job;
    }
  }
  /** Newest first, of the given ones. */
  const those = (ids: Iterable<string>, from: number): readonly Job[] =>
    [...new Set(ids)]
      .map((id) => places.get(id) ?? -1)
      .filter((place) => place >= 0 && place <= from)
      .sort((a, b) => b - a)
      .map((place) => line[place]!);

  return {
    get,
    *all() {
      for (const job of line) if (job) yield job;
    },
    list({ status, task, among, before, limit = 100 }) {
      const from = (before === undefined ? undefined : places.get(before)) ?? line.length;
      const ids = among ?? (task === undefined ? undefined : byTask.get(task));
      const found: Job[] = [];
      if (limit <= 0) return found;
      for (const job of ids ? those(ids, from - 1) : newest(from - 1)) {
        if ((status && !status.includes(job.status)) || (task !== undefined && job.task !== task)) continue;
        found.push(job);
        if (found.length >= limit) break;
      }
      return found;
    },
    jobsWith: (pictures) =>
      new Map(
        pictures.flatMap((key) => {
          const ids = [...byPicture.get(key)];
          return ids.length > 0 ? [[key, ids]] : [];
        }),
      ),
    counts: () => ({ ...counts }),
    set(job) {
      const place = places.get(job.id) ?? line.length;
      const known = line[place];
      line[place] = job;
      places.set(job.id, place);
      if (known) counts[known.status]--;
      counts[job.status]++;
      if (!known && job.task !== undefined) byTask.add(job.task, job.id);
      if (!known || known.result !== job.result) for (const key of imageKeys(job)) byPicture.add(key, job.id);
    },
    delete(id) {
      const job = get(id);
      if (!job) return;
      line[places.get(id)!] = undefined;
      places.delete(id);
      counts[job.status]--;
      if (job.task !== undefined) byTask.delete(job.task, id);
      for (const key of imageKeys(job)) byPicture.delete(key, id);
      if (line.length - places.size > places.size + MOST_FREE) closeUp();
    },
  };
}

/** Ids by what they are found by, oldest first. */
function createIndex() {
  const ids = new Map<string, Set<string>>();
  return {
    get: (by: string): Iterable<string> => ids.get(by) ?? [],
    add(by: string, id: string): void {
      const known = ids.get(by);
      if (known) known.add(id);
      else ids.set(by, new Set([id]));
    },
    delete(by: string, id: string): void {
      const known = ids.get(by);
      known?.delete(id);
      if (known?.size === 0) ids.delete(by);
    },
  };
}
