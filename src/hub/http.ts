import type { IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DiffusionError } from "../errors.js";
import type { HubSettings } from "./settings.js";
import { type HttpOptions, request } from "./transport.js";

const MAX_REDIRECTS = 10;
const MAX_ATTEMPTS = 5;
const MAX_DELAY = 30_000;
/** A server that asks for more patience than this gets an error instead, which says so. */
const MAX_PATIENCE = 120_000;

/** Something that may be gone in a moment: a lost connection, a busy server. `wait` is what the server asked for. */
export class Temporary extends Error {
  readonly wait: number | undefined;
  constructor(message: string, options: { wait?: number | undefined; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = "Temporary";
    this.wait = options.wait;
  }
}

/** No connection at all; the cache may answer instead. */
export class Unreachable extends Temporary {}

/**
 * Runs `attempt` until it succeeds, with growing pauses after temporary failures. An attempt that got some bytes
 * calls `progressed`, and the count starts again: what matters is that it goes on.
 *
 * @param options.impatient one retry only where there is no connection at all
 * @throws DiffusionError DOWNLOAD when it does not; any other error at once
 */
export async function withRetries<T>(
  settings: HubSettings,
  signal: AbortSignal | undefined,
  attempt: (progressed: () => void) => Promise<T>,
  { impatient = false } = {},
): Promise<T> {
  let failures = 0;
  for (;;) {
    try {
      return await attempt(() => {
        failures = 0;
      });
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Temporary)) throw error;
      failures++;
      const { wait } = error;
      if (
        failures >= (impatient && error instanceof Unreachable ? 2 : MAX_ATTEMPTS) ||
        (wait ?? 0) > MAX_PATIENCE
      ) {
        const asked =
          wait === undefined ? "" : ` (the server asks to wait ${Math.ceil(wait / 1000)} seconds)`;
        throw new DiffusionError("DOWNLOAD", `${error.message}${asked}`, {
          hint: "Try again later: what has been downloaded is kept. Behind a proxy, set HTTPS_PROXY; for a mirror, HF_ENDPOINT.",
          cause: error,
        });
      }
      const delay = wait ?? Math.min(MAX_DELAY, settings.retryDelay * 2 ** (failures - 1));
      await sleep(delay, undefined, signal && { signal });
    }
  }
}

export interface HubRequest {
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** Stop at a redirect to another host and return it: its headers say what it leads to. */
  readonly stayOnHost?: boolean;
  /** Sees the hub's own answer before a redirect is followed. */
  readonly onAnswer?: (response: IncomingMessage) => void;
}

/**
 * One request to the hub, redirects followed. The token goes to the endpoint's own origin and nowhere else.
 * Any status below 500 but 429 is returned.
 *
 * @throws Temporary for the others and for lost connections
 */
export async function hubRequest(
  settings: HubSettings,
  address: string,
  { headers, stayOnHost, onAnswer, ...rest }: HubRequest,
): Promise<IncomingMessage> {
  const home = new URL(settings.endpoint).origin;
  let url = new URL(address);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const authorization =
      settings.token && url.origin === home ? { authorization: `Bearer ${settings.token.value}` } : {};
    const response = await connected(url, {
      ...rest,
      env: settings.env,
      headers: { ...headers, ...authorization },
    });
    const status = response.statusCode ?? 0;
    if (status === 429 || status >= 500) {
      discard(response);
      throw new Temporary(`${url.host} answered ${status} ${response.statusMessage ?? ""}`.trim(), {
        wait: retryAfter(response.headers["retry-after"]),
      });
    }
    if (url.origin === home) onAnswer?.(response);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(status) || !location) return response;
    if (!URL.canParse(location, url.href))
      throw new DiffusionError("DOWNLOAD", `${url.host} redirects to ${JSON.stringify(location)}`);
    const next = new URL(location, url);
    if (stayOnHost && next.origin !== url.origin) return response;
    if (url.protocol === "https:" && next.protocol !== "https:")
      throw new DiffusionError("DOWNLOAD", `${url.host} redirects to ${next.origin}, which is not encrypted`);
    discard(response);
    url = next;
  }
  throw new DiffusionError("DOWNLOAD", `${address} redirects more than ${MAX_REDIRECTS} times`);
}

/** Frees the connection of an answer whose body nobody wants. */
export function discard(response: IncomingMessage): void {
  response.on("error", () => undefined).destroy();
}

async function connected(url: URL, options: HttpOptions): Promise<IncomingMessage> {
  try {
    return await request(url, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw connectionError(url, error);
  }
}

const UNREACHABLE = new Set([
  "ENOTFOUND",
  "ECONNREFUSED",
  "ENETUNREACH",
  "EHOSTUNREACH",
  "EAI_AGAIN",
  "ETIMEDOUT",
]);

/** Certificates that do not check out will not do so the next time either. */
function connectionError(url: URL, error: unknown): unknown {
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (!code) return error;
  if (/CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|ERR_SSL/.test(code))
    return new DiffusionError("DOWNLOAD", `no safe connection to ${url.host}: ${message}`, {
      hint: "Behind a proxy that re-encrypts, set NODE_EXTRA_CA_CERTS to its certificate.",
      cause: error,
    });
  const Kind = UNREACHABLE.has(code) ? Unreachable : Temporary;
  return new Kind(`no answer from ${url.host}: ${message || code}`, { cause: error });
}

/** Seconds or a date, as milliseconds from now. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const wait = /^\d+$/.test(header) ? 1000 * Number(header) : Date.parse(header) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
}

const MAX_TEXT_BYTES = 64 * 2 ** 20;

/** A body of moderate size as text. */
export async function readText(response: IncomingMessage, signal?: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_TEXT_BYTES)
        throw new DiffusionError("DOWNLOAD", `an answer of the hub is longer than ${MAX_TEXT_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof DiffusionError) throw error;
    throw new Temporary(`the connection broke: ${(error as Error).message}`, { cause: error });
  }
  return Buffer.concat(chunks).toString("utf8");
}
