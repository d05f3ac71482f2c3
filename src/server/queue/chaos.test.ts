import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng } from "../../index.js";
import { buildProcesses, childrenOf, startProcess, type TestProcess } from "../../testing/processes.js";
import { freePort, hasRedis, type RedisServer, startRedis } from "../../testing/redis-server.js";

if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

const accepted = 200;
/** Of the random moments: the same every time, as far as processes allow. */
const random = generator(9);
const lockMs = 1500;

interface Seen {
  readonly id: string;
  readonly status: string;
  readonly attempt: number;
  readonly error?: { readonly code: string };
  readonly result?: { readonly images: readonly { readonly key: string; readonly url: string }[] };
}

let redis: RedisServer;
const servers: TestProcess[] = [];
const workers: TestProcess[] = [];
let urls: string[];
let built: Awaited<ReturnType<typeof buildProcesses>>;

describe.skipIf(!hasRedis)("kill -9 of everything at random moments", () => {
  beforeAll(async () => {
    built = await buildProcesses({ cli: "cli/main.ts", worker: "testing/queue-worker.ts" });
    const program = (name: string) => join(built.folder, `${name}.js`);
    redis = await startRedis();
    const data = await mkdtemp(join(tmpdir(), "chaos-"));
    const ports = [await freePort(), await freePort()];
    urls = ports.map((port) => `http://127.0.0.1:${port}`);
    const serve = ["serve", "--json", "--queue", redis.url, "--data", data];
    const env = { QUEUE: redis.url, DATA: data, STEP_MS: "15", LOCK_MS: String(lockMs) };
    for (const port of ports)
      servers.push(await startProcess(program("cli"), [...serve, "--port", String(port)], {}, '"url"'));
    for (let i = 0; i < 3; i++) workers.push(await startProcess(program("worker"), [], env, "ready"));
  }, 120_000);
  afterAll(async () => {
    await Promise.all([...servers, ...workers].map((process) => process.kill()));
    await redis.kill();
    built.remove();
  });

  test(`${accepted} jobs: each ends once, no picture is missing or doubled, nothing stalls`, async () => {
    const stop = new AbortController();
    const killed: Record<string, number> = {};
    const killing = keepKilling(stop.signal, killed);
    const ids = await submitAll(killed);
    stop.abort();
    await killing;
    const jobs = await allEnded(ids);
    expect(new Set(ids).size).toBe(accepted);
    const statuses: Record<string, number> = {};
    for (const { status } of jobs) statuses[status] = (statuses[status] ?? 0) + 1;
    console.info("killed", killed, "ended", statuses);
    expect(Object.keys(killed).sort()).toEqual(["compute", "redis", "server", "worker"]);
    // At most two attempts: who is unlucky twice has failed, and says so. Most are not.
    expect(statuses.completed).toBeGreaterThan(accepted / 2);
    await checkPictures(jobs);
    await checkEnds(ids);
  }, 170_000);
});

/** Jobs of one picture and of three; every tenth is cancelled as soon as it is accepted. */
async function submitAll(killed: Record<string, number>): Promise<string[]> {
  const ids: string[] = [];
  const one = async (n: number) => {
    const body = { prompt: `number ${n}`, seed: n * 10, steps: 5, count: n % 8 === 0 ? 3 : 1 };
    const { id } = await persist<Seen>("POST", "/jobs", body, `job ${n}`);
    ids.push(id);
    if (n % 10 === 5) await persist("DELETE", `/jobs/${id}`);
  };
  for (let n = 0; n < accepted; n += 5) {
    await Promise.all(Array.from({ length: 5 }, (_, i) => one(n + i)));
    await sleep(500);
  }
  // Until everything has been hit at least once.
  while (Object.keys(killed).length < 4) await sleep(100);
  return ids;
}

/** As a client does that wants its answer: asks again, any server, with the same key, until there is one. */
async function persist<T>(method: string, path: string, body?: unknown, key?: string): Promise<T> {
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
}

async function keepKilling(signal: AbortSignal, killed: Record<string, number>): Promise<void> {
  const any = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const again = async (process: TestProcess | RedisServer) => {
    await process.kill();
    await sleep(random() * 300);
    await process.start();
  };
  const compute = async () => {
    const [pid] = childrenOf(any(workers).pid);
    if (pid === undefined) return false;
    process.kill(pid, "SIGKILL");
    return true;
  };
  while (!signal.aborted) {
    await sleep(random() * 800);
    const what = any(["compute", "redis", "server", "worker", "worker"]);
    if (what === "compute" && !(await compute())) continue;
    if (what === "redis") await again(redis);
    if (what === "server") await again(any(servers));
    if (what === "worker") await again(any(workers));
    killed[what] = (killed[what] ?? 0) + 1;
  }
}

async function allEnded(ids: readonly string[]): Promise<Seen[]> {
  const jobs: Seen[] = [];
  // What has died last is found out after its lock; the rest is work.
  const late = Date.now() + 60_000;
  for (const id of ids)
    for (;;) {
      const job = await persist<Seen>("GET", `/jobs/${id}`);
      if (job.status !== "queued" && job.status !== "running") {
        jobs.push(job);
        break;
      }
      if (Date.now() > late) throw new Error(`stalled: ${JSON.stringify(job)}`);
      await sleep(50);
    }
  return jobs;
}

/** Every picture of every completed job is there, and is the one of its job and place. */
async function checkPictures(jobs: readonly Seen[]): Promise<void> {
  for (const job of jobs.filter(({ status }) => status === "completed")) {
    const parts = await Promise.all(
      job.result!.images.map(async ({ url }) => {
        const png = new Uint8Array(await (await fetch(urls[0] + url)).arrayBuffer());
        const [, id, n, seed] =
          /^(\S+) number (\d+)\nSeed: (\d+)$/.exec(decodePng(png).text.parameters ?? "") ?? [];
        return { id: id?.split(".")[0], n: Number(n), offset: Number(seed) - Number(n) * 10 };
      }),
    );
    const count = parts[0]!.n % 8 === 0 ? 3 : 1;
    expect(parts).toEqual(
      Array.from({ length: count }, (_, offset) => ({ id: job.id, n: parts[0]!.n, offset })),
    );
  }
}

/** What was told of each job: exactly one end. And nothing is left over. */
async function checkEnds(ids: readonly string[]): Promise<void> {
  const { Redis } = await import("ioredis");
  const client = new Redis(redis.url);
  const events = await client.xrange("{tfjs-diffusion}:events", "-", "+");
  const ends = new Map<string, string[]>();
  for (const [, [, , , json]] of events) {
    const { id, status } = JSON.parse(json!) as Seen;
    if (status !== "queued" && status !== "running") ends.set(id, [...(ends.get(id) ?? []), status]);
  }
  expect(ids.map((id) => ends.get(id)?.length)).toEqual(ids.map(() => 1));
  expect(await client.zcard("{tfjs-diffusion}:waiting")).toBe(0);
  expect(await client.zcard("{tfjs-diffusion}:running")).toBe(0);
  client.disconnect();
}

/** Numbers from 0 to 1 (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
