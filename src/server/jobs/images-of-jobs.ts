import type { Job, JobQueue } from "../queue/queue.js";
import { pictureKeys } from "../requests/request.js";
import type { ImageStore } from "../storage/store.js";

/** What a job shows and starts from. */
export const imageKeys = ({ request, result }: Pick<Job, "request" | "result">): string[] => [
  ...pictureKeys(request),
  ...(result?.images.map(({ key }) => key) ?? []),
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
