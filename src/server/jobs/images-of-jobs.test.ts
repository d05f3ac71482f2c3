import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { encodePng } from "../../index.js";
import { base64Png, grey, type TestServer, testServer, untilAborted } from "../fixture.js";
import { imageKeys } from "../queue/pictures.js";
import type { Job, JobFilter } from "../queue/queue.js";
import { Refusal } from "../refusal.js";
import { forgetOld, sweep } from "./images-of-jobs.js";

const servers: TestServer[] = [];
const started = async (...options: Parameters<typeof testServer>): Promise<TestServer> => {
  const server = await testServer(...options);
  servers.push(server);
  return server;
};
afterEach(async () => {
  for (const { parts } of servers.splice(0)) {
    parts.foreign.dispose();
    await parts.jobs.close(0);
  }
});

const storedIn = async ({ folder }: TestServer): Promise<string[]> => {
  const all = await readdir(join(folder, "images"), { recursive: true }).catch(() => []);
  return all.filter((name) => name.endsWith(".png"));
};
const start = (value: number) => base64Png(grey(64, 64, value));
const posted = (server: TestServer, body: object) =>
  server.send("POST", "/jobs", { prompt: "", steps: 2, ...body });
const endless = { work: (_job: unknown, { signal }: { signal: AbortSignal }) => untilAborted(signal) };

test("a job that is refused leaves no picture, whatever refuses it", async () => {
  const server = await started({ ...endless, limits: { queued: 1, queuedPerClient: 2 } });
  const { jobs } = server.parts;
  // By its options, by the queue's length, and by the queue itself at the last moment.
  expect((await posted(server, { image: start(1), strength: 0.001 })).status).toBe(400);
  expect(await storedIn(server)).toEqual([]);
  const enqueue = jobs.queue.enqueue;
  jobs.queue.enqueue = () => Promise.reject(new Refusal(429, "QUEUE_FULL", "full"));
  expect((await posted(server, { image: start(2) })).status).toBe(429);
  expect(await storedIn(server)).toEqual([]);
  jobs.queue.enqueue = enqueue;
  expect((await posted(server, { image: start(3) })).status).toBe(202);
  await expect.poll(() => server.ran.length).toBe(1);
  expect((await posted(server, { image: start(4) })).status).toBe(202);
  const kept = await storedIn(server);
  expect(kept).toHaveLength(2);
  const full = await posted(server, { image: start(5) });
  expect([full.status, await full.json()]).toMatchObject([429, { error: { code: "QUEUE_FULL" } }]);
  // One that others have stays.
  jobs.queue.enqueue = () => Promise.reject(new Refusal(429, "QUEUE_FULL", "full"));
  jobs.queue.counts = async () => ({ queued: 0, running: 0, completed: 0, failed: 0, cancelled: 0, lost: 0 });
  expect((await posted(server, { image: start(3) })).status).toBe(429);
  expect(await storedIn(server)).toEqual(kept);
});

test("a client with too many jobs has nothing decoded", async () => {
  const server = await started({ ...endless, limits: { queuedPerClient: 1 } });
  // The first one runs, the second one waits.
  for (const value of [1, 2]) {
    expect((await posted(server, { image: start(value) })).status).toBe(202);
    await expect.poll(() => server.ran.length).toBe(1);
  }
  const { foreign } = server.parts;
  foreign.ofRequest = () => expect.fail("a picture was looked at");
  const refused = await posted(server, { image: start(3) });
  expect([refused.status, await refused.json()]).toMatchObject([429, { error: { code: "TOO_MANY" } }]);
});

test("pictures of no job are swept once they are old, those of jobs stay", async () => {
  const server = await started();
  const { images, jobs } = server.parts;
  const accepted = await posted(server, { image: start(1) });
  const { id } = (await accepted.json()) as { id: string };
  await jobs.ended(id);
  const kept = (await storedIn(server)).sort();
  expect(kept).toHaveLength(2);
  const orphan = await images.put(encodePng(grey(3, 3)));
  const young = await images.put(encodePng(grey(4, 4)));
  const long = new Date(Date.now() - 3 * 60 * 60_000);
  const file = (key: string) => join(server.folder, "images", key.slice(0, 2), `${key}.png`);
  for (const path of [...kept.map((name) => join(server.folder, "images", name)), file(orphan)])
    await utimes(path, long, long);
  expect(await sweep(images, jobs.queue, 2 * 60 * 60_000)).toBe(1);
  expect((await storedIn(server)).sort()).toEqual([...kept, join(young.slice(0, 2), `${young}.png`)].sort());
});

test("a picture that is sent again while others are swept stays", async () => {
  const server = await started();
  const { images, queue } = { images: server.parts.images, queue: server.parts.jobs.queue };
  const png = encodePng(grey(8, 8, 7));
  const key = await images.put(png);
  const [file] = await storedIn(server);
  const long = new Date(Date.now() - 3 * 60 * 60_000);
  await utimes(join(server.folder, "images", file!), long, long);
  const asked = {
    jobsWith: async (keys: readonly string[]) => {
      const found = await queue.jobsWith(keys);
      await images.put(png);
      return found;
    },
  };
  await sweep(images, asked, 60 * 60_000);
  expect(await images.get(key)).toBeDefined();
});

test("jobs that ended long ago are forgotten with their pictures; favourites stay, and what other jobs have", async () => {
  const server = await started();
  const { images, jobs } = server.parts;
  const ended = async (value: number, width: number) => {
    const { id } = (await (await posted(server, { image: start(value), width, height: 64 })).json()) as Job;
    return (await jobs.ended(id))!;
  };
  // The first two begin with the same picture.
  const [old, loved, other] = [await ended(1, 64), await ended(1, 72), await ended(2, 80)];
  const young = await ended(2, 88);
  const favourites = [loved.result!.images[0]!.key];
  const queue = {
    remove: (id: string) => jobs.queue.remove(id),
    jobsWith: (keys: readonly string[]) => jobs.queue.jobsWith(keys),
    // As they would be listed a month later, but for the last one.
    list: async (filter?: JobFilter) =>
      (await jobs.queue.list(filter)).map((job) => (job.id === young.id ? job : { ...job, finished: 1000 })),
  };
  expect(await forgetOld({ images, queue }, { endedBefore: 2000, favourites })).toBe(2);
  expect((await jobs.queue.list()).map(({ id }) => id)).toEqual([young.id, loved.id]);
  const left = (await storedIn(server)).map((name) => name.slice(3, -4)).sort();
  expect(left).toEqual([...new Set([...imageKeys(loved), ...imageKeys(young)])].sort());
  expect(left).not.toContain(old.result!.images[0]!.key);
  expect(left).not.toContain(other.result!.images[0]!.key);
  expect(await forgetOld({ images, queue }, { endedBefore: 2000, favourites })).toBe(0);
});

test("what a deleted job leaves behind is found without a look at the rest of the history", async () => {
  const server = await started();
  const { jobs, images, settings } = server.parts;
  const made: Job[] = [];
  for (let i = 0; i < 12; i++) {
    const { id } = (await (
      await posted(server, { image: start(i % 6), width: 64 + 8 * i, height: 64 })
    ).json()) as Job;
    made.push((await jobs.ended(id))!);
  }
  const read: string[] = [];
  const { get, list } = jobs.queue;
  jobs.queue.get = async (id) => {
    read.push(id);
    return get(id);
  };
  jobs.queue.list = async (filter) => {
    const found = await list(filter);
    read.push(...found.map(({ id }) => id));
    return found;
  };
  const { id, request, result } = made[3]!;
  expect((await server.send("DELETE", `/history/${id}`)).status).toBe(204);
  expect(read).toEqual([id]);
  // Its own picture is gone, the one that another job begins with is not.
  expect(await images.get(result!.images[0]!.key)).toBeUndefined();
  expect(await images.get((request as { image?: string }).image!)).toBeDefined();
  read.length = 0;
  const loved = made[5]!;
  await settings.set({ favourites: [loved.result!.images[0]!.key] });
  const answer = (await (await server.send("GET", "/jobs?favourites=true")).json()) as { jobs: Job[] };
  expect(answer.jobs.map((job) => job.id)).toEqual([loved.id]);
  expect(read).toEqual([loved.id]);
});

test("beyond its quota the server takes no more jobs until some are deleted", async () => {
  const server = await started({ limits: { storedBytes: 100 } });
  const first = await posted(server, { image: start(1) });
  const { id } = (await first.json()) as { id: string };
  await server.parts.jobs.ended(id);
  const refused = await posted(server, {});
  expect([refused.status, await refused.json()]).toMatchObject([
    507,
    { error: { code: "QUOTA", hint: expect.stringContaining("--quota") } },
  ]);
  expect((await server.send("DELETE", `/history/${id}`)).status).toBe(204);
  expect((await posted(server, {})).status).toBe(202);
});
