import { createHash } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { decodePng, encodePng, StableDiffusion } from "../index.js";
import type { SeenJob } from "./cluster.js";
import { goldenPath } from "./golden.js";
import { buildProcesses, childrenOf, serviceProcesses, startProcess, type TestProcess } from "./processes.js";
import { freePort, type RedisServer, startRedis } from "./redis-server.js";
import { type S3Server, s3Credentials, startS3 } from "./s3-server.js";

/** What is done to the processes of a service, at random moments. */
export const harms = [
  ...(["kill compute", "kill redis", "kill server", "kill worker"] as const),
  ...(["drain worker", "freeze worker", "cut S3 off", "S3 busy"] as const),
] as const;
export type Harm = (typeof harms)[number];

export interface ChaosOptions {
  readonly jobs: number;
  /** Of the random moments: the same every time, as far as processes allow. */
  readonly seed: number;
  /** How long all jobs may take to end after the last harm. */
  readonly patienceMs: number;
  readonly log?: (line: string) => void;
}

export interface ChaosResult {
  readonly ids: readonly string[];
  readonly jobs: readonly SeenJob[];
  readonly done: Readonly<Record<string, number>>;
  /** Pictures of completed jobs that are missing, doubled, out of order, or not what a single run makes. */
  readonly wrong: readonly string[];
  /** How often the end of each job was told. */
  readonly ends: readonly (number | undefined)[];
  /** Jobs and parts that Redis still counts as waiting or running. */
  readonly left: number;
}

/** Two lanes, each of a tiny model with weights of its own. */
const lanes = ["tiny-sd1", "tiny-ddpm-google"] as const;
const lockMs = 1500;
/** Different requests of a lane; jobs take turns at them, so that each has a single run to be compared with. */
const requests = 10;

/**
 * Two servers, three workers, a Redis and an S3, all of them real processes but for the S3, with real (tiny) models;
 * jobs of one picture and of three, while everything is killed, stopped, frozen or cut off at random.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { jobs: count, log = () => {} } = options;
  const random = generator(options.seed);
  const service = await startService();
  try {
    const stop = new AbortController();
    const done: Record<string, number> = {};
    const harming = keepHarming(service, random, done, stop.signal);
    const client = clientOf(service.urls, random);
    const ids = await submitAll(client, count, done);
    log(`${count} jobs accepted; ${JSON.stringify(done)}`);
    stop.abort();
    await harming;
    const jobs = await allEnded(client, ids, options.patienceMs);
    log("all have ended; single runs to compare with");
    const wrong = await wrongPictures(service, jobs);
    return { ids, jobs, done, wrong, ...(await toldEnds(service.redis, ids)) };
  } finally {
    await service.end();
  }
}

interface Service {
  readonly redis: RedisServer;
  readonly s3: S3Server;
  readonly urls: readonly string[];
  readonly servers: readonly TestProcess[];
  readonly workers: readonly TestProcess[];
  end(): Promise<void>;
}

async function startService(): Promise<Service> {
  const built = await buildProcesses(serviceProcesses);
  const program = (name: string) => join(built.folder, `${name}.js`);
  const redis = await startRedis();
  const s3 = await startS3(["pictures"]);
  const data = mkdtempSync(join(tmpdir(), "chaos-"));
  const models = goldenPath("models");
  const bucket = {
    AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Credentials.secretAccessKey,
    AWS_ENDPOINT_URL: s3.url,
  };
  const servers: TestProcess[] = [];
  const workers: TestProcess[] = [];
  const ports = [await freePort(), await freePort()];
  for (const port of ports) {
    const place = ["--data", data, "--models", models, "--port", String(port)];
    const args = ["serve", "--json", "--queue", redis.url, "--images", "s3://pictures", ...place];
    servers.push(await startProcess(program("cli"), args, bucket, '"url"'));
  }
  const own = { QUEUE: redis.url, DATA: data, IMAGES: "s3://pictures", LOCK_MS: String(lockMs) };
  const env = { ...bucket, ...own, MODELS_FOLDER: models, MODELS: lanes.join(",") };
  for (let i = 0; i < 3; i++) workers.push(await startProcess(program("worker"), [], env, "ready"));
  return {
    ...{ redis, s3, servers, workers },
    urls: ports.map((port) => `http://127.0.0.1:${port}`),
    async end() {
      await Promise.all([...servers, ...workers].map((process) => process.kill()));
      await redis.kill();
      s3.close();
      built.remove();
    },
  };
}

type Random = () => number;

async function keepHarming(
  { redis, s3, servers, workers }: Service,
  random: Random,
  done: Record<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const again = async (process: TestProcess | RedisServer) => {
    await process.kill();
    await startAgain(process, random);
  };
  /** What only works when everything around it does: it is tried until it does, as a supervisor would. */
  const startAgain = async (process: TestProcess | RedisServer, random: Random) => {
    await sleep(random() * 300);
    for (let tries = 1; ; tries++)
      try {
        return await process.start();
      } catch (error) {
        if (tries === 5) throw error;
      }
  };
  const away = async (state: "cut off" | "busy") => {
    s3.state(state);
    await sleep(500 + random() * 1500);
    s3.state("up");
  };
  const freeze = async ({ pid }: TestProcess) => {
    process.kill(pid, "SIGSTOP");
    // Sometimes for longer than its lock, so that another one has its job when it wakes.
    await sleep(random() * 2 * lockMs);
    process.kill(pid, "SIGCONT");
  };
  const drain = async (worker: TestProcess) => {
    await worker.kill("SIGTERM");
    await startAgain(worker, random);
  };
  const doing: Record<Harm, () => Promise<unknown>> = {
    "kill compute": async () => {
      const [pid] = childrenOf(any(workers).pid);
      if (pid === undefined) return false;
      process.kill(pid, "SIGKILL");
    },
    "kill redis": () => again(redis),
    "kill server": () => again(any(servers)),
    "kill worker": () => again(any(workers)),
    "drain worker": () => drain(any(workers)),
    "freeze worker": () => freeze(any(workers)),
    "cut S3 off": () => away("cut off"),
    "S3 busy": () => away("busy"),
  };
  while (!signal.aborted) {
    await sleep(random() * 800);
    const what = any(harms);
    if ((await doing[what]()) !== false) done[what] = (done[what] ?? 0) + 1;
  }
}

type Client = <T>(method: string, path: string, body?: unknown, key?: string) => Promise<T>;

/** As a client does that wants its answer: asks again, any server, with the same key, until there is one. */
const clientOf =
  (urls: readonly string[], random: Random): Client =>
  async <T>(method: string, path: string, body?: unknown, key?: string) => {
    for (;;) {
      const headers = { "Content-Type": "application/json", ...(key && { "Idempotency-Key": key }) };
      const init = { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
      const url = urls[Math.floor(random() * urls.length)]! + path;
      const response = await fetch(url, { ...init, signal: AbortSignal.timeout(15_000) }).catch(
        () => undefined,
      );
      if (response && response.status < 500) {
        const answer = await response.json().catch(() => undefined);
        if (response.ok && answer !== undefined) return answer as T;
        if (!response.ok) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
      }
      await sleep(100);
    }
  };

/** What job `n` asks for: every eighth has three pictures. */
const requestOf = (n: number) => {
  const model = lanes[n % 2]!;
  const seed = 10 * (Math.floor(n / 2) % requests);
  const prompt = model === "tiny-sd1" ? { prompt: `number ${seed}` } : {};
  return { model, ...prompt, seed, steps: 3, count: n % 8 < 2 ? 3 : 1 };
};

/** Every tenth is cancelled as soon as it is accepted. Goes on until every harm was done. */
async function submitAll(client: Client, jobs: number, done: Record<string, number>): Promise<string[]> {
  const ids: string[] = [];
  const one = async (n: number) => {
    const { id } = await client<SeenJob>("POST", "/jobs", requestOf(n), `job ${n}`);
    ids[n] = id;
    if (n % 10 === 5) await client("DELETE", `/jobs/${id}`);
  };
  for (let n = 0; n < jobs; n += 5) {
    await Promise.all(Array.from({ length: 5 }, (_, i) => one(n + i)));
    await sleep(500);
  }
  while (Object.keys(done).length < harms.length) await sleep(100);
  return ids;
}

async function allEnded(client: Client, ids: readonly string[], patienceMs: number): Promise<SeenJob[]> {
  const jobs: SeenJob[] = [];
  const late = Date.now() + patienceMs;
  for (const id of ids)
    for (;;) {
      const job = await client<SeenJob>("GET", `/jobs/${id}`);
      if (job.status !== "queued" && job.status !== "running") {
        jobs.push(job);
        break;
      }
      if (Date.now() > late) throw new Error(`stalled: ${JSON.stringify(job)}`);
      await sleep(50);
    }
  return jobs;
}

/** Compares the pictures of completed jobs, pixel for pixel by hash, with those of single runs in this process. */
async function wrongPictures({ urls }: Service, jobs: readonly SeenJob[]): Promise<string[]> {
  const wrong: string[] = [];
  const singles = new Map<string, string>();
  for (const lane of lanes) {
    await using model = await StableDiffusion.load(goldenPath(`models/${lane}`), { threads: 1 });
    for (const [n, job] of jobs.entries()) {
      const { model: name, count, ...request } = requestOf(n);
      if (job.status !== "completed" || name !== lane) continue;
      const expected: string[] = [];
      for (let i = 0; i < count; i++) {
        const one = { ...request, seed: request.seed + i };
        const key = JSON.stringify([name, one]);
        if (!singles.has(key)) singles.set(key, pixelHash((await model.generate(one)).images[0]!));
        expected.push(singles.get(key)!);
      }
      const got = await Promise.all(
        job.result!.images.map(async ({ url }) => {
          const answer = await fetch(urls[0] + url);
          if (answer.status !== 200) return `status ${answer.status}`;
          return pixelHash(decodePng(new Uint8Array(await answer.arrayBuffer())).image);
        }),
      );
      if (got.join() !== expected.join()) wrong.push(`job ${n}: ${got.join()} for ${expected.join()}`);
    }
  }
  return wrong;
}

/** As a PNG keeps them. */
const pixelHash = (image: Parameters<typeof encodePng>[0]): string =>
  createHash("sha256")
    .update(decodePng(encodePng(image)).image.data)
    .digest("hex")
    .slice(0, 16);

/** What was told of each job, and what is left over. */
async function toldEnds(redis: RedisServer, ids: readonly string[]) {
  const { Redis } = await import("ioredis");
  const client = new Redis(redis.url);
  const events = await client.xrange("{tfjs-diffusion}:events", "-", "+");
  const ends = new Map<string, number>();
  for (const [, [, , , json]] of events) {
    const { id, status } = JSON.parse(json!) as SeenJob;
    if (status !== "queued" && status !== "running") ends.set(id, (ends.get(id) ?? 0) + 1);
  }
  const kept = await Promise.all(
    ["waiting", "running"].map((name) => client.zcard(`{tfjs-diffusion}:${name}`)),
  );
  client.disconnect();
  return { ends: ids.map((id) => ends.get(id)), left: kept[0]! + kept[1]! };
}

/** Numbers from 0 to 1 (mulberry32). */
function generator(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
