import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createClock, hasClocks } from "../../testing/clock.js";
import {
  askJobs,
  type ClusterOptions,
  type Env,
  type SeenJob,
  startCluster,
  submitJob,
} from "../../testing/cluster.js";
import { buildProcesses, serviceProcesses, startProcess } from "../../testing/processes.js";
import { freePort, hasRedis } from "../../testing/redis-server.js";
import { s3Credentials, startS3 } from "../../testing/s3-server.js";

if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");
if (!hasClocks) console.warn("clock jumps skipped: libfaketime is not installed (apt-get install faketime)");

let built: Awaited<ReturnType<typeof buildProcesses>>;
beforeAll(async () => {
  built = await buildProcesses(serviceProcesses);
}, 120_000);
afterAll(() => built?.remove());

/** A queue with servers and workers in processes of their own. */
async function cluster(options: ClusterOptions = {}) {
  const { redis, server, worker } = await startCluster(built.folder, options);
  return { redis, worker, server: async (env: Env = {}) => (await server(env)).url };
}

async function until(url: string, id: string, wanted: (job: SeenJob) => boolean): Promise<SeenJob> {
  for (;;) {
    const job = await askJobs(url, `/jobs/${id}`);
    if (wanted(job)) return job;
    await sleep(20);
  }
}
const running = (job: SeenJob) => job.status === "running";
const ended = (job: SeenJob) => job.status !== "queued" && !running(job);

describe.skipIf(!hasRedis)("workers that die", () => {
  test("a job whose worker dies twice is lost, never done; the next job works", async () => {
    const { server, worker } = await cluster();
    const url = await server();
    const { id } = await submitJob(url, {});
    for (const attempt of [1, 2]) {
      const process = await worker(60_000);
      await until(url, id, (job) => running(job) && job.attempt === attempt);
      await process.kill();
    }
    const next = await submitJob(url, {});
    await worker(1);
    expect(await until(url, id, ended)).toMatchObject({
      status: "lost",
      attempt: 2,
      error: { code: "LOST", message: expect.stringContaining("2 times") },
    });
    expect((await askJobs(url, `/jobs/${id}`)).result).toBeUndefined();
    expect(await until(url, next.id, ended)).toMatchObject({ status: "completed" });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toContain('tfjs_diffusion_jobs_ended_total{status="lost"} 1');
  });

  test("a request whose part is lost has failed with that, and keeps the other pictures", async () => {
    const { server, worker } = await cluster();
    const url = await server();
    const { id } = await submitJob(url, { count: 2 });
    const part = (index: number) => `${id}.${index}`;
    const dying = await worker(60_000);
    await until(url, part(0), running);
    const working = await worker(1);
    await until(url, part(1), ended);
    await working.kill();
    await dying.kill();
    const second = await worker(60_000);
    await until(url, part(0), (job) => running(job) && job.attempt === 2);
    await second.kill();
    await worker(1);
    const job = await until(url, id, ended);
    expect(job).toMatchObject({ status: "failed", error: { code: "LOST" } });
    expect(job.result?.images).toHaveLength(1);
  });
});

describe.skipIf(!hasRedis)("two servers on one queue", () => {
  test("what one accepts, the other shows, cancels and forgets; one key is one job", async () => {
    const { server, worker } = await cluster();
    const [one, two] = [await server(), await server()];
    await worker(30);
    const short = await submitJob(one, { steps: 3 });
    const events = await (await fetch(`${two}/jobs/${short.id}/events`)).text();
    expect(events).toContain('"status":"completed"');
    const done = await askJobs(two, `/jobs/${short.id}`);
    const picture = await fetch(two + done.result!.images[0]!.url);
    expect(picture.status).toBe(200);

    const key = { "Idempotency-Key": "the same" };
    const twins = await Promise.all([
      submitJob(one, {}, key),
      submitJob(two, {}, key),
      submitJob(two, {}, key),
    ]);
    expect(new Set(twins.map(({ id }) => id)).size).toBe(1);
    await until(one, twins[0]!.id, ended);

    const long = await submitJob(one, { steps: 500 });
    await until(two, long.id, running);
    await askJobs(two, `/jobs/${long.id}`, { method: "DELETE" });
    expect(await until(one, long.id, ended)).toMatchObject({ status: "cancelled" });

    const { jobs } = await askJobs<{ jobs: SeenJob[] }>(two, "/jobs");
    expect(jobs.map(({ id }) => id)).toEqual([long.id, twins[0]!.id, short.id]);
    await askJobs(two, `/history/${short.id}`, { method: "DELETE" });
    expect((await fetch(`${one}/jobs/${short.id}`)).status).toBe(404);
    for (const url of [one, two]) expect((await fetch(`${url}/ready`)).status).toBe(200);
  });
});

describe.skipIf(!hasRedis)("machines without a common folder", () => {
  test("share pictures in S3", async () => {
    const s3 = await startS3(["pictures"]);
    onTestFinished(() => s3.close());
    const { server, worker } = await cluster();
    const env = {
      AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3Credentials.secretAccessKey,
      AWS_ENDPOINT_URL: s3.url,
    };
    const images = "s3://pictures/of/jobs";
    const url = await server({ ...env, TFJS_DIFFUSION_IMAGES: images });
    await worker(1, { ...env, IMAGES: images });
    const { id } = await submitJob(url, { count: 2 });
    const job = await until(url, id, ended);
    expect(job.status).toBe("completed");
    for (const { url: path, key } of job.result!.images) {
      const png = Buffer.from(await (await fetch(url + path)).arrayBuffer());
      expect(png).toEqual(s3.objects.get(`/pictures/of/jobs/${key.slice(0, 2)}/${key}.png`));
    }
    await askJobs(url, `/history/${id}`, { method: "DELETE" });
    expect(s3.objects.size).toBe(0);
  });
});

describe("a server without Redis", () => {
  const data = () => mkdtempSync(join(tmpdir(), "faults-"));
  const small = { width: 64, height: 64, steps: 2 };

  async function server(folder: string, port: number) {
    const args = ["serve", "--json", "--data", folder, "--port", String(port)];
    const process = await startProcess(join(built.folder, "cli.js"), args, {}, '"url"');
    onTestFinished(() => process.kill());
    return process;
  }

  test("kill -9 at work: what was accepted is made by the next one, pictures and all", async () => {
    const folder = data();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const first = await server(folder, port);
    const ids: string[] = [];
    for (let seed = 0; seed < 4; seed++) ids.push((await submitJob(url, { ...small, seed })).id);
    await until(url, ids[1]!, (job) => !(job.status === "queued"));
    await first.kill();
    await server(folder, port);
    const jobs = await Promise.all(ids.map((id) => until(url, id, ended)));
    expect(jobs.map(({ status }) => status)).toEqual(ids.map(() => "completed"));
    for (const job of jobs) expect((await fetch(url + job.result!.images[0]!.url)).status).toBe(200);
    // The real model, loaded twice: 40 s where ten processes share two cores.
  }, 180_000);

  test("a job that is at work when its server dies twice is lost", async () => {
    const folder = data();
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const long = { ...small, steps: 1000 };
    let process = await server(folder, port);
    const { id } = await submitJob(url, long);
    for (const attempt of [1, 2]) {
      await until(url, id, (job) => running(job) && job.attempt === attempt);
      await process.kill();
      process = await server(folder, port);
    }
    expect(await until(url, id, ended)).toMatchObject({ status: "lost", error: { code: "LOST" } });
  });
});

describe.skipIf(!hasRedis || !hasClocks)("clocks that jump", () => {
  test("of servers and workers, by days: every job ends once, completed, at its first attempt", async () => {
    const clocks = [createClock(), createClock(), createClock()];
    const { server, worker } = await cluster();
    const url = await server(clocks[0]!.env);
    await worker(10, clocks[1]!.env);
    await worker(10, clocks[2]!.env);
    const ids: string[] = [];
    const offsets = ["+1d", "-400d", "+3h", "-2s", "+0"];
    for (const [i, offset] of offsets.entries()) {
      for (let n = 0; n < 6; n++) ids.push((await submitJob(url, { seed: i * 6 + n, steps: 5 })).id);
      clocks[i % clocks.length]!.set(offset);
      await sleep(100);
    }
    const jobs = await Promise.all(ids.map((id) => until(url, id, ended)));
    expect(jobs.map(({ status, attempt }) => `${status} ${attempt}`)).toEqual(ids.map(() => "completed 1"));
    expect(new Set(jobs.map(({ result }) => result!.images[0]!.key)).size).toBe(ids.length);
    // The server was hours ahead when it accepted the last of them: its clock was set indeed.
    const ahead = Math.max(...jobs.map(({ created }) => created)) - Date.now();
    expect(ahead).toBeGreaterThan(0);
  });

  test("of Redis, forward: claims are lost, results are not shown twice", async () => {
    const clock = createClock();
    const { server, worker } = await cluster({ redisEnv: clock.env });
    const url = await server();
    for (let i = 0; i < 2; i++) await worker(100);
    const ids: string[] = [];
    for (let n = 0; n < 8; n++) ids.push((await submitJob(url, { seed: n, steps: 5 })).id);
    await until(url, ids[0]!, running);
    clock.set("+2h");
    const jobs = await Promise.all(ids.map((id) => until(url, id, ended)));
    expect(jobs.map(({ status }) => status)).toEqual(ids.map(() => "completed"));
    expect(new Set(jobs.map(({ result }) => result!.images[0]!.key)).size).toBe(ids.length);
  });

  test("of Redis, backward: a worker that dies then is still found out", async () => {
    const clock = createClock();
    clock.set("+2h");
    const { server, worker } = await cluster({ redisEnv: clock.env });
    const url = await server();
    const first = await worker(60_000);
    const { id } = await submitJob(url, {});
    await until(url, id, running);
    // Locks and marks of now would hold for two hours more.
    await first.kill();
    clock.set("+0");
    await worker(1);
    expect(await until(url, id, ended)).toMatchObject({ status: "completed", attempt: 2 });
    for (;;) {
      const { workers } = await metricsOf(url);
      if (workers === 1) break;
      await sleep(100);
    }
  });
});

async function metricsOf(url: string): Promise<{ workers: number }> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return { workers: Number(/^tfjs_diffusion_workers (\d+)$/m.exec(text)?.[1]) };
}
