import { Refusal } from "../../refusal.js";
import { hasEnded, type Job, type NewJob } from "../queue.js";
import { splitJob } from "../shards.js";
import { cancel } from "./changes.js";
import type { Shared } from "./connection.js";
import { deliver } from "./deliveries.js";

/**
 * Accepts a job for good, or not at all.
 *
 * @param wanted whether the client still waits for the answer; asked before the job is made, and after
 * @throws Refusal 429
 */
export async function accept(
  job: NewJob,
  limit: number,
  shared: Shared,
  wanted: () => boolean,
): Promise<Job> {
  const { records } = shared;
  const known = await records.read(job.id);
  if (known) return known.job;
  if (!wanted()) throw new Refusal(503, "QUEUE", "the client has been told that the queue does not answer");
  const { job: accepted, parts, answer } = await records.create(job, splitJob(job), limit, Date.now());
  if (answer === 0) return (await records.read(job.id))!.job;
  if (answer < 0)
    throw new Refusal(429, "QUEUE_FULL", `${limit} jobs are waiting already`, {
      hint: "try again later",
      headers: { "Retry-After": "10" },
    });
  if (!wanted()) {
    const ended = await cancel(job.id, shared);
    if (ended && hasEnded(ended)) await records.remove({ ...accepted, ...ended });
    return accepted;
  }
  // From here on the job is accepted; should this process end now, `redeliver` does the rest.
  await deliver(
    job.lane,
    parts.map(({ id }) => id),
    shared,
  );
  return accepted;
}
