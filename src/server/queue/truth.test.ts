import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { buildProcesses, startProcess } from "../../testing/processes.js";
import { freePort, hasRedis, type RedisServer, startRedis } from "../../testing/redis-server.js";
import { s3Credentials, startS3 } from "../../testing/s3-server.js";

/** What a server on a queue says when something around it is away, full or missing: real processes, a real Redis. */
vi.setConfig({ testTimeout: 120_000 });

let built: Awaited<ReturnType<typeof buildProcesses>>;
beforeAll(async () => {
  built = await buildProcesses({ cli: "cli/main.ts", worker: "testing/queue-worker.ts" });
}, 120_000);
afterAll(() => built?.remove());

type Env = Readonly<Record<string, string>>;

async function cluster() {
  const redis: RedisServer = await startRedis();
  onTestFinished(() => redis.kill());
  const data = mkdtempSync(join(tmpdir(), "truth-"));
  return {
    redis,
    async server(env: Env = {}, ...more: string[]) {
      const port = await freePort();
      const args = ["serve", "--json", "--queue", redis.url, "--data", data, "--port", String(port), ...more];
      const process = await startProcess(join(built.folder, "cli.js"), args, env, '"url"');
      onTestFinished(() => process.kill());
      return { url: `http://127.0.0.1:${port}`, process };
    },
    async worker(env: Env = {}) {
      const own = { QUEUE: redis.url, DATA: data, STEP_MS: "20", LOCK_MS: "1200", ...env };
      const process = await startProcess(join(built.folder, "worker.js"), [], own, "ready");
      onTestFinished(() => process.kill());
      return process;
    },
  };
}

const post = (url: string, body: object, headers: Env = {}) =>
  fetch(`${url}/jobs`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ prompt: "a dog", seed: 1, steps: 1, ...body }),
  });
const json = async <T>(answer: Response | Promise<Response>) => (await (await answer).json()) as T;
interface Seen {
  readonly id: string;
  readonly status: string;
  readonly attempt: number;
  readonly result?: { readonly images: readonly { readonly url: string }[] };
}
/** The events of a job from the first one on: it is being followed when this resolves. */
async function eventsOf(url: string, id: string): Promise<{ readonly rest: Promise<string> }> {
  const { body } = await fetch(`${url}/jobs/${id}/events`);
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = (await reader.read()).value ?? "";
  const toEnd = async () => {
    for (;;) {
      const { done, value = "" } = await reader.read();
      if (done) return text;
      text += value;
    }
  };
  return { rest: toEnd() };
}

async function ended(url: string, id: string): Promise<Seen> {
  for (;;) {
    const job = await json<Seen>(fetch(`${url}/jobs/${id}`));
    if (job.status !== "queued" && job.status !== "running") return job;
    await sleep(20);
  }
}

describe.skipIf(!hasRedis)("a queue in Redis", () => {
  test("jobs for a model that nobody serves do not keep others from being handed on again", async () => {
    const { redis, server, worker } = await cluster();
    const { url } = await server();
    const unserved = "butterflies-64";
    for (let i = 0; i < 120; i++) await post(url, { model: unserved, prompt: undefined, seed: i });
    const { id } = await json<Seen>(post(url, {}));
    // As if the server had died between its record and BullMQ's.
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    for (const key of await client.keys("*bull:*")) await client.del(key);
    await worker({ MODELS: "emoji-diffusion-256 CPU FP32" });
    expect(await ended(url, id)).toMatchObject({ status: "completed", attempt: 1 });
    const ready = await fetch(`${url}/ready`);
    expect([ready.status, await ready.json()]).toMatchObject([
      503,
      { ready: false, workers: 1, unserved: ["butterflies-64 CPU FP32"] },
    ]);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('tfjs_diffusion_lane_waiting{lane="butterflies-64 CPU FP32"} 120');
    expect(metrics).toContain('tfjs_diffusion_lane_workers{lane="butterflies-64 CPU FP32"} 0');
    expect(metrics).toContain('tfjs_diffusion_lane_workers{lane="emoji-diffusion-256 CPU FP32"} 1');
    expect(metrics).toMatch(/lane_oldest_waiting_seconds\{lane="butterflies-64 CPU FP32"\} [\d.]+/);
  });

  test("503 means not accepted: what was not heard of in time is taken back; a key answers later", async () => {
    const { redis, server } = await cluster();
    const { url } = await server();
    await redis.pause();
    const [plain, keyed] = await Promise.all([post(url, {}), post(url, {}, { "Idempotency-Key": "k" })]);
    expect([plain.status, keyed.status]).toEqual([503, 503]);
    expect(plain.headers.get("retry-after")).toBe("10");
    const { error } = await json<{ error: { hint: string } }>(plain);
    const place = plain.headers.get("location")!;
    expect(error.hint).toContain(place);
    redis.resume();
    await expect.poll(async () => (await fetch(url + place)).status, { timeout: 20_000 }).toBe(404);
    const again = await post(url, {}, { "Idempotency-Key": "k" });
    expect([200, 202]).toContain(again.status);
    const { jobs } = await json<{ jobs: Seen[] }>(fetch(`${url}/jobs`));
    expect(jobs.map(({ id }) => id)).toEqual([(await json<Seen>(again)).id]);
  });

  test("/ready and requests are 503 where Redis is full or forbids; a server that drains is not ready", async () => {
    const { redis, server, worker } = await cluster();
    const { url, process: serving } = await server({}, "--grace", "20");
    const working = await worker();
    const ready = async () => {
      const answer = await fetch(`${url}/ready`);
      return [answer.status, ((await answer.json()) as { reason?: string }).reason];
    };
    await expect.poll(ready, { timeout: 20_000 }).toEqual([200, undefined]);
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await client.config("SET", "maxmemory", "1");
    expect(await ready()).toEqual([503, "the queue takes no jobs: its memory is full"]);
    const full = await post(url, {});
    expect([full.status, await full.text()]).toEqual([503, expect.stringContaining("its memory is full")]);
    await client.config("SET", "maxmemory", "0");
    await client.call("ACL", "SETUSER", "default", "-set", "-eval");
    expect(await ready()).toEqual([503, "the queue takes no jobs: its user may not do that"]);
    await client.call("ACL", "SETUSER", "default", "+@all");
    expect((await ready())[0]).toBe(200);
    // Of what scripts do, Redis says so in other words.
    await client.call("ACL", "SETUSER", "default", "-hset");
    expect(await ready()).toEqual([503, "the queue takes no jobs: its user may not do that"]);
    const forbidden = await post(url, {});
    expect([forbidden.status, await forbidden.text()]).toEqual([
      503,
      expect.stringContaining("its user may not do that"),
    ]);
    await client.call("ACL", "SETUSER", "default", "+@all");
    await working.kill("SIGTERM");
    expect(await ready()).toEqual([503, "no worker is there"]);
    const waiting = fetch(`${url}/sdapi/v1/txt2img`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "a dog", width: 64, height: 64, steps: 500 }),
    }).catch(() => undefined);
    await worker({ STEP_MS: "20" });
    await expect
      .poll(async () => (await json<{ jobs: Seen[] }>(fetch(`${url}/jobs?status=running`))).jobs.length, {
        timeout: 20_000,
      })
      .toBe(1);
    const stopping = serving.kill("SIGTERM");
    await expect.poll(ready).toEqual([503, "the server is shutting down"]);
    await serving.kill("SIGKILL");
    await stopping;
    await waiting;
  });

  test("whoever waits for a job that has not begun when the server ends is told so, and not given nothing", async () => {
    const { server } = await cluster();
    const { url, process: serving } = await server({}, "--grace", "20");
    const waiting = fetch(`${url}/sdapi/v1/txt2img`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "a dog", width: 64, height: 64, steps: 1 }),
    });
    const jobs = async () => (await json<{ jobs: Seen[] }>(fetch(`${url}/jobs`))).jobs.length;
    await expect.poll(jobs, { timeout: 20_000 }).toBe(1);
    await serving.kill("SIGTERM");
    const answer = await waiting;
    expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining("shutting down")]);
    expect(answer.headers.get("retry-after")).toBe("10");
  });

  test("events of a job that Redis has lost end, and say so", async () => {
    const { redis, server } = await cluster();
    const { url } = await server();
    const { id } = await json<Seen>(post(url, {}));
    const events = await eventsOf(url, id);
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await client.flushall();
    await post(url, {}); // something happens
    expect(await events.rest).toMatch(/"status":"lost".*"code":"LOST"/);
  });
});

describe.skipIf(!hasRedis)("a Redis that does not keep what it confirms", () => {
  test("is named at the start, with what to set; what it has lost is told to the log and to who follows a job", async () => {
    const { redis, server } = await cluster();
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await client.config("SET", "appendonly", "no");
    await client.config("SET", "maxmemory-policy", "allkeys-lru");
    const { url, process } = await server();
    expect(process.output()).toMatch(/no append-only file.*appendonly yes and appendfsync always/);
    expect(process.output()).toMatch(/maxmemory-policy allkeys-lru\); set maxmemory-policy noeviction/);
    const monitor = await client.monitor();
    onTestFinished(() => monitor.disconnect());
    /** The server has asked how many jobs there were; the answer before has reached it. */
    const looked = async (times: number) => {
      for (let seen = 0; seen < times; ) {
        const [, args] = (await once(monitor, "monitor")) as [string, string[]];
        if (args[0]?.toLowerCase() === "get" && args[1]?.endsWith(":order")) seen++;
      }
    };
    await looked(1);
    const { id } = await json<Seen>(post(url, {}));
    await post(url, {});
    const events = await eventsOf(url, id);
    await looked(2);
    await client.flushall(); // as a restart without a file
    await expect.poll(() => process.output(), { timeout: 20_000 }).toContain("Redis has lost data: 2 jobs");
    expect(await events.rest).toMatch(/"status":"lost"/);
  });
});

describe.skipIf(!hasRedis)("a Redis with a user of its own, behind TLS", () => {
  test("needs no more than docs/scaling.md allows; a password with special characters is written as in any URL", async () => {
    const docs = readFileSync(new URL("../../../docs/scaling.md", import.meta.url), "utf8");
    const [, rules = ""] = /ACL SETUSER diffusion on >password (.*)$/m.exec(docs) ?? [];
    const folder = mkdtempSync(join(tmpdir(), "tls-"));
    const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
    const subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"];
    const made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject];
    execFileSync("openssl", made, { stdio: "ignore" });
    const port = String(await freePort());
    const tls = ["--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key];
    const redis = await startRedis(folder, {}, [
      ...tls,
      "--tls-ca-cert-file",
      cert,
      "--tls-auth-clients",
      "no",
    ]);
    onTestFinished(() => redis.kill());
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await client.call("ACL", "SETUSER", "diffusion", "on", ">p@ss/word", ...rules.trim().split(" "));
    const url = `rediss://diffusion:p%40ss%2Fword@127.0.0.1:${port}`;
    const env = { NODE_EXTRA_CA_CERTS: cert };
    const data = mkdtempSync(join(tmpdir(), "truth-"));
    const http = await freePort();
    const args = ["serve", "--json", "--queue", url, "--data", data, "--port", String(http)];
    const server = await startProcess(join(built.folder, "cli.js"), args, env, '"url"');
    onTestFinished(() => server.kill());
    const own = { ...env, QUEUE: url, DATA: data, STEP_MS: "5", LOCK_MS: "1200" };
    const worker = await startProcess(join(built.folder, "worker.js"), [], own, "ready");
    onTestFinished(() => worker.kill());
    const place = `http://127.0.0.1:${http}`;
    const { id } = await json<Seen>(post(place, { count: 3 }));
    expect(await ended(place, id)).toMatchObject({ status: "completed" });
    const long = await json<Seen>(post(place, { steps: 1000 }));
    await fetch(`${place}/jobs/${long.id}`, { method: "DELETE" });
    expect(await ended(place, long.id)).toMatchObject({ status: "cancelled" });
    expect((await fetch(`${place}/history/${id}`, { method: "DELETE" })).status).toBe(204);
    await sleep(2000);
    expect((await fetch(`${place}/ready`)).status).toBe(200);
    expect(server.output() + worker.output()).not.toMatch(/NOPERM|p%40ss|p@ss/);
    const log = await client.call("ACL", "LOG");
    expect(log).toEqual([]);
  });
});

describe.skipIf(!hasRedis)("pictures in S3", () => {
  test("a store that is away costs a job no attempt; a client gets 503 and no address", async () => {
    const s3 = await startS3(["pictures"]);
    onTestFinished(() => s3.close());
    const { server, worker } = await cluster();
    const env = {
      AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3Credentials.secretAccessKey,
      AWS_ENDPOINT_URL: s3.url,
    };
    const { url, process: serving } = await server({ ...env, TFJS_DIFFUSION_IMAGES: "s3://pictures" });
    await worker({ ...env, IMAGES: "s3://pictures" });
    const first = await json<Seen>(post(url, {}));
    const { result } = await ended(url, first.id);
    s3.state("cut off");
    const second = await json<Seen>(post(url, { seed: 2 }));
    const picture = await fetch(url + result!.images[0]!.url);
    expect([picture.status, picture.headers.get("retry-after")]).toEqual([503, "10"]);
    expect(await picture.text()).not.toContain(new URL(s3.url).port);
    expect(serving.output().match(/cannot be reached/g)).toHaveLength(1);
    s3.state("busy");
    await sleep(500);
    s3.state("up");
    expect(await ended(url, second.id)).toMatchObject({ status: "completed", attempt: 1 });
    expect((await fetch(url + result!.images[0]!.url)).status).toBe(200);
    expect(serving.output()).toContain("can be reached again");
  });
});
