import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { encodePng } from "../../index.js";
import { askJobs, isOver, jobUntil, startBucket, startCluster } from "../../testing/cluster.js";
import { buildProcesses, serviceProcesses, type TestProcess } from "../../testing/processes.js";
import { hasRedis, type RedisServer } from "../../testing/redis-server.js";

/** What servers and workers say in their logs: real processes, a real Redis, an S3 that goes away. */
vi.setConfig({ testTimeout: 120_000 });
if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

let built: Awaited<ReturnType<typeof buildProcesses>>;
beforeAll(async () => {
  built = await buildProcesses(serviceProcesses);
}, 120_000);
afterAll(() => built?.remove());

const upscaling = () => {
  const picture = encodePng({ width: 2, height: 2, data: new Uint8Array(12) });
  return { kind: "upscale", image: Buffer.from(picture).toString("base64"), upscaler: "Lanczos" };
};
const clientOf = async ({ url }: RedisServer) => {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  client.on("error", () => {}); // its Redis is killed
  onTestFinished(() => client.disconnect());
  return client;
};
const times = (process: TestProcess, words: string): number => process.output().split(words).length - 1;

describe.skipIf(!hasRedis)("the log of a queue", () => {
  test("names loss and return of Redis once each, however many ask meanwhile", async () => {
    const { redis, server, worker } = await startCluster(built.folder);
    const { url, process } = await server();
    const working = await worker(5);
    const both = [process, working];
    const told = (away: string, back: string) => both.map((one) => [times(one, away), times(one, back)]);
    const [gone, here] = ["Redis cannot be reached", "Redis can be reached again"];
    await redis.kill();
    for (let i = 0; i < 10; i++) {
      fetch(`${url}/jobs`).catch(() => {});
      await sleep(300);
    }
    await expect.poll(() => told(gone, here), { timeout: 30_000 }).toEqual(both.map(() => [1, 0]));
    await sleep(1000);
    expect(told(gone, here)).toEqual(both.map(() => [1, 0]));
    await redis.start();
    await expect.poll(() => told(gone, here), { timeout: 20_000 }).toEqual(both.map(() => [1, 1]));
    // Connected, and silent.
    await redis.pause();
    await expect.poll(() => told(gone, here), { timeout: 30_000 }).toEqual(both.map(() => [2, 1]));
    await sleep(3000);
    expect(told(gone, here)).toEqual(both.map(() => [2, 1]));
    redis.resume();
    await expect.poll(() => told(gone, here), { timeout: 20_000 }).toEqual(both.map(() => [2, 2]));
    const [refuses, obeys] = [
      "Redis refuses what the queue needs: its memory is full",
      "does what the queue needs again",
    ];
    const client = await clientOf(redis);
    await client.config("SET", "maxmemory", "1");
    await expect.poll(() => told(refuses, obeys), { timeout: 20_000 }).toEqual(both.map(() => [1, 0]));
    await sleep(3000);
    expect(told(refuses, obeys)).toEqual(both.map(() => [1, 0]));
    await client.config("SET", "maxmemory", "0");
    await expect.poll(() => told(refuses, obeys), { timeout: 20_000 }).toEqual(both.map(() => [1, 1]));
    for (const one of both) {
      await one.kill("SIGTERM");
      expect(times(one, gone)).toBe(2); // their own end is no loss
    }
  });

  test("which worker and attempt made a job, or a part of it, stands in its record", async () => {
    const { server, worker } = await startCluster(built.folder);
    const { url } = await server();
    const dying = await worker(60_000);
    const { id } = await askJobs(url, "/jobs", {
      method: "POST",
      body: { prompt: "a dog", seed: 1, steps: 1 },
    });
    const first = await jobUntil(url, id, ({ status }) => status === "running");
    expect(first).toMatchObject({ attempt: 1, worker: expect.stringContaining(`:${dying.pid}:`) });
    await dying.kill();
    const working = await worker(1);
    const name = expect.stringContaining(`:${working.pid}:`);
    expect(await jobUntil(url, id, isOver)).toMatchObject({ status: "completed", attempt: 2, worker: name });
    expect(working.output()).toContain(`job ${id}: whoever ran it is gone`);
    const body = { prompt: "a dog", seed: 1, steps: 1, count: 2 };
    const whole = await askJobs(url, "/jobs", { method: "POST", body });
    const { result } = await jobUntil(url, whole.id, isOver);
    expect(result?.images).toMatchObject([1, 2].map(() => ({ worker: name, attempt: 1 })));
  });

  test("as JSON: one object a line with time, process, worker, job, lane, attempt and duration; no secret in it", async () => {
    const { s3, env } = await startBucket();
    const secrets = {
      redis: "redis-passw0rd",
      auth: "swordfish-9",
      key: env.AWS_SECRET_ACCESS_KEY!,
      hub: "hf_tokenOfSomebody",
    };
    const url = ({ url }: RedisServer) => url.replace("redis://", `redis://someone:${secrets.redis}@`);
    const { redis, server, commandWorker } = await startCluster(built.folder, { queueUrl: url });
    const client = await clientOf(redis);
    await client.call("ACL", "SETUSER", "someone", "on", `>${secrets.redis}`, "~*", "&*", "+@all");
    await client.call("ACL", "SAVE").catch(() => {});
    const all = { ...env, TFJS_DIFFUSION_IMAGES: "s3://pictures", HF_TOKEN: secrets.hub };
    const auth = { TFJS_DIFFUSION_AUTH: `me:${secrets.auth}` };
    const serving = await server({ ...all, ...auth }, "--log", "json");
    const working = await commandWorker(all, "--log", "json");
    const headers = { Authorization: `Bearer ${secrets.auth}` };
    const submit = () => askJobs(serving.url, "/jobs", { method: "POST", body: upscaling(), headers });
    const first = await jobUntil(serving.url, (await submit()).id, isOver, headers);
    expect(first).toMatchObject({ status: "completed", worker: expect.stringContaining(`:${working.pid}:`) });
    // What goes wrong is told in words that might hold an address.
    await client.call("ACL", "SETUSER", "someone", "-set", "-eval", "-evalsha");
    await expect.poll(() => serving.process.output(), { timeout: 30_000 }).toContain("user may not do that");
    await client.call("ACL", "SETUSER", "someone", "+@all");
    s3.state("cut off");
    await fetch(serving.url + first.result!.images[0]!.url, { headers });
    await askJobs(serving.url, "/jobs", { method: "POST", body: { prompt: "x".repeat(9) }, headers }).catch(
      () => {},
    );
    s3.state("up");
    await fetch(serving.url + first.result!.images[0]!.url, { headers });
    await fetch(`${serving.url}/jobs`, { headers: { Authorization: "Bearer wrong" } });
    await redis.kill();
    await expect
      .poll(() => serving.process.output(), { timeout: 30_000 })
      .toContain("Redis cannot be reached");
    const ofWorker = linesOf(working);
    expect(ofWorker.filter(({ job }) => job === first.id)).toMatchObject([
      {
        ...{ level: "info", process: "worker", pid: working.pid, worker: first.worker, job: first.id },
        ...{ lane: "upscale", attempt: 1, status: "started", time: expect.stringMatching(/^20.*Z$/) },
      },
      { worker: first.worker, job: first.id, status: "completed", durationMs: expect.any(Number) },
    ]);
    const ofServer = linesOf(serving.process);
    for (const line of [...ofWorker, ...ofServer])
      expect(line).toMatchObject({
        time: expect.any(String),
        process: expect.any(String),
        message: expect.any(String),
      });
    const warned = ofServer.filter(({ level }) => level === "warn").map(({ message }) => message);
    expect(warned).toEqual([
      expect.stringContaining("refuses what the queue needs: its user may not do that"),
      expect.stringContaining("pictures in s3://pictures"),
      expect.stringContaining("Redis cannot be reached"),
    ]);
    for (const secret of Object.values(secrets))
      expect(serving.process.output() + working.output()).not.toContain(secret);
  });
});

/** Of standard error; what `--json` says on standard output has a shape of its own. */
function linesOf(process: TestProcess): Record<string, unknown>[] {
  return process
    .output()
    .trim()
    .split("\n")
    .filter((line) => !/^\{"(url|lanes)"|^waiting for jobs/.test(line))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}
