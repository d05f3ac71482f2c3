import { createHash } from "node:crypto";
import type { Context } from "hono";

/** An answer that clients ask for again and again. */
export interface Polled {
  readonly text: string;
  /** Of its content: servers that share a queue give the same one. */
  readonly tag: string;
}

/** The JSON of a value. */
export function polled(value: unknown): Polled {
  const text = JSON.stringify(value);
  return { text, tag: `"${createHash("sha256").update(text).digest("base64url").slice(0, 22)}"` };
}

/** Sends it; 304 to clients that have it already (`If-None-Match`). */
export function sendPolled(c: Context, { text, tag }: Polled): Response {
  if (has(c.req.header("if-none-match"), tag)) return c.body(null, 304, { ETag: tag });
  return c.body(text, 200, { "Content-Type": "application/json", ETag: tag });
}

/** RFC 9110, 13.1.2: weak comparison with each of a list. @param known the header If-None-Match */
const has = (known: string | undefined, tag: string): boolean =>
  known?.split(",").some((one) => ["*", tag].includes(one.trim().replace(/^W\//, ""))) ?? false;
