import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import tls from "node:tls";
import { DiffusionError } from "../errors.js";

export interface HttpOptions {
  readonly method?: "GET" | "HEAD";
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds without a byte, from connecting to the end of the body. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
  /** HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case, are read from here. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * One request, redirects not followed, any status resolved. Node's `fetch` knows no proxies before Node 24, so
 * this stands on node:http: plain requests go to the proxy as they are, https through CONNECT.
 *
 * The body must be read or destroyed. Errors are the socket's own, or the reason of `signal`.
 */
export async function request(url: URL, options: HttpOptions): Promise<http.IncomingMessage> {
  options.signal?.throwIfAborted();
  const proxy = proxyFor(url, options.env);
  const headers = { "user-agent": "tfjs-diffusion", "accept-encoding": "identity", ...options.headers };
  const { method = "GET" } = options;
  if (!proxy) return send(url, { method, headers }, options);
  if (url.protocol === "https:") {
    const socket = await tunnel(url, proxy, options);
    const servername = bareHost(url);
    const createConnection = () => tls.connect({ socket, servername, ALPNProtocols: ["http/1.1"] });
    return send(url, { method, headers, createConnection, defaultPort: 443 }, options);
  }
  return send(
    withoutUser(proxy),
    { method, path: url.href, headers: { ...headers, host: url.host, ...proxyAuthorization(proxy) } },
    options,
  );
}

function send(
  to: URL,
  requestOptions: http.RequestOptions,
  { timeout, signal }: HttpOptions,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const client = to.protocol === "https:" ? https : http;
    const sent = client.request(to, { ...requestOptions, timeout, ...(signal && { signal }) });
    sent.on("timeout", () => sent.destroy(timedOut(to, timeout)));
    sent.on("response", resolve);
    sent.on("error", (error) => reject(signal?.aborted ? signal.reason : error));
    sent.end();
  });
}

/** An open connection to the host of `url` through the proxy. */
function tunnel(url: URL, proxy: URL, { timeout, signal }: HttpOptions): Promise<Socket> {
  const target = `${url.hostname}:${url.port || 443}`;
  return new Promise((resolve, reject) => {
    const client = proxy.protocol === "https:" ? https : http;
    const sent = client.request(withoutUser(proxy), {
      method: "CONNECT",
      path: target,
      headers: { host: target, ...proxyAuthorization(proxy) },
      timeout,
      agent: false,
      ...(signal && { signal }),
    });
    sent.on("timeout", () => sent.destroy(timedOut(proxy, timeout)));
    sent.on("error", (error) => reject(signal?.aborted ? signal.reason : error));
    sent.on("connect", (response, socket: Socket) => {
      if (response.statusCode === 200) return resolve(socket);
      socket.destroy();
      reject(
        new DiffusionError(
          "DOWNLOAD",
          `the proxy ${proxy.host} answered ${response.statusCode} for ${target}`,
          {
            hint: "Check HTTPS_PROXY (with user and password where it asks for them) and NO_PROXY.",
          },
        ),
      );
    });
    sent.end();
  });
}

/** The proxy that the environment names for a URL. */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const read = (name: string) => env[name.toLowerCase()] || env[name];
  const text = read(url.protocol === "https:" ? "HTTPS_PROXY" : "HTTP_PROXY") || read("ALL_PROXY");
  if (!text || isExcluded(url, read("NO_PROXY") ?? "")) return undefined;
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const proxy = URL.canParse(full) ? new URL(full) : undefined;
  if (!proxy || !/^https?:$/.test(proxy.protocol))
    throw new DiffusionError("UNSUPPORTED", `the proxy ${proxy?.protocol ?? text} is no http(s) proxy`, {
      hint: "Set HTTPS_PROXY to http://host:port.",
    });
  return proxy;
}

/** NO_PROXY as curl reads it: `*`, or hosts that stand for their subdomains too, each with a port if it likes. */
function isExcluded(url: URL, list: string): boolean {
  const host = bareHost(url);
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  return list
    .split(/[\s,]+/)
    .filter(Boolean)
    .some((entry) => {
      if (entry === "*") return true;
      const [, name = "", only] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
      const domain = name.replace(/^\*?\./, "").replace(/^\[|\]$/g, "");
      return (only === undefined || only === port) && (host === domain || host.endsWith(`.${domain}`));
    });
}

const bareHost = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "");

/** Node would turn the user of a URL into an Authorization header, which the proxy would pass on. */
function withoutUser(proxy: URL): URL {
  const url = new URL(proxy);
  url.username = url.password = "";
  return url;
}

function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (!username) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { "proxy-authorization": `Basic ${Buffer.from(pair).toString("base64")}` };
}

const timedOut = (url: URL, timeout: number): Error =>
  Object.assign(new Error(`${url.host} sent nothing for ${timeout / 1000} s`), { code: "ETIMEDOUT" });
