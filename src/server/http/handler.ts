import { readFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { getRequestListener } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { Parts } from "../jobs/accept.js";
import type { Preparations } from "../jobs/prepare.js";
import { publicRefusalOf, Refusal } from "../refusal.js";
import { catalogApi } from "./api/catalog.js";
import { nativeApi } from "./api/native.js";
import { openaiApi } from "./api/openai.js";
import { openaiError } from "./api/openai-errors.js";
import { linkedImages } from "./api/openai-links.js";
import { picturesApi } from "./api/pictures.js";
import { sdapi } from "./api/sdapi.js";
import { sdapiError } from "./api/sdapi-errors.js";
import { createMetrics } from "./metrics.js";
import { openapiDocument } from "./openapi.js";
import { readiness } from "./readiness.js";
import { type Access, authCheck, hostCheck, jsonOnly, originCheck, protectiveHeaders } from "./security.js";

export interface HandlerOptions {
  readonly access: Access;
  readonly preparations: Preparations;
  /** Folder of the built page. */
  readonly page: string;
  readonly version: string;
  /** For what clients are not told. Lines hold no prompts, queries, headers or tokens. */
  readonly log: (line: string) => void;
}

/** The whole server behind a socket. */
export function createListener(parts: Parts, options: HandlerOptions): RequestListener {
  return getRequestListener(createHandler(parts, options).fetch);
}

/** The whole server as a function from Request to Response: `handler.fetch`, or `handler.request` in tests. */
export function createHandler(parts: Parts, options: HandlerOptions): Hono {
  const { access, version, log } = options;
  const metrics = createMetrics(parts.jobs.queue);
  const app = new Hono();
  app.onError((error, c) => nativeError(error, c, log));
  app.notFound((c) => nothingHere(c, log));

  app.use(protectiveHeaders, metrics.count, hostCheck(access), originCheck(access));
  app.route("/", linkedImages(parts)); // their addresses are signed, and need no login
  app.use(authCheck(access));
  app.use(jsonOnly(["/v1/images/edits", "/v1/images/variations"]));
  const limited = bodyLimit({ maxSize: parts.limits.body, onError: () => tooLarge(parts.limits.body) });
  // To look for a body costs more than most answers to GET, which never has one that is read.
  app.use((c, next) => (["GET", "HEAD"].includes(c.req.method) ? next() : limited(c, next)));

  app.get("/health", async (c) => {
    const { status } = parts.models.state(parts.models.current.label);
    return c.json({ status: "ok", model: status });
  });
  app.get("/ready", async (c) => {
    const state = await readiness(parts);
    return c.json(state, state.ready ? 200 : 503);
  });
  app.get("/metrics", async (c) =>
    c.text(await metrics.text(), 200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" }),
  );
  app.get("/openapi.json", (c) => c.json(openapiDocument(version)));
  app.route("/", nativeApi(parts));
  app.route("/", picturesApi(parts));
  app.route("/", catalogApi(parts, options.preparations));
  app.route("/", openaiApi(parts));
  app.route("/", sdapi(parts));
  addPage(app, options.page);
  return app;
}

/** In the form of the API that was meant. */
function nothingHere(c: Context, log: HandlerOptions["log"]): Response {
  const { method, path } = c.req;
  const refusal = (message: string) => new Refusal(404, "NOT_FOUND", message);
  if (path.startsWith("/v1/")) return openaiError(refusal(`there is no ${method} ${path} here`), c);
  if (/^\/(sdapi|controlnet)\//.test(path)) return sdapiError(refusal("Not Found"), c);
  return nativeError(refusal("there is nothing here"), c, log);
}

const tooLarge = (bytes: number): never => {
  throw new Refusal(413, "TOO_LARGE", "the body is too large", { hint: `at most ${bytes} bytes` });
};

/** The files of the page, by name: nothing else of the folder is served. */
const pageFiles: Record<string, string> = {
  "index.html": "text/html; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "styles-csv.js": "text/javascript; charset=utf-8",
  "page.css": "text/css; charset=utf-8",
};

function addPage(app: Hono, folder: string): void {
  const send = async (c: Context, name: string) => {
    const content = await readFile(join(folder, name)).catch((cause: unknown) => {
      throw new Refusal(503, "PAGE", "the page has not been built", { hint: "npm run build", cause });
    });
    return c.body(Uint8Array.from(content).buffer, 200, { "Content-Type": pageFiles[name]! });
  };
  app.get("/", (c) => send(c, "index.html"));
  for (const name of Object.keys(pageFiles)) app.get(`/${name}`, (c) => send(c, name));
}

function nativeError(error: unknown, c: Context, log: (line: string) => void): Response {
  const { status, code, message, hint, headers } = publicRefusalOf(error);
  if (status === 500) log(`${c.req.method} ${c.req.path}: ${error instanceof Error ? error.stack : message}`);
  return c.json({ error: { code, message, ...(hint && { hint }) } }, status as 400, headers);
}
