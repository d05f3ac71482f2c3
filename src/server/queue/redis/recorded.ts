import { z } from "zod";
import { hasEnded, type Job, type NewJob } from "../queue.js";
import type { Sharded } from "../shards.js";
import { readJson, storedJob } from "../stored-job.js";

/** A job as its record has it. */
export type RecordedJob = Job & Sharded;

/** @param created milliseconds since 1970 */
export const newlyRecorded = (job: NewJob & Sharded, created: number): RecordedJob => ({
  ...job,
  status: "queued",
  attempt: 0,
  created,
});

/** The whole that a part belongs to; any other job is one itself. */
export const rootOf = ({ id, shard }: RecordedJob): string => shard?.of ?? id;

const text = z.string();
const size = z.number().int().min(0);
const waiting = storedJob.extend({
  attended: z.boolean(),
  attempt: size,
  shards: size.max(100_000).optional(),
  shard: z.looseObject({ of: text, index: size }).optional(),
  result: z
    .looseObject({
      images: z.array(z.looseObject({ key: text, width: size, height: size, parameters: text })),
    })
    .optional(),
  error: z.looseObject({ code: text, message: text }).optional(),
});
/** Nobody runs it any more: what an earlier version understood is shown as it was asked. */
const ended = waiting.extend({ request: z.looseObject({ kind: z.enum(["generate", "upscale"]) }) });

/**
 * Reads a job that anybody who reaches the queue may have written.
 *
 * @param id that its record has; absent: any
 * @returns the job, or what is wrong with it. Fields of a request that only a later version knows are nothing wrong:
 *   who runs the job has the last word about them
 */
export function readRecorded(json: string, id?: string): RecordedJob | string {
  const value = readJson(json);
  if (value === undefined) return "it is no JSON";
  const { status } = value as Partial<Job>;
  const { error } = (status && hasEnded({ status }) ? ended : waiting).safeParse(value);
  const wrong = error?.issues.find(({ code }) => code !== "unrecognized_keys");
  if (wrong) return `${wrong.path.join(".")}: ${wrong.message}`;
  const job = value as RecordedJob;
  return id === undefined || job.id === id ? job : "it is that of another job";
}
