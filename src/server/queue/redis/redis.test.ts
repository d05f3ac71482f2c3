import { randomUUID } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { buildProcesses, startProcess } from "../../../testing/processes.js";
import { hasRedis, type RedisServer, startRedis } from "../../../testing/redis-server.js";
import { Jobs } from "../../jobs/jobs.js";
import { folderStore } from "../../storage/images.js";
import { type Claim, hasEnded, type Job, type JobQueue, type NewJob, type QueueEvent } from "../queue.js";
import { openRedisQueue, type RedisQueueOptions } from "./redis.js";

if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

let redis: RedisServer;
const lane = "emoji-diffusion-256 CPU FP32";
const anyLane = () => true;
const never = new AbortController().signal;

const newJob = (changes: Partial<NewJob> = {}, count = 1): NewJob => ({
  id: randomUUID(),
  lane,
  request: { kind: "generate", model: lane, prompt: "a dog", seed: 7, count, steps: 3 },
  attended: false,
  via: "native",
  ...changes,
});
const result = (key = "k", seed?: string) => ({
  images: [{ key, width: 8, height: 8, parameters: "", ...(seed && { seed }) }],
  width: 8,
  height: 8,
  ms: { encode: 1, denoise: 2, decode: 3 },
});

/** Queues of one test: the same keys, as if they were in processes of their own. */
function queues(namespace: string = randomUUID()) {
  return async (options: Partial<RedisQueueOptions> = {}): Promise<JobQueue> => {
    const queue = await openRedisQueue(redis.url, { queued: 1000, lockMs: 900, namespace, ...options });
    onTestFinished(() => queue.close());
    return queue;
  };
}
const until = async (condition: () => unknown): Promise<void> => {
  while (!(await condition())) await sleep(10);
};
const take = (queue: JobQueue): Promise<Claim> => queue.claim(anyLane, never);

describe.skipIf(!hasRedis)("a queue in Redis", () => {
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.kill());

  test("jobs come in order, to one worker each, and end once", async () => {
    const open = queues();
    const server = await open();
    // On a machine that stands still for a second, a shorter lock would hand a job out again.
    const patient = { lanes: [lane], lockMs: 60_000 };
    const workers = [await open(patient), await open(patient)];
    const events: QueueEvent[] = [];
    server.subscribe((event) => events.push(event));
    const jobs = [newJob(), newJob(), newJob()];
    for (const job of jobs) expect(await server.enqueue(job)).toMatchObject({ status: "queued", attempt: 0 });
    expect(await server.position(jobs[2]!.id)).toBe(2);
    const claims = [await take(workers[0]!), await take(workers[1]!), await take(workers[0]!)];
    expect(claims.map(({ job }) => job.id)).toEqual(jobs.map(({ id }) => id));
    await Promise.all(claims.map((claim) => claim.finish({ status: "completed", result: result() })));
    await until(() => events.filter(({ job }) => job.status === "completed").length === 3);
    for (const { id } of jobs)
      expect(events.filter(({ job }) => job.id === id).map(({ job }) => job.status)).toEqual([
        "queued",
        "running",
        "completed",
      ]);
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0, completed: 3 });
    expect((await server.list()).map(({ id }) => id)).toEqual(jobs.map(({ id }) => id).reverse());
    expect(await server.list({ before: jobs[1]!.id })).toHaveLength(1);
    expect(await server.remove(jobs[0]!.id)).toBe(true);
    expect(await server.get(jobs[0]!.id)).toBeUndefined();
  });

  test("a waiting job goes first, with its parts in their order, and everybody hears of it", async () => {
    const open = queues();
    const [server, other] = [await open(), await open()];
    const [one, two, three] = [newJob(), newJob(), newJob({}, 2)];
    for (const job of [one, two, three]) await server.enqueue(job);
    const heard: string[] = [];
    other.subscribe(({ job }) => heard.push(job.id));
    expect(await server.first(three.id)).toBe(true);
    expect(await other.position(three.id)).toBe(0);
    expect([await other.position(one.id), await other.position(two.id)]).toEqual([2, 3]);
    await until(() => heard.includes(three.id));
    expect(await other.first(two.id)).toBe(true);
    const worker = await open({ lanes: [lane] });
    const taken: Claim[] = [];
    for (let i = 0; i < 2; i++) taken.push(await take(worker));
    expect(await server.first(two.id)).toBe(false);
    for (let i = 0; i < 2; i++) taken.push(await take(worker));
    expect(taken.map(({ job }) => job.id)).toEqual([
      two.id,
      ...[0, 1].map(() => expect.stringContaining(three.id)),
      one.id,
    ]);
    expect(taken[1]!.job.id < taken[2]!.job.id).toBe(true);
    expect(await server.first("none")).toBe(false);
    expect((await server.list()).map(({ id }) => id)).toEqual([three.id, two.id, one.id]);
    await Promise.all(taken.map((claim) => claim.finish({ status: "completed", result: result() })));
  });

  test("what a deleted job leaves behind is found without a look at the rest of the history", async () => {
    const open = queues();
    const [server, worker] = [await open(), await open({ lanes: [lane] })];
    const { Redis } = await import("ioredis");
    const meter = new Redis(redis.url);
    onTestFinished(() => void meter.disconnect());
    const made: string[] = [];
    const makeJobs = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const image = `start-${made.length % 10}`;
        const request = { ...newJob().request, image } as NewJob["request"];
        const job = newJob({ request, task: `task ${made.length}`, via: "sdapi" });
        made.push(job.id);
        await server.enqueue(job);
        await (await take(worker)).finish({ status: "completed", result: result(`key-${made.length}`) });
      }
    };
    /** Records that are read for a deletion, a look for favourites, for a task, and at a page. */
    const reads = async () => {
      await meter.config("RESETSTAT");
      const id = made.at(-3)!;
      const keys = ["start-0", `key-${made.length}`, "nobody's"];
      expect(await server.remove(id)).toBe(true);
      const found = await server.jobsWith(keys);
      expect([...found.keys()]).toEqual(keys.slice(0, 2));
      expect(found.get(`key-${made.length}`)).toEqual([made.at(-1)]);
      const among = [made.at(-2)!, made.at(-1)!, id];
      expect((await server.list({ among })).map((job) => job.id)).toEqual([made.at(-1), made.at(-2)]);
      expect(await server.list({ task: `task ${made.length - 1}` })).toMatchObject([{ id: made.at(-1) }]);
      expect(await server.list({ task: "unknown" })).toEqual([]);
      expect(await server.list({ limit: 2 })).toHaveLength(2);
      const stats = await meter.info("commandstats");
      return Number(/cmdstat_hmget:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    await makeJobs(20);
    const few = await reads();
    await makeJobs(200);
    // Signs of life and looks at the lanes read what runs, and nothing does.
    expect(await reads()).toBeLessThanOrEqual(few + 4);
    expect(few).toBeLessThan(20);
  });

  test("jobs of an earlier version are found by their pictures, too, and parts by that of the whole", async () => {
    const namespace = randomUUID();
    const open = queues(namespace);
    const [server, worker] = [await open(), await open({ lanes: [lane] })];
    const whole = newJob({}, 2);
    await server.enqueue(whole);
    for (const key of ["first", "second"])
      await (await take(worker)).finish({ status: "completed", result: result(key) });
    await until(async () => (await server.get(whole.id))?.status === "completed");
    expect(await server.jobsWith(["first"])).toEqual(new Map([["first", [whole.id]]]));
    // As it would have left it.
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => void client.disconnect());
    await client.del(`{${namespace}}:found-by`, `{${namespace}}:findable`);
    await client.hdel(`{${namespace}}:job:${whole.id}`, "findable");
    const later = await open();
    expect(await later.jobsWith(["second", "none"])).toEqual(new Map([["second", [whole.id]]]));
    // An earlier version takes the record alone.
    await client.del(`{${namespace}}:job:${whole.id}`);
    expect((await later.jobsWith(["second"])).size).toBe(0);
    expect(await client.zrange(`{${namespace}}:found-by`, "0", "-1")).toEqual([
      expect.stringContaining("first"),
    ]);
  });

  test("an id that is known gives its job, from any server", async () => {
    const open = queues();
    const [one, two] = [await open(), await open()];
    const job = newJob();
    const answers = await Promise.all([one.enqueue(job), two.enqueue(job), one.enqueue(job)]);
    expect(new Set(answers.map(({ created }) => created)).size).toBe(1);
    expect(await two.counts()).toMatchObject({ queued: 1 });
  });

  test("too many waiting jobs are refused, not half of a request accepted", async () => {
    const server = await queues()({ queued: 2 });
    await server.enqueue(newJob({}, 8));
    await expect(server.enqueue(newJob())).rejects.toMatchObject({ status: 429, code: "QUEUE_FULL" });
    expect(await server.counts()).toMatchObject({ queued: 8 });
  });

  test("a worker takes jobs of its own models only", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: ["other"] });
    await server.enqueue(newJob());
    const other = newJob({ lane: "other" });
    await server.enqueue(other);
    expect((await take(worker)).job.id).toBe(other.id);
  });

  test("a worker of several models is told of a job at once, whichever it is for", async () => {
    const open = queues();
    const server = await open();
    const lanes = ["one", "two", "three"];
    // Whoever misses the call does not look again before the test is over.
    const worker = await open({ lanes, missedMs: 3600_000 });
    for (const lane of ["two", "one", "three", "three", "one", "two"]) {
      const waiting = take(worker);
      await sleep(20); // all lanes have been found empty
      const job = newJob({ lane });
      await server.enqueue(job);
      const claim = await waiting;
      expect(claim.job.id).toBe(job.id);
      await claim.finish({ status: "completed", result: result() });
    }
  });

  test("a job costs Redis two calls of BullMQ and two of the records, however many models a worker has", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: ["one", lane, "three"] });
    for (let i = 0; i < 50; i++) await server.enqueue(newJob());
    const { Redis } = await import("ioredis");
    const meter = new Redis(redis.url);
    onTestFinished(() => void meter.disconnect());
    await meter.config("RESETSTAT");
    for (let i = 0; i < 50; i++) {
      const claim = await take(worker);
      for (let step = 1; step <= 4; step++)
        void claim.heartbeat({ phase: "denoise", image: 0, images: 1, step, steps: 4, share: step / 4 });
      await claim.finish({ status: "completed", result: result() });
    }
    const stats = await meter.info("commandstats");
    const calls = (name: string) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    expect(await server.counts()).toMatchObject({ completed: 50 });
    // Besides: once a second a look into every lane, and signs of life.
    expect(calls("evalsha")).toBeLessThan(50 * 2 + 40);
    expect(calls("eval")).toBeLessThan(50 * 2 + 40);
    // Steps that are over at once are not told, and a worker does not listen to what others do.
    expect(calls("exec")).toBeLessThan(25);
    expect(calls("xread")).toBe(0);
  });

  test("progress and previews reach every server", async () => {
    const open = queues();
    const servers = [await open(), await open()];
    const worker = await open({ lanes: [lane] });
    const seen: Job[][] = [[], []];
    for (const [i, server] of servers.entries())
      server.subscribe(({ type, job }) => {
        if (type === "progress") seen[i]!.push(job);
      });
    const job = newJob();
    await servers[0]!.enqueue(job);
    const claim = await take(worker);
    const progress = {
      phase: "denoise",
      image: 0,
      images: 1,
      step: 1,
      steps: 3,
      share: 0.3,
      preview: "iVBO",
    } as const;
    await claim.heartbeat(progress);
    await until(() => seen.every((jobs) => jobs.length > 0));
    for (const [first] of seen) expect(first).toMatchObject({ id: job.id, progress });
    expect((await servers[1]!.get(job.id))?.progress).toEqual(progress);
  });

  test("what runs is listed between two parts, too; polls share reads, and see what was changed here", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const whole = newJob({}, 2);
    await server.enqueue(whole);
    const running = () => server.list({ status: ["running"] });
    const seen = async () => (await running()).map(({ id }) => id);
    expect(await seen()).toEqual([]);
    const first = await take(worker);
    expect(await seen()).toEqual([whole.id]);
    await first.heartbeat({ phase: "denoise", image: 0, images: 1, step: 1, steps: 2, share: 0.5 });
    expect((await running())[0]?.progress?.share).toBe(0.25);
    await first.finish({ status: "completed", result: result() });
    expect(await seen()).toEqual([whole.id]);
    const single = newJob();
    await server.enqueue(single);
    const claims = [await take(worker), await take(worker)];
    expect(await seen()).toEqual([single.id, whole.id]);
    const { recent } = server;
    expect(await recent!.list({ status: ["running"], limit: 1 })).toMatchObject([{ id: single.id }]);
    const waiting = newJob();
    await server.enqueue(waiting);
    const polls = await Promise.all([recent!.get(waiting.id), recent!.get(waiting.id)]);
    expect(polls[0]).toBe(polls[1]);
    expect(await recent!.position(waiting.id)).toBe(2);
    await server.cancel(waiting.id);
    expect(await recent!.get(waiting.id)).toMatchObject({ status: "cancelled" });
    for (const claim of claims) await claim.finish({ status: "completed", result: result() });
    expect(await seen()).toEqual([]);
  });

  test("cancel ends a waiting job at once, and reaches one that runs", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const [first, second] = [newJob(), newJob()];
    await server.enqueue(first);
    await server.enqueue(second);
    const claim = await take(worker);
    expect(await server.cancel(second.id)).toMatchObject({ status: "cancelled" });
    expect(await server.cancel(first.id)).toMatchObject({ status: "running" });
    await until(() => claim.signal.aborted);
    expect(claim.signal.reason).toMatchObject({ code: "CANCELLED" });
    expect(await claim.finish({ status: "cancelled" })).toMatchObject({ status: "cancelled" });
    expect(await server.cancel(randomUUID())).toBeUndefined();
  });

  test("who has lost the claim shows nothing: one job, one result", async () => {
    const open = queues();
    const server = await open();
    const frozen = await open({ lanes: [lane] });
    const other = await open({ lanes: [lane] });
    const job = newJob();
    await server.enqueue(job);
    const late = await take(frozen);
    // As a process under SIGSTOP: its lock is not renewed. The record's token decides, not the clock.
    const { Redis } = await import("ioredis");
    const breaker = new Redis(redis.url);
    onTestFinished(() => void breaker.disconnect());
    const unlock = setInterval(async () => {
      const locks = await breaker.keys(`*job-${job.id}:lock`);
      if (locks.length > 0) await breaker.del(...locks);
    }, 5);
    const second = await take(other);
    clearInterval(unlock);
    expect(second.job).toMatchObject({ id: job.id, attempt: 2 });
    await until(() => late.signal.aborted);
    expect(await late.finish({ status: "completed", result: result("late") })).toMatchObject({
      status: "running",
    });
    await second.finish({ status: "completed", result: result("second") });
    expect((await server.get(job.id))?.result?.images[0]?.key).toBe("second");
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0, completed: 1 });
  });

  test("what is given back runs again, at most twice; a worker that stops costs no attempt", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const job = newJob();
    await server.enqueue(job);
    await (await take(worker)).release({ code: "CLOSING", message: "stop" });
    const first = await take(worker);
    expect(first.job).toMatchObject({ id: job.id, attempt: 1 });
    await first.release({ code: "WORKER", message: "killed" });
    const second = await take(worker);
    expect(await second.release({ code: "WORKER", message: "killed" })).toMatchObject({
      status: "failed",
      error: { code: "WORKER" },
    });
  });

  test("a request of many pictures is spread, and joined in order with its seeds", async () => {
    const open = queues();
    const server = await open();
    const workers = [await open({ lanes: [lane] }), await open({ lanes: [lane] })];
    const events: QueueEvent[] = [];
    server.subscribe((event) => events.push(event));
    const job = newJob({}, 64);
    await server.enqueue(job);
    const run = async (worker: JobQueue, n: number) => {
      for (let i = 0; i < n; i++) {
        const claim = await take(worker);
        const { request } = claim.job;
        if (request.kind !== "generate") throw new Error("kind");
        expect(request.count).toBe(1);
        await claim.heartbeat({ phase: "denoise", image: 0, images: 1, step: 1, steps: 2, share: 0.5 });
        await claim.finish({
          status: "completed",
          result: result(`key ${request.seed}`, String(request.seed)),
        });
      }
    };
    await Promise.all([run(workers[0]!, 20), run(workers[1]!, 44)]);
    const done = await server.get(job.id);
    expect(done?.status).toBe("completed");
    expect(done?.result?.images.map(({ seed }) => Number(seed))).toEqual(
      Array.from({ length: 64 }, (_, i) => 7 + i),
    );
    expect(done?.result?.ms).toEqual({ encode: 64, denoise: 128, decode: 192 });
    await until(() => events.some(({ job }) => hasEnded(job)));
    expect(events.filter(({ type }) => type === "status").map(({ job }) => job.status)).toEqual([
      "queued",
      "running",
      "completed",
    ]);
    expect(await server.list()).toHaveLength(1);
  });

  test("a grid is spread cell by cell, and joined row by row", async () => {
    const open = queues();
    const server = await open();
    const workers = [await open({ lanes: [lane] }), await open({ lanes: [lane] })];
    const job = newJob();
    const grid = {
      x: { option: "steps", values: [1, 2, 3] },
      y: { option: "prompt", values: ["a", "b"] },
    } as const;
    const request = { ...job.request, grid } as unknown as NewJob["request"];
    await server.enqueue({ ...job, request });
    const run = async (worker: JobQueue) => {
      for (let i = 0; i < 3; i++) {
        const claim = await take(worker);
        const { request } = claim.job;
        if (request.kind !== "generate") throw new Error("kind");
        await claim.finish({
          status: "completed",
          result: result(`${request.prompt} ${request.steps} ${request.seed}`),
        });
      }
    };
    await Promise.all(workers.map(run));
    const done = await server.get(job.id);
    expect(done?.status).toBe("completed");
    const keys = ["a 1 7", "a 2 7", "a 3 7", "b 1 7", "b 2 7", "b 3 7"];
    expect(done?.result?.images.map(({ key }) => key)).toEqual(keys);
  });

  test("a part that fails fails the whole, and finished pictures stay; a skipped one is left out", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const [failing, skipped] = [newJob({}, 2), newJob({}, 2)];
    await server.enqueue(failing);
    await (await take(worker)).finish({ status: "failed", error: { code: "DISK", message: "full" } });
    await (await take(worker)).finish({ status: "completed", result: result("b") });
    expect(await server.get(failing.id)).toMatchObject({
      status: "failed",
      error: { code: "DISK" },
      result: { images: [{ key: "b" }] },
    });
    await server.enqueue(skipped);
    const first = await take(worker);
    await server.skip!(skipped.id, false);
    await until(() => first.signal.aborted);
    await first.finish({ status: "cancelled" });
    await (await take(worker)).finish({ status: "completed", result: result("d") });
    expect(await server.get(skipped.id)).toMatchObject({
      status: "completed",
      result: { images: [{ key: "d" }] },
    });
  });

  test("what there is by then is asked for: of a picture, and of all that run", async () => {
    const open = queues();
    const server = await open();
    const workers = [await open({ lanes: [lane] }), await open({ lanes: [lane] })];
    const job = newJob({}, 4);
    await server.enqueue(job);
    const first = await take(workers[0]!);
    await server.skip!(job.id, true);
    await until(() => first.interrupted!.aborted);
    expect([first.interrupted!.reason, first.signal.aborted]).toEqual(["picture", false]);
    await first.finish({ status: "completed", result: result("as it was") });
    const running = [await take(workers[0]!), await take(workers[1]!)];
    await server.interrupt!(job.id);
    for (const claim of running) {
      await until(() => claim.interrupted!.aborted);
      expect([claim.interrupted!.reason, claim.signal.aborted]).toEqual(["job", false]);
    }
    await running[1]!.finish({ status: "cancelled", result: result("third") });
    await running[0]!.finish({ status: "cancelled", result: result("second") });
    expect(await server.get(job.id)).toMatchObject({
      status: "cancelled",
      result: { images: [{ key: "as it was" }, { key: "second" }, { key: "third" }] },
    });
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0, cancelled: 1 });
  });

  test("a worker that misses the hint reads in the record that what there is is wanted", async () => {
    const namespace = randomUUID();
    const open = queues(namespace);
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const job = newJob();
    await server.enqueue(job);
    const claim = await take(worker);
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    await client.hset(`{${namespace}}:job:${job.id}`, "finish", "job");
    await until(() => claim.interrupted!.aborted);
    expect(claim.interrupted!.reason).toBe("job");
    await claim.release({ code: "WORKER", message: "died" });
    // Nothing is left of what was to be kept: it is not begun anew.
    const leaving = new AbortController();
    worker.claim(anyLane, leaving.signal).catch(() => {});
    await until(async () => hasEnded((await server.get(job.id))!));
    leaving.abort();
    expect(await server.get(job.id)).toMatchObject({ status: "cancelled" });
  });

  test("what is cancelled as a whole ends when its last running part has", async () => {
    const open = queues();
    const server = await open();
    const worker = await open({ lanes: [lane] });
    const job = newJob({}, 5);
    await server.enqueue(job);
    const claim = await take(worker);
    await server.cancel(job.id);
    await until(() => claim.signal.aborted);
    await claim.finish({ status: "cancelled" });
    expect(await server.get(job.id)).toMatchObject({ status: "cancelled" });
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0, cancelled: 1 });
  });

  test("a job whose server died before BullMQ had it is handed out all the same", async () => {
    const namespace = randomUUID();
    const open = queues(namespace);
    const server = await open();
    const job = newJob();
    await server.enqueue(job);
    const { Queue } = await import("bullmq");
    const { Redis } = await import("ioredis");
    const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
    const [meta] = await connection.keys(`{${namespace}}:*:meta`);
    const bull = new Queue(meta!.split(":")[2]!, { connection, prefix: `{${namespace}}:bull` });
    await bull.obliterate({ force: true });
    onTestFinished(async () => {
      await bull.close();
      connection.disconnect();
    });
    const worker = await open({ lanes: [lane] });
    expect((await take(worker)).job.id).toBe(job.id);
  });

  test("damaged records are set aside and named; lists, workers and the other parts go on", async () => {
    const namespace = randomUUID();
    const open = queues(namespace);
    const lines: string[] = [];
    const server = await open({ log: (line) => lines.push(line) });
    const [torn, hostile, whole, good] = [newJob(), newJob(), newJob({}, 2), newJob()];
    for (const job of [torn, hostile, whole, good]) await server.enqueue(job);
    const { Redis } = await import("ioredis");
    const client = new Redis(redis.url);
    onTestFinished(() => client.disconnect());
    const key = (id: string) => `{${namespace}}:job:${id}`;
    await client.hset(key(torn.id), "job", '{"id":');
    const evil = {
      ...JSON.parse((await client.hget(key(hostile.id), "job"))!),
      request: { kind: "generate", model: "../x" },
    };
    await client.hset(key(hostile.id), "job", JSON.stringify(evil));
    await client.hset(key(`${whole.id}.1`), "job", "null");
    await client.xadd(`{${namespace}}:events`, "*", "type", "status", "job", "{");
    const worker = await open({ lanes: [lane], log: (line) => lines.push(line) });
    const done: string[] = [];
    for (let i = 0; i < 2; i++) {
      const claim = await take(worker);
      done.push(claim.job.id);
      await claim.finish({ status: "completed", result: result() });
    }
    expect(done.sort()).toEqual([`${whole.id}.0`, good.id].sort());
    await until(async () => (await server.get(whole.id))?.error !== undefined);
    expect(await server.get(whole.id)).toMatchObject({ status: "failed", error: { code: "DAMAGED" } });
    const listed = (await server.list()).map(({ id }) => id);
    expect(listed).toEqual([good.id, whole.id]);
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0 });
    for (const { id } of [torn, hostile]) {
      expect(lines.filter((line) => line.includes(`record of job ${id} cannot be understood`))).toHaveLength(
        1,
      );
      expect(await client.exists(`{${namespace}}:damaged:${id}`)).toBe(1);
    }
  });

  test("10,000 jobs wait, and the first is taken as fast as ever", async () => {
    const open = queues();
    const server = await open({ queued: 20_000 });
    const jobs = Array.from({ length: 10_000 }, () => newJob());
    for (let i = 0; i < jobs.length; i += 250)
      await Promise.all(jobs.slice(i, i + 250).map((job) => server.enqueue(job)));
    expect(await server.counts()).toMatchObject({ queued: 10_000 });
    const worker = await open({ lanes: [lane] });
    const seen = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const claim = await take(worker);
      seen.add(claim.job.id);
      await claim.finish({ status: "completed", result: result() });
    }
    expect(seen.size).toBe(100);
    expect(await server.counts()).toMatchObject({ queued: 9_900, completed: 100 });
  });

  test("a worker process drains on SIGTERM, and gives back what takes too long", async () => {
    const data = await mkdtemp(join(tmpdir(), "worker-"));
    const server = await openRedisQueue(redis.url, { queued: 100 });
    onTestFinished(() => server.close());
    const env = { QUEUE: redis.url, DATA: data, STEP_MS: "50", GRACE_MS: "300" };
    const built = await buildProcesses({ worker: "testing/queue-worker.ts" });
    onTestFinished(built.remove);
    const worker = await startProcess(join(built.folder, "worker.js"), [], env, "ready");
    onTestFinished(() => worker.kill());
    const short = newJob();
    const long = newJob();
    await server.enqueue(short);
    await server.enqueue({ ...long, request: { ...long.request, steps: 400 } as NewJob["request"] });
    await until(async () => (await server.get(long.id))?.status === "running");
    expect(await server.workers!()).toHaveLength(1);
    await worker.kill("SIGTERM");
    expect(await server.get(short.id)).toMatchObject({ status: "completed", attempt: 1 });
    expect(await server.get(long.id)).toMatchObject({ status: "queued", attempt: 0 });
    const images = folderStore(join(data, "images"));
    expect(await images.get((await server.get(short.id))!.result!.images[0]!.key)).toBeDefined();
    await server.cancel(long.id);
  });

  test("those who wait on a server get their pictures, and Redis may be away meanwhile", async () => {
    const open = queues();
    const [server, worker] = [await open(), await open({ lanes: [lane] })];
    const jobs = new Jobs(
      server,
      async () => ({ width: 0, height: 0, ms: { encode: 0, denoise: 0, decode: 0 } }),
      {
        jobMs: 60_000,
        log: () => {},
        shared: true,
      },
    );
    const { id, attended, ...job } = newJob();
    const waiting = jobs.run(job, never);
    const claim = await take(worker);
    await redis.kill();
    const finishing = claim.finish({ status: "completed", result: result() });
    await sleep(300);
    await redis.start();
    await finishing;
    expect(await waiting).toMatchObject({ status: "completed", attempt: 1 });
  });

  test("a queue that is not there is said so", async () => {
    await expect(openRedisQueue("redis://:secret@127.0.0.1:1", { queued: 1 })).rejects.toMatchObject({
      code: "QUEUE",
      message: expect.not.stringContaining("secret"),
    });
  });
});
