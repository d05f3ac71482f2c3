import { hasEnded, type Job, type JobQueue } from "../queue/queue.js";
import { pictureKeys } from "../requests/request.js";
import type { ImageStore } from "../storage/store.js";

const shownKeys = ({ result }: Pick<Job, "result">): string[] => result?.images.map(({ key }) => key) ?? [];

/** What a job shows and starts from. */
export const imageKeys = (job: Pick<Job, "request" | "result">): string[] => [
  ...pictureKeys(job.request),
  ...shownKeys(job),
];

/** Keys of the pictures of all jobs that the queue knows. */
export async function neededKeys(queue: Pick<JobQueue, "list">): Promise<Set<string>> {
  const jobs = await queue.list({ limit: Number.MAX_SAFE_INTEGER });
  return new Set(jobs.flatMap(imageKeys));
}

/** Removes the pictures that no job has. */
export async function removeUnneeded(
  keys: readonly string[],
  { images, queue }: { readonly images: ImageStore; readonly queue: Pick<JobQueue, "list"> },
): Promise<void> {
  const needed = await neededKeys(queue);
  for (const key of keys) if (!needed.has(key)) await images.remove(key);
}

/**
 * Removes what no job shows any more: pictures of requests that were refused or of a server that was killed.
 *
 * @param olderThanMs younger ones may belong to a job that is on its way in, or runs
 * @returns how many
 */
export async function sweep(
  images: ImageStore,
  queue: Pick<JobQueue, "list">,
  olderThanMs: number,
): Promise<number> {
  if (!images.olderThan) return 0;
  const old = await images.olderThan(olderThanMs);
  if (old.length === 0) return 0;
  const needed = await neededKeys(queue);
  const orphans = old.filter((key) => !needed.has(key));
  for (const key of orphans) await images.remove(key);
  return orphans.length;
}

/**
 * Forgets jobs that ended long ago, with the pictures that no other job shows. Whoever keeps one picture of a job keeps
 * the job. Several servers on a queue may do so at once: each removes what goes with the jobs that it was first to forget.
 *
 * @param endedBefore milliseconds since 1970
 * @returns how many jobs
 */
export async function forgetOld(
  parts: { readonly images: ImageStore; readonly queue: Pick<JobQueue, "list" | "remove"> },
  { endedBefore, favourites }: { readonly endedBefore: number; readonly favourites: readonly string[] },
): Promise<number> {
  const { queue } = parts;
  const isKept = (key: string) => favourites.includes(key);
  const old = (await queue.list({ limit: Number.MAX_SAFE_INTEGER })).filter(
    (job) =>
      hasEnded(job) &&
      (job.finished ?? job.created) < endedBefore &&
      !shownKeys(job).some((key) => isKept(key)),
  );
  const forgotten: Job[] = [];
  for (const job of old) if (await queue.remove(job.id)) forgotten.push(job);
  if (forgotten.length > 0)
    await removeUnneeded(
      [...new Set(forgotten.flatMap(imageKeys))].filter((key) => !isKept(key)),
      parts,
    );
  return forgotten.length;
}
