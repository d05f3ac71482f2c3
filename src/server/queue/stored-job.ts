import { z } from "zod";
import { storedRequest } from "../requests/request.js";
import { jobStatuses } from "./queue.js";

/** A job as a journal or a record keeps it. What came with it in another version is let through. */
export const storedJob = z.looseObject({
  id: z.string(),
  lane: z.string(),
  status: z.enum(jobStatuses),
  attempt: z.number(),
  created: z.number(),
  request: storedRequest,
});

/** Undefined for what is no JSON. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}
