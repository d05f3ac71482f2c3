import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { hasRedis, type RedisServer, startRedis } from "../../../testing/redis-server.js";
import type { NewJob } from "../queue.js";
import { readRecorded } from "./recorded.js";
import { openRedisQueue } from "./redis.js";

let redis: RedisServer;
const lane = "emoji-diffusion-256 CPU FP32";
const newJob = (count = 1): NewJob => ({
  id: randomUUID(),
  lane,
  request: { kind: "generate", model: lane, prompt: "a dog", seed: 7, count, steps: 3 },
  attended: false,
  via: "native",
});
const recorded = (changes: object) =>
  JSON.stringify({ ...newJob(), status: "queued", attempt: 0, created: 1, ...changes });

test("a record is a job, or it is said what is wrong with it", () => {
  expect(readRecorded(recorded({}))).toMatchObject({ lane, status: "queued" });
  // What a later version knows is for whoever runs the job.
  const later = { ...newJob().request, future: true };
  expect(readRecorded(recorded({ request: later }))).toMatchObject({ request: { future: true } });
  // What has ended is only shown, also when an earlier version has asked otherwise.
  const earlier = { ...newJob().request, maskBlur: { x: 1, y: 2 } };
  expect(readRecorded(recorded({ status: "completed", request: earlier }))).toMatchObject({
    status: "completed",
  });
  for (const [json, word] of [
    ["{", "JSON"],
    ["null", "JSON"],
    ["3", "expected object"],
    [recorded({ status: "odd" }), "status"],
    [recorded({ request: { kind: "other" } }), "request"],
    [recorded({ request: { ...later, width: "wide" } }), "request.width"],
    [recorded({ status: "completed", request: { kind: "other" } }), "request.kind"],
    [recorded({ shards: 1e9 }), "shards"],
    [recorded({ result: { images: [{}] } }), "result.images"],
  ] as const)
    expect(readRecorded(json), json).toContain(word);
});

describe.skipIf(!hasRedis)("records that somebody has changed", () => {
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.kill());

  test("are set aside and named once; lists, other jobs and the whole of a part go on", async () => {
    const namespace = randomUUID();
    const log: string[] = [];
    const open = async (lanes: string[]) => {
      const queue = await openRedisQueue(redis.url, {
        ...{ queued: 1000, lockMs: 900, namespace, lanes, log: (line: string) => log.push(line) },
      });
      onTestFinished(() => queue.close());
      return queue;
    };
    const server = await open([]);
    const [bad, good, two] = [newJob(), newJob(), newJob(2)];
    for (const job of [bad, good, two]) await server.enqueue(job);
    const raw = new Redis(redis.url);
    onTestFinished(() => void raw.disconnect());
    const key = (id: string) => `{${namespace}}:job:${id}`;
    await raw.hset(key(bad.id), "job", '{"id":');
    await raw.hset(key(`${two.id}.0`), "job", recorded({ request: { kind: "odd" } }));
    expect((await server.list()).map(({ id }) => id)).toEqual([two.id, good.id]);
    expect(await server.get(bad.id)).toBeUndefined();
    expect(await server.position(two.id)).toBeGreaterThan(0);
    const worker = await open([lane]);
    const signal = new AbortController().signal;
    const ms = { encode: 0, denoise: 0, decode: 0 };
    for (const id of [good.id, `${two.id}.1`]) {
      const claim = await worker.claim(() => true, signal);
      expect(claim.job.id).toBe(id);
      await claim.finish({ status: "completed", result: { images: [], width: 8, height: 8, ms } });
    }
    await expect.poll(async () => (await server.get(two.id))?.status).toBe("failed");
    expect(await server.get(two.id)).toMatchObject({ error: { code: "DAMAGED" } });
    expect(await server.counts()).toMatchObject({ queued: 0, running: 0 });
    expect((await server.lanes()).map(({ waiting }) => waiting)).toEqual([0]);
    const named = log.filter((line) => line.includes(bad.id));
    expect(named).toHaveLength(1);
    expect(await raw.exists(`{${namespace}}:damaged:${bad.id}`)).toBe(1);
  });
});
