import { createHash } from "node:crypto";
import type { Context } from "hono";
import type { Job } from "./queue/queue.js";
import { protectedResponse, protective } from "./security.js";

/** An answer that many ask for again and again: made once, sent as it is. */
export interface Polled {
  readonly text: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

/** The JSON of a value, with a tag of its content: servers that share a queue give the same one. */
export function polled(value: unknown): Polled {
  const text = JSON.stringify(value);
  const bytes = new TextEncoder().encode(text);
  const headers = {
    ...protective,
    "Cache-Control": "no-store",
    "Content-Type": "application/json",
    ETag: `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`,
  };
  return { text, bytes, headers };
}

/**
 * What is made of a job, once for each of its states: queues replace a job that changes and never write into it.
 * `also` is what else it depends on.
 */
export function perState<T>(make: (job: Job, also?: number) => T): (job: Job, also?: number) => T {
  const made = new WeakMap<Job, { readonly also: number | undefined; readonly value: T }>();
  return (job, also) => {
    const known = made.get(job);
    if (known && known.also === also) return known.value;
    const value = make(job, also);
    made.set(job, { also, value });
    return value;
  };
}

/** Sends it; 304 to clients that have it already (`If-None-Match`). */
export function sendPolled(
  c: Context,
  { bytes, headers }: Polled,
  more: Readonly<Record<string, string>> = {},
): Response {
  const known = c.req.header("if-none-match");
  if (known !== undefined && isAmong(known, headers.ETag!)) {
    const { "Content-Type": _, ...rest } = headers;
    return protectedResponse(null, 304, { ...rest, ...more });
  }
  return protectedResponse(bytes, 200, { ...headers, ...more });
}

/** RFC 9110, 13.1.2: weak comparison with each of a list. */
const isAmong = (list: string, tag: string): boolean =>
  list.split(",").some((one) => ["*", tag].includes(one.trim().replace(/^W\//, "")));
