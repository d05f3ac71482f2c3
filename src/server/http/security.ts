import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Context, MiddlewareHandler } from "hono";
import { Refusal } from "../refusal.js";
import { Logins } from "./logins.js";

/** Who may speak to the server. */
export interface Access {
  /** Values of the Host header: "127.0.0.1:7860". Lower case. */
  readonly hosts: () => ReadonlySet<string>;
  /** `user:password` for Basic, only the password for Bearer. Without it and `token` nobody has to say who they are. */
  readonly secret?: string;
  /** In its place: in the URL that the page is opened by, in a cookie from then on; a password for programs. */
  readonly token?: string;
  /** For failed logins. */
  readonly log: (line: string) => void;
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
    // Node takes the first of two; what stands in between may have looked at the other one.
    if (hostHeaders(c) > 1) throw new Refusal(400, "HOST", "the request names more than one host");
    if (!isOurHost(c.req.header("host"), access))
      throw new Refusal(403, "HOST", "this server does not answer to that host name", {
        hint: "start it with --allow-host <name:port> if the name is yours",
      });
    await next();
  };

const hostHeaders = (c: Context): number => {
  const { rawHeaders = [] } = incomingOf(c) ?? {};
  return rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === "host").length;
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
  const usual = { "http:": ":80", "https:": ":443" }[url.protocol];
  if (usual === undefined) return false;
  // The usual port goes without saying, in an origin as in the names that the server answers to.
  const spellings = url.port === "" ? [url.host, url.host + usual] : [url.host];
  const isExact = spellings.some((host) => `${url.protocol}//${host}` === origin);
  return isExact && spellings.some((host) => hosts.has(host));
}

/**
 * Basic (as the web UI's `--api-auth`) or Bearer (as OpenAI's clients send it), or the token of the page's URL. Only the
 * two for probes are open.
 */
export function authCheck(access: Access): MiddlewareHandler {
  const logins = new Logins(access);
  return async (c, next) => {
    if (["/health", "/ready"].includes(c.req.path) || (access.secret ?? access.token) === undefined)
      return next();
    const sent = sentBy(c, access);
    const isKnown =
      sent.length > 0 &&
      (await logins.check(clientOf(c) ?? "nowhere", () => sent.some((isRight) => isRight())));
    if (!isKnown) throw unknown(access);
    if (access.token === undefined || c.req.query("token") === undefined || c.req.method !== "GET")
      return next();
    // Out of the address line and the history, into a cookie that no script sees.
    c.header("Set-Cookie", `${cookieName(c)}=${access.token}; Path=/; HttpOnly; SameSite=Strict`);
    return c.redirect(c.req.path, 303);
  };
}

const unknown = ({ secret }: Access): Refusal =>
  secret === undefined
    ? new Refusal(401, "AUTH", "this server wants the token of its URL", {
        hint: "open the whole URL that it printed when it was started; programs send its token as a Bearer token or as the password",
        headers: { "WWW-Authenticate": "Bearer" },
      })
    : new Refusal(401, "AUTH", "who are you?", {
        hint: "send the user and password that the server was started with",
        headers: { "WWW-Authenticate": 'Basic realm="tfjs-diffusion", charset="UTF-8"' },
      });

/** Cookies know no ports: two servers of one machine must not take each other's. */
const cookieName = (c: Context): string => `tfjs-diffusion-${new URL(c.req.url).port || "80"}`;

/** Ways in which a request says who sends it, each to be looked at. */
function sentBy(c: Context, access: Access): (() => boolean)[] {
  const authorization = c.req.header("authorization");
  const { token } = access;
  const cookie = token === undefined ? undefined : cookieOf(c, cookieName(c));
  const query = token === undefined ? undefined : c.req.query("token");
  return [
    ...(authorization === undefined ? [] : [() => isKnown(authorization, access)]),
    ...[cookie, query].flatMap((text) => (text === undefined ? [] : [() => same(text, token!)])),
  ];
}

const cookieOf = (c: Context, name: string): string | undefined =>
  c.req
    .header("cookie")
    ?.split(/;\s*/)
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);

const incomingOf = (c: Context): IncomingMessage | undefined =>
  (c.env as { incoming?: IncomingMessage } | undefined)?.incoming;

/** Who sent a request: the address of the other end, which no header can change. Undefined without a socket. */
export const clientOf = (c: Context): string | undefined => incomingOf(c)?.socket?.remoteAddress;

/** @param authorization the header of that name: a scheme, one word, and nothing behind */
function isKnown(authorization: string, { secret, token }: Access): boolean {
  const [, scheme, value] = /^(\S+) +(\S+)$/.exec(authorization.trim()) ?? [];
  if (scheme === undefined || value === undefined) return false;
  const password = token ?? secret!.slice(secret!.indexOf(":") + 1);
  if (/^bearer$/i.test(scheme)) return same(value, password);
  if (!/^basic$/i.test(scheme)) return false;
  const text = Buffer.from(value, "base64").toString();
  return token === undefined ? same(text, secret!) : same(text.slice(text.indexOf(":") + 1), token);
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
