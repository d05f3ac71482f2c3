import { mkdtemp } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Hono } from "hono";
import { encodePng, formatParameters, type Image, type WildcardLists } from "../index.js";
import { Foreign } from "./foreign/foreign.js";
import { createHandler, createListener, type HandlerOptions } from "./http/handler.js";
import type { Parts } from "./jobs/accept.js";
import { Jobs } from "./jobs/jobs.js";
import { Models } from "./jobs/models.js";
import { Preparations } from "./jobs/prepare.js";
import type { Work } from "./jobs/running.js";
import { libraryWork } from "./jobs/work.js";
import { openLocalQueue } from "./queue/local/local.js";
import { defaultLimits, type Limits } from "./requests/limits.js";
import type { StoredRequest } from "./requests/request.js";
import { folderStore } from "./storage/images.js";
import { openSettings } from "./storage/settings.js";
import type { ImageStore } from "./storage/store.js";
import { noStyles, openStyles } from "./storage/styles.js";

/** A server for tests: everything real but the drawing of pictures, unless a test asks for that, too. */
export interface TestServer {
  readonly app: Hono;
  /** The same behind a socket. */
  readonly listener: RequestListener;
  readonly parts: Parts;
  /** Requests of the jobs that ran. */
  readonly ran: StoredRequest[];
  /** Of data and page alike. */
  readonly folder: string;
  /** Lines of the log. */
  readonly log: string[];
  /** A request with the headers that a client of this machine sends. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** The same from an address. */
  sendFrom(address: string, ...request: Parameters<TestServer["send"]>): Promise<Response>;
}

export const host = "127.0.0.1:7860";

export async function testServer(
  options: {
    /** What draws in place of grey pictures; "library": the models do. */
    work?: Work | "library";
    limits?: Partial<Limits>;
    secret?: string;
    token?: string;
    hosts?: readonly string[];
    paths?: boolean;
    parallel?: number;
    loraDir?: string;
    embeddingsDir?: string;
    ipAdapterDir?: string;
    taesdDir?: string;
    vaeDir?: string;
    controlDir?: string;
    upscalerDir?: string;
    /** A CSV file. */
    styles?: string;
    wildcards?: WildcardLists;
  } = {},
): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), "server-"));
  const limits = { ...defaultLimits, ...options.limits };
  const settings = await openSettings(join(folder, "settings.json"));
  const models = await Models.open(settings, {}, options);
  const images = folderStore(join(folder, "images"), { own: true });
  const queue = await openLocalQueue(join(folder, "journal.jsonl"), limits);
  const ran: StoredRequest[] = [];
  const log: string[] = [];
  const { work: asked = plainWork(images) } = options;
  const draw = asked === "library" ? libraryWork({ models, images, limits, version: "0.0.0" }) : asked;
  const work: Work = (job, hooks) => {
    ran.push(job.request);
    return draw(job, hooks);
  };
  const jobs = new Jobs(queue, work, { ...limits, log: (line) => log.push(line) });
  jobs.start();
  const styles = options.styles === undefined ? noStyles : await openStyles(options.styles);
  const wildcards = async () => options.wildcards ?? {};
  const foreign = new Foreign(limits);
  const parts: Parts = { jobs, models, images, foreign, settings, limits, styles, wildcards };
  const handling: HandlerOptions = {
    access: {
      hosts: () => new Set([host, ...(options.hosts ?? [])]),
      log: (line) => log.push(line),
      ...(options.secret && { secret: options.secret }),
      ...(options.token && { token: options.token }),
    },
    preparations: new Preparations(models, { paths: options.paths ?? false, log: (line) => log.push(line) }),
    page: folder,
    version: "0.0.0",
    log: (line) => log.push(line),
  };
  const app = createHandler(parts, handling);
  const sendFrom: TestServer["sendFrom"] = async (remoteAddress, method, path, body, headers = {}) =>
    app.request(
      `http://${host}${path}`,
      {
        method,
        headers: {
          host,
          ...(body !== undefined && !(body instanceof FormData) && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: body instanceof FormData ? body : JSON.stringify(body) }),
      },
      { incoming: { socket: { remoteAddress } } },
    );
  return {
    app,
    listener: createListener(parts, handling),
    parts,
    folder,
    ran,
    log,
    sendFrom,
    send: (...request) => sendFrom("127.0.0.1", ...request),
  };
}

/** Grey pictures of the size that was asked for, with a preview on the way. */
export const plainWork =
  (images: ImageStore): Work =>
  async ({ request }, hooks) => {
    const { width = 8, height = 8 } = request;
    const count = request.kind === "generate" ? request.count : 1;
    for (let image = 0; image < count; image++) {
      const preview = Buffer.from(encodePng(grey(2, 2))).toString("base64");
      for (const step of [1, 2])
        hooks.progress({
          phase: "denoise",
          image,
          images: count,
          step: 2 * image + step,
          steps: 2 * count,
          share: (image + step / 2) / count,
          etaMs: 1000,
          preview,
        });
      const parameters = formatParameters({ prompt: "grey", steps: 2, sampler: "Euler", seed: image + 7 });
      const key = await images.put(encodePng(grey(width, height, image), { parameters }));
      hooks.finished({ key, width, height, seed: String(image + 7), parameters });
    }
    return { width, height, ms: { encode: 1, denoise: 2, decode: 3 } };
  };

/** Ends with the signal's reason, and never otherwise. */
export const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason));
  });

export const grey = (width: number, height: number, value = 128, channels = 3): Image => ({
  width,
  height,
  data: new Uint8Array(width * height * channels).fill(value),
});

export const base64Png = (image: Image): string => Buffer.from(encodePng(image)).toString("base64");
