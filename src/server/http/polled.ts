import { createHash } from "node:crypto";
import type { Context } from "hono";
import type { Job } from "../queue/queue.js";
import { protective } from "./security.js";

/** An answer that many ask for again and again: made once, sent as it is. */
export interface Polled {
  readonly text: string;
  /** Of its content: servers that share a queue give the same one. */
  readonly tag: string;
  /** Names and values in turn, as node:http sends them without another look; with and without the content's. */
  readonly headers: { readonly whole: readonly string[]; readonly unchanged: readonly string[] };
}

/** The JSON of a value. */
export function polled(value: unknown): Polled {
  const text = JSON.stringify(value);
  const tag = `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"`;
  const always = { ...protective, "Cache-Control": "no-store", ETag: tag };
  const ofContent = {
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(text)),
  };
  const headers = {
    whole: Object.entries({ ...always, ...ofContent }).flat(),
    unchanged: Object.entries(always).flat(),
  };
  return { text, tag, headers };
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
export function sendPolled(c: Context, { text, tag }: Polled): Response {
  if (has(c.req.header("if-none-match"), tag)) return c.body(null, 304, { ETag: tag });
  return c.body(text, 200, { "Content-Type": "application/json", ETag: tag });
}

/** RFC 9110, 13.1.2: weak comparison with each of a list. @param known the header If-None-Match */
export const has = (known: string | undefined, tag: string): boolean =>
  known?.split(",").some((one) => ["*", tag].includes(one.trim().replace(/^W\//, ""))) ?? false;
