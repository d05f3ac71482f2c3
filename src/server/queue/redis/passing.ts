import type { Job as Delivery } from "bullmq";
import { logProblem } from "../../log.js";
import type { Lack } from "../queue.js";
import { settle } from "./changes.js";
import type { Shared } from "./connection.js";
import { discard } from "./deliveries.js";
import type { JobRecord, RecordedJob } from "./records.js";

/** How long a job that was passed is left to others before it is looked at again. */
const LEFT_MS = 3000;

/** Whether all others that are alive and take jobs of its lane have passed it. */
export async function isLeftAlone(
  { lane, passedBy = [] }: Pick<RecordedJob, "lane" | "passedBy">,
  { workers, name }: Pick<Shared, "workers" | "name">,
): Promise<boolean> {
  const all = await workers.list();
  return all.every(
    (worker) => worker.name === name || !worker.lanes.includes(lane) || passedBy.includes(worker.name),
  );
}

/**
 * Leaves a job to others, which may have the file that this process lacks: it is no attempt. When all workers that
 * are alive and take jobs of its lane have passed it, it has failed.
 *
 * @returns false when the record has changed meanwhile
 */
export async function pass(
  record: JobRecord,
  { error: lack }: Lack,
  { delivery, token }: { readonly delivery: Delivery; readonly token: string },
  shared: Shared,
): Promise<boolean> {
  const { records, name, log } = shared;
  const { job } = record;
  const first = !job.passedBy?.includes(name);
  const passedBy = first ? [...(job.passedBy ?? []), name] : job.passedBy!;
  if (await isLeftAlone({ ...job, passedBy }, shared)) {
    const failed: RecordedJob = {
      ...{ ...job, passedBy, worker: name, status: "failed", error: lack },
      finished: Date.now(),
    };
    if (!(await records.move(record, failed, token))) return false;
    logProblem(log, "error", job, `failed: ${lack.message}; no other worker has it`);
    await settle(failed, shared);
    await discard(delivery, token);
    return true;
  }
  if (first || job.status !== "queued") {
    if (!(await records.move(record, { ...job, passedBy, status: "queued" }, ""))) return false;
    logProblem(log, "warn", job, `${lack.message}; it is left to other workers`);
  }
  await delivery.moveToDelayed(Date.now() + LEFT_MS, token).catch(() => {});
  return true;
}
