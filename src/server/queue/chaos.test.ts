import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodePng, encodePng, type Image, StableDiffusion } from "../../index.js";
import { chaosModels, type Fault, faults, type Random, startChaos } from "../../testing/chaos.js";
import { isOver, type SeenJob } from "../../testing/cluster.js";
import { goldenPath } from "../../testing/golden.js";
import { buildProcesses, serviceProcesses } from "../../testing/processes.js";
import { hasRedis } from "../../testing/redis-server.js";

if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

const jobs = 200;
/** Seeds of each model: jobs take turns at them, so that few single runs are needed to compare with. */
const seeds = 6;

let built: Awaited<ReturnType<typeof buildProcesses>>;

describe.skipIf(!hasRedis)(
  "kills, drains, frozen workers and a store that goes away, in a seeded order",
  () => {
    beforeAll(async () => {
      built = await buildProcesses(serviceProcesses);
    }, 120_000);
    afterAll(() => built?.remove());

    test(`${jobs} jobs of two models: each ends once, every picture is that of a single run, nothing stalls`, async () => {
      const random = generator(9);
      const [service, singles] = await Promise.all([startChaos(built.folder, random), singleRuns()]);
      const client = clientOf(service.urls, random);
      const ids: string[] = [];
      const order = shuffled([...faults, "kill compute", "freeze worker", "kill redis"] as const, random);
      for (const [i, fault] of order.entries()) {
        const until = Math.ceil((jobs * (i + 1)) / order.length);
        await Promise.all(Array.from({ length: until - ids.length }, () => submit(client, ids)));
        await service.worked(20);
        // With more to do, where nothing was left that could be hit.
        while (!(await service.strike(fault))) await submit(client, ids);
      }
      await service.settle();
      const ended: SeenJob[] = [];
      for (const id of ids) ended.push(await endOf(client, id));

      const statuses: Record<string, number> = {};
      for (const { status } of ended) statuses[status] = (statuses[status] ?? 0) + 1;
      console.info(order.join(", "), "ended", statuses);
      expect(ids.length).toBeGreaterThanOrEqual(jobs);
      expect(new Set(ids).size).toBe(ids.length);
      const completed = ended.flatMap((job, n) => (job.status === "completed" ? [{ job, n }] : []));
      // At most two attempts: who is unlucky twice has failed, and says so. Most are not.
      expect(completed.length).toBeGreaterThan(jobs / 2);
      const unlucky = ended.filter(({ status }) => status !== "completed" && status !== "cancelled");
      for (const { status, error } of unlucky)
        expect([`lost LOST`, `failed LOST`, `failed WORKER`]).toContain(`${status} ${error?.code}`);
      const pictures = completed.map(async ({ job, n }) => [n, await picturesOf(job, service.urls[0]!)]);
      expect(await Promise.all(pictures)).toEqual(completed.map(({ n }) => [n, expectedOf(n, singles)]));
      expect(await endsTold(service.client, ids)).toEqual(ids.map(() => 1));
      for (const list of ["waiting", "running", "begun"])
        expect([list, await service.client.zcard(`{tfjs-diffusion}:${list}`)]).toEqual([list, 0]);
    }, 600_000);
  },
);

/** What job `n` asks for: every eighth has three pictures, of each model as many. */
function requestOf(n: number) {
  const model = chaosModels[n % 2]!;
  const seed = 10 * (Math.floor(n / 2) % seeds);
  return { model, ...promptOf(model, seed), seed, steps: 2, count: n % 16 < 2 ? 3 : 1 };
}
const promptOf = (model: string, seed: number) =>
  model === "tiny-sd1" ? { prompt: `number ${seed - (seed % 10)}` } : {};

type Client = <T>(method: string, path: string, body?: unknown, key?: string) => Promise<T>;

/** The next job; every tenth is cancelled as soon as it is accepted. */
async function submit(client: Client, ids: string[]): Promise<void> {
  const n = ids.push("") - 1;
  ids[n] = (await client<SeenJob>("POST", "/jobs", requestOf(n), `job ${n}`)).id;
  if (n % 10 === 5) await client("DELETE", `/jobs/${ids[n]}`);
}

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

async function endOf(client: Client, id: string): Promise<SeenJob> {
  for (;;) {
    const job = await client<SeenJob>("GET", `/jobs/${id}`);
    if (isOver(job)) return job;
    await sleep(100);
  }
}

/** The pixels' hash of each picture, or why there is none. */
const picturesOf = (job: SeenJob, url: string): Promise<string[]> =>
  Promise.all(
    job.result!.images.map(async (image) => {
      const answer = await fetch(url + image.url);
      if (answer.status !== 200) return `status ${answer.status}`;
      return pixelHash(decodePng(new Uint8Array(await answer.arrayBuffer())).image);
    }),
  );

function expectedOf(n: number, singles: ReadonlyMap<string, string>): (string | undefined)[] {
  const { model, seed, count } = requestOf(n);
  return Array.from({ length: count }, (_, i) => singles.get(`${model} ${seed + i}`));
}

/** The pixels' hash of each picture that any job asks for, each made by itself in this process, one after the other. */
async function singleRuns(): Promise<ReadonlyMap<string, string>> {
  const singles = new Map<string, string>();
  for (const model of chaosModels) {
    await using loaded = await StableDiffusion.load(goldenPath(`models/${model}`), { threads: 1 });
    for (let seed = 0; seed < 10 * seeds; seed += seed % 10 === 2 ? 8 : 1) {
      const { images } = await loaded.generate({ ...promptOf(model, seed), seed, steps: 2 });
      singles.set(`${model} ${seed}`, pixelHash(images[0]!));
    }
  }
  expect(new Set(singles.values()).size).toBe(2 * 3 * seeds);
  return singles;
}

/** As a PNG keeps them. */
const pixelHash = (image: Image): string =>
  createHash("sha256")
    .update(decodePng(encodePng(image)).image.data)
    .digest("hex")
    .slice(0, 16);

/** How often the end of each job was told. */
async function endsTold(
  client: Awaited<ReturnType<typeof startChaos>>["client"],
  ids: readonly string[],
): Promise<(number | undefined)[]> {
  const ends = new Map<string, number>();
  for (const [, [, , , json]] of await client.xrange("{tfjs-diffusion}:events", "-", "+")) {
    const job = JSON.parse(json!) as SeenJob;
    if (isOver(job)) ends.set(job.id, (ends.get(job.id) ?? 0) + 1);
  }
  return ids.map((id) => ends.get(id));
}

function shuffled(list: readonly Fault[], random: Random): Fault[] {
  return list
    .map((fault) => ({ fault, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ fault }) => fault);
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
