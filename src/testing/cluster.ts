import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { startProcess, type TestProcess } from "./processes.js";
import { freePort, type RedisServer, startRedis } from "./redis-server.js";
import { type S3Server, s3Credentials, startS3 } from "./s3-server.js";

export type Env = Readonly<Record<string, string>>;

/** A job as the native API shows it, as far as tests look. */
export interface SeenJob {
  readonly id: string;
  readonly status: string;
  readonly attempt: number;
  readonly worker?: string;
  readonly created: number;
  readonly error?: { readonly code: string; readonly message: string };
  readonly result?: {
    readonly images: readonly {
      readonly key: string;
      readonly url: string;
      readonly worker?: string;
      readonly attempt?: number;
    }[];
  };
}

export interface ClusterOptions {
  readonly redisEnv?: Env;
  readonly lockMs?: number;
  /** As servers and workers write it, where it is not the plain one. */
  readonly queueUrl?: (redis: RedisServer) => string;
}

/** A Redis of one test, with servers and workers in processes of their own; all end with the test. @param folder of `serviceProcesses` */
export async function startCluster(
  folder: string,
  { redisEnv = {}, lockMs = 1200, queueUrl = ({ url }) => url }: ClusterOptions = {},
) {
  const redis: RedisServer = await startRedis(undefined, redisEnv);
  onTestFinished(() => redis.kill());
  const data = mkdtempSync(join(tmpdir(), "cluster-"));
  const start = async (
    name: string,
    args: readonly string[],
    env: Env,
    ready: string,
  ): Promise<TestProcess> => {
    try {
      const process = await startProcess(join(folder, `${name}.js`), args, env, ready);
      onTestFinished(() => process.kill());
      return process;
    } catch (error) {
      // As an operator's system starts it again: on a busy machine Redis may not answer within what a start has.
      if (/no answer in [\d.]+ s/.test(String(error))) return start(name, args, env, ready);
      throw error;
    }
  };
  return {
    redis,
    data,
    /** The command `serve`. */
    async server(env: Env = {}, ...more: string[]): Promise<{ url: string; process: TestProcess }> {
      const port = await freePort();
      const place = ["--data", data, "--port", String(port)];
      const all = { TFJS_DIFFUSION_QUEUE: queueUrl(redis), ...env };
      const process = await start("cli", ["serve", "--json", ...place, ...more], all, '"url"');
      return { url: `http://127.0.0.1:${port}`, process };
    },
    /** The command `worker`. */
    commandWorker: (env: Env = {}, ...more: string[]) =>
      start(
        "cli",
        ["worker", "--data", data, ...more],
        { TFJS_DIFFUSION_QUEUE: queueUrl(redis), ...env },
        "waiting for jobs",
      ),
    /** A worker whose child sleeps in place of computing (`queue-worker.ts`). */
    worker: (stepMs: number, env: Env = {}) =>
      start(
        "worker",
        [],
        {
          ...{ QUEUE: queueUrl(redis), DATA: data, STEP_MS: String(stepMs), LOCK_MS: String(lockMs) },
          ...env,
        },
        "ready",
      ),
  };
}

/** An S3 of one test with the bucket `pictures`, and the environment in which it is found. */
export async function startBucket(): Promise<{ s3: S3Server; env: Env }> {
  const s3 = await startS3(["pictures"]);
  onTestFinished(() => s3.close());
  const { accessKeyId, secretAccessKey } = s3Credentials;
  return {
    s3,
    env: {
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_ENDPOINT_URL: s3.url,
    },
  };
}

/** Asks the native API. */
export async function askJobs<T = SeenJob>(
  url: string,
  path: string,
  { method = "GET", body, headers = {} }: { method?: string; body?: unknown; headers?: Env } = {},
): Promise<T> {
  const json = { "Content-Type": "application/json", ...headers };
  const init = { method, headers: json, ...(body !== undefined && { body: JSON.stringify(body) }) };
  const response = await fetch(url + path, init);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const submitJob = (url: string, body: object = {}, headers: Env = {}): Promise<SeenJob> =>
  askJobs(url, "/jobs", { method: "POST", body: { prompt: "a dog", seed: 1, steps: 1, ...body }, headers });

export async function jobUntil(
  url: string,
  id: string,
  wanted: (job: SeenJob) => boolean,
  headers: Env = {},
): Promise<SeenJob> {
  for (;;) {
    const job = await askJobs(url, `/jobs/${id}`, { headers });
    if (wanted(job)) return job;
    await sleep(20);
  }
}
export const isRunning = (job: SeenJob): boolean => job.status === "running";
export const isOver = (job: SeenJob): boolean => job.status !== "queued" && !isRunning(job);
