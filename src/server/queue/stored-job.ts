import { z } from "zod";
import { storedRequest } from "../requests/request.js";
import { type Job, jobStatuses } from "./queue.js";

/** A job as a journal or a record keeps it. What came with it in another version is let through. */
export const storedJob = z.looseObject({
  id: z.string(),
  lane: z.string(),
  status: z.enum(jobStatuses),
  attempt: z.number(),
  created: z.number(),
  request: storedRequest,
});

/** As much of the same as can be looked at for each job of a list. */
export function readJob(id: string, text: string): Job | undefined {
  const job = readJson(text) as Partial<Job> | undefined;
  const whole =
    job?.id === id &&
    typeof job.lane === "string" &&
    jobStatuses.some((status) => status === job.status) &&
    typeof job.request?.kind === "string";
  return whole ? (job as Job) : undefined;
}

/** Undefined for what is no JSON. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}
