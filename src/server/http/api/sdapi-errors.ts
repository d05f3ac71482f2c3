import type { Context } from "hono";
import type { z } from "zod";
import { problemsOf } from "../../../expectations.js";
import { publicRefusalOf } from "../../refusal.js";
import { badJson } from "./native.js";

/** A body by its schema; what does not fit is told as FastAPI tells it. */
export async function read<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const body: unknown = await c.req.json().catch(badJson);
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new Invalid(
    problemsOf(result.error, body).map(({ message }, i) => {
      const { path, code } = result.error.issues[i]!;
      return { loc: ["body", ...path], msg: message, type: code };
    }),
  );
}

/**
 * The body as it came, and its fields that the schema has no word for: the web UI ignores them, and so do we, but not in
 * silence.
 */
export async function sentFields(c: Context, schema: z.ZodObject) {
  const sent: Record<string, unknown> = await c.req.json().catch(badJson);
  return { sent, fields: Object.keys(sent).filter((name) => !(name in schema.shape)) };
}

class Invalid extends Error {
  readonly issues: readonly object[];
  constructor(issues: readonly object[]) {
    super("invalid body");
    this.issues = issues;
  }
}

/** The web UI's words for whatever is wrong with a picture. */
const INVALID = "Invalid encoded image";

/** Errors as the web UI words them. */
export function sdapiError(error: unknown, c: Context): Response {
  if (error instanceof Invalid)
    return c.json({ error: "RequestValidationError", detail: error.issues, body: "", errors: "" }, 422);
  const { status, code, message, hint, headers } = publicRefusalOf(error);
  // What is wrong with a picture's bytes is a 500 in this API.
  const shown = code === "BAD_IMAGE" ? 500 : status;
  // Its own words come first, for clients that look for them.
  const isOther = code === "BAD_IMAGE" && message !== INVALID;
  const detail = isOther ? `${INVALID}: ${message}` : message;
  const body = { error: "HTTPException", detail, body: "", errors: hint ? `${message}; ${hint}` : message };
  return c.json(body, shown as 500, headers);
}
