import type { Job as Delivery } from "bullmq";
import { logProblem } from "../../log.js";
import type { JobError } from "../queue.js";
import { settle } from "./changes.js";
import type { Shared } from "./connection.js";
import { discard } from "./deliveries.js";
import type { JobRecord, RecordedJob } from "./records.js";

/** How long a job that was passed is left to others before it is looked at again. */
const LEFT_MS = 3000;

/**
 * Leaves a job to others, which may have the file that this process lacks: it is no attempt. When all workers that
 * are alive and take jobs of its lane have passed it, it has failed.
 *
 * @returns false when the record has changed meanwhile
 */
export async function pass(
  record: JobRecord,
  lack: JobError,
  { delivery, token }: { readonly delivery: Delivery; readonly token: string },
  shared: Shared,
): Promise<boolean> {
  const { records, name, log } = shared;
  const { job } = record;
  const first = !job.passedBy?.includes(name);
  const passedBy = first ? [...(job.passedBy ?? []), name] : job.passedBy!;
  const able = (await records.workers()).filter(
    (worker) => worker.lanes.includes(job.lane) && !passedBy.includes(worker.name),
  );
  if (able.length === 0) {
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
