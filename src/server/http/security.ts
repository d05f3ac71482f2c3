import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Context, MiddlewareHandler } from "hono";
import { Refusal } from "../refusal.js";

/** Who may speak to the server. */
export interface Access {
  /** Values of the Host header: "127.0.0.1:7860". Lower case. */
  readonly hosts: () => ReadonlySet<string>;
  /** `user:password` for Basic, only the password for Bearer. Absent: nobody has to say who they are. */
  readonly secret?: string;
}

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Headers of every answer: nothing runs that is not ours, nothing is guessed, nothing is embedded elsewhere. */
const protective: Readonly<Record<string, string>> = {
  "Content-Security-Policy": policy,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cross-Origin-Opener-Policy": "same-origin",
};

export const protectiveHeaders: MiddlewareHandler = async (c, next) => {
  await next();
  for (const [name, value] of Object.entries(protective)) c.res.headers.set(name, value);
  if (!c.res.headers.has("Cache-Control")) c.res.headers.set("Cache-Control", "no-store");
};

/**
 * Only hosts on the list. A page elsewhere can have its own name resolve to 127.0.0.1 (DNS rebinding); the Host
 * header then still says that name.
 */
export const hostCheck =
  (access: Access): MiddlewareHandler =>
  async (c, next) => {
    if (!isOurHost(c.req.header("host"), access))
      throw new Refusal(403, "HOST", "this server does not answer to that host name", {
        hint: "start it with --allow-host <name:port> if the name is yours",
      });
    await next();
  };

const isOurHost = (host: string | undefined, { hosts }: Access): boolean =>
  host !== undefined && hosts().has(host.toLowerCase());

/** Requests that change something must come from our own page, or from a program that is no browser. */
export const originCheck =
  ({ hosts }: Access): MiddlewareHandler =>
  async (c, next) => {
    if (!["GET", "HEAD", "OPTIONS"].includes(c.req.method)) {
      const origin = c.req.header("origin");
      const foreign = origin !== undefined && !isOwnOrigin(origin, hosts());
      const site = c.req.header("sec-fetch-site");
      if (foreign || (site !== undefined && site !== "same-origin" && site !== "none"))
        throw new Refusal(403, "ORIGIN", "requests from other sites are refused");
    }
    await next();
  };

/** Exact: scheme, host and port, and nothing behind; "null" is nobody's. */
function isOwnOrigin(origin: string, hosts: ReadonlySet<string>): boolean {
  let url: URL;
  try {
    url = new URL(origin);
  } catch {
    return false;
  }
  const web = url.protocol === "http:" || url.protocol === "https:";
  return web && url.origin === origin && hosts.has(url.host);
}

/** Basic (as the web UI's `--api-auth`) or Bearer (as OpenAI's clients send it). Only the two for probes are open. */
export const authCheck =
  (access: Access): MiddlewareHandler =>
  async (c, next) => {
    if (!["/health", "/ready"].includes(c.req.path) && !isKnown(c.req.header("authorization"), access))
      throw new Refusal(401, "AUTH", "who are you?", {
        hint: "send the user and password that the server was started with",
        headers: { "WWW-Authenticate": 'Basic realm="tfjs-diffusion", charset="UTF-8"' },
      });
    await next();
  };

/** Who sent a request: the address of the other end, which no header can change. Undefined without a socket. */
export const clientOf = (c: Context): string | undefined =>
  (c.env as { incoming?: IncomingMessage } | undefined)?.incoming?.socket?.remoteAddress;

/** @param authorization the header of that name */
function isKnown(authorization: string | undefined, { secret }: Access): boolean {
  if (secret === undefined) return true;
  const [scheme = "", value = ""] = (authorization ?? "").split(" ");
  if (/^basic$/i.test(scheme)) return same(Buffer.from(value, "base64").toString(), secret);
  if (/^bearer$/i.test(scheme)) return same(value, secret.slice(secret.indexOf(":") + 1));
  return false;
}

/** In constant time, whatever the lengths. */
function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** Bodies are JSON, so that no form of another site can carry one; a few routes take multipart instead. */
export const jsonOnly =
  (multipart: readonly string[]): MiddlewareHandler =>
  async (c, next) => {
    const type = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
    const allowed =
      type === undefined ||
      type === "application/json" ||
      (type === "multipart/form-data" && multipart.includes(c.req.path));
    if (!["GET", "HEAD", "OPTIONS"].includes(c.req.method) && !allowed)
      throw new Refusal(415, "CONTENT_TYPE", `a body of type ${type.slice(0, 60)} is refused`, {
        hint: "send application/json",
      });
    await next();
  };
