import { imageKeys, shownKeys } from "../queue/pictures.js";
import { hasEnded, type JobQueue } from "../queue/queue.js";
import type { ImageStore } from "../storage/store.js";

/** Removes those of the pictures that no job has. */
export async function removeUnneeded(
  keys: readonly string[],
  { images, queue }: { readonly images: ImageStore; readonly queue: Pick<JobQueue, "jobsWith"> },
): Promise<void> {
  const needed = await queue.jobsWith(keys);
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
  queue: Pick<JobQueue, "jobsWith">,
  olderThanMs: number,
): Promise<number> {
  if (!images.olderThan) return 0;
  const old = await images.olderThan(olderThanMs);
  if (old.length === 0) return 0;
  const needed = await queue.jobsWith(old);
  const orphans = old.filter((key) => !needed.has(key));
  // One may have been sent again since it was looked at, for a job that is on its way in.
  for (const key of orphans) await images.remove(key, olderThanMs);
  return orphans.length;
}

/** Jobs that are read at a time. */
const PAGE = 200;

/**
 * Forgets jobs that ended long ago, with the pictures that no other job shows. Whoever keeps one picture of a job keeps
 * the job. Several servers on a queue may do so at once: each removes what goes with the jobs that it was first to forget.
 *
 * @param endedBefore milliseconds since 1970
 * @returns how many jobs
 */
export async function forgetOld(
  parts: { readonly images: ImageStore; readonly queue: Pick<JobQueue, "list" | "jobsWith" | "remove"> },
  { endedBefore, favourites }: { readonly endedBefore: number; readonly favourites: readonly string[] },
): Promise<number> {
  const { queue } = parts;
  const isKept = (key: string) => favourites.includes(key);
  // Page by page, and no more of each than is needed: a long history is never in memory as a whole.
  const old: { readonly id: string; readonly pictures: readonly string[] }[] = [];
  for (let before: string | undefined; ; ) {
    const page = await queue.list({ limit: PAGE, ...(before !== undefined && { before }) });
    for (const job of page)
      if (
        hasEnded(job) &&
        (job.finished ?? job.created) < endedBefore &&
        !shownKeys(job).some((key) => isKept(key))
      )
        old.push({ id: job.id, pictures: imageKeys(job).filter((key) => !isKept(key)) });
    if (page.length < PAGE) break;
    before = page.at(-1)!.id;
  }
  let forgotten = 0;
  for (const { id, pictures } of old) {
    if (!(await queue.remove(id))) continue;
    forgotten++;
    await removeUnneeded(pictures, parts);
  }
  return forgotten;
}
