import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A repository: text is small and lies in git, Buffers are large files that lie on the other host. */
export interface HubRepo {
  readonly files: Record<string, string | Buffer>;
  readonly commit?: string;
  /** Names besides main and the commit. */
  readonly refs?: readonly string[];
  readonly gated?: boolean;
  /** What its card says of it. */
  readonly card?: {
    readonly license?: string;
    readonly license_name?: string;
    readonly license_link?: string;
  };
  readonly tags?: readonly string[];
  /** Announced instead of the real sizes. */
  readonly claimedSize?: number;
}

export interface Seen {
  readonly host: "hub" | "cdn";
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export interface TestHub {
  readonly url: string;
  readonly repos: Record<string, HubRepo>;
  readonly seen: Seen[];
  /** Answers a request in place of the server, if it likes (true). */
  fault: ((request: Seen, response: ServerResponse) => boolean) | undefined;
  close(): Promise<void>;
}

export const commitOf = (letter: string): string => letter.repeat(40);
export const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");
export const gitId = (data: string): string =>
  createHash("sha1")
    .update(`blob ${Buffer.byteLength(data)}\0${data}`)
    .digest("hex");

const etagOf = (data: string | Buffer): string => (typeof data === "string" ? gitId(data) : sha256(data));

/** Two servers on loopback: one speaks the hub's protocol, the other sends the large files, as the real ones do. */
export async function startHub(repos: Record<string, HubRepo>): Promise<TestHub> {
  const hub: TestHub = { url: "", repos, seen: [], fault: undefined, close: () => closeBoth() };
  const cdn = createServer((request, response) => {
    if (intercept(hub, "cdn", request, response)) return;
    const wanted = request.url?.slice(1);
    for (const repo of Object.values(repos))
      for (const data of Object.values(repo.files))
        if (typeof data !== "string" && sha256(data) === wanted)
          return sendBytes(request, response, data, `"cdn-${wanted.slice(0, 8)}"`);
    response.writeHead(404).end();
  });
  const cdnUrl = await listen(cdn);
  const front = createServer((request, response) => {
    if (!intercept(hub, "hub", request, response)) answer(hub.repos, cdnUrl, request, response);
  });
  const url = await listen(front);
  const closeBoth = async () => {
    for (const server of [front, cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };
  return Object.assign(hub, { url });
}

const listen = (server: Server): Promise<string> =>
  new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    ),
  );

/** What a percent-encoded path says; undefined when its escapes are malformed, which a real server answers with 400. */
function decoded(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function intercept(
  hub: TestHub,
  host: Seen["host"],
  request: IncomingMessage,
  response: ServerResponse,
): boolean {
  const { method = "", url = "", headers } = request;
  const path = decoded(url);
  if (path === undefined) {
    response.writeHead(400).end();
    return true;
  }
  const seen = { host, method, path, headers };
  hub.seen.push(seen);
  return hub.fault?.(seen, response) ?? false;
}

function answer(
  repos: Record<string, HubRepo>,
  cdnUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const url = new URL(request.url ?? "", "http://hub");
  const refuse = (status: number, code: string, message: string) =>
    response.writeHead(status, { "x-error-code": code, "x-error-message": message }).end();
  const json = (value: unknown) =>
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (url.pathname === "/api/models") return void json(Object.keys(repos).map((id) => ({ id })));

  const match = /^(\/api\/models)?\/([^/]+\/[^/]+)\/(revision|resolve|refs)(?:\/([^/]+)(?:\/(.+))?)?$/.exec(
    url.pathname,
  );
  const [, , name = "", what, encoded = "", path = ""] = match ?? [];
  const repo = repos[name];
  if (!repo) return void refuse(401, "RepoNotFound", "Invalid username or password.");
  if (repo.gated && what === "resolve" && request.headers.authorization !== "Bearer hf_good")
    return void refuse(
      request.headers.authorization ? 403 : 401,
      "GatedRepo",
      `Access to model ${name} is restricted.`,
    );
  const commit = repo.commit ?? commitOf("a");
  const revisions = ["main", commit, ...(repo.refs ?? [])];
  if (what === "refs")
    return void json({
      branches: [{ name: "main" }, ...(repo.refs ?? []).map((ref) => ({ name: ref }))],
      tags: [],
    });
  if (!revisions.includes(decodeURIComponent(encoded)))
    return void refuse(404, "RevisionNotFound", `Invalid rev id: ${encoded}`);
  if (what === "revision")
    return void json({
      id: name,
      sha: commit,
      ...(repo.tags && { tags: repo.tags }),
      ...(repo.card && { cardData: repo.card }),
      gated: repo.gated ? "manual" : false,
      siblings: Object.keys(repo.files).map((rfilename) => ({ rfilename })),
    });

  const data = repo.files[decodeURIComponent(path)];
  if (data === undefined) return void refuse(404, "EntryNotFound", "Entry not found");
  response.setHeader("x-repo-commit", commit);
  if (typeof data === "string") sendBytes(request, response, Buffer.from(data), `"${gitId(data)}"`);
  else
    response
      .writeHead(302, {
        location: `${cdnUrl}/${etagOf(data)}`,
        "x-linked-etag": `"${etagOf(data)}"`,
        "x-linked-size": String(repo.claimedSize ?? data.length),
      })
      .end();
}

/** Ranges and If-Range as RFC 9110 has them, for one open range. */
export function sendBytes(
  request: Pick<IncomingMessage, "headers" | "method">,
  response: ServerResponse,
  data: Buffer,
  etag: string,
): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? Number.NaN);
  const valid = [undefined, etag].includes(request.headers["if-range"] as string | undefined);
  const body = from >= 0 && valid ? data.subarray(from) : data;
  if (from >= data.length && valid) {
    response.writeHead(416, { "content-range": `bytes */${data.length}` }).end();
    return;
  }
  response.writeHead(body === data ? 200 : 206, {
    etag,
    "content-length": body.length,
    ...(body === data ? {} : { "content-range": `bytes ${from}-${data.length - 1}/${data.length}` }),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}
