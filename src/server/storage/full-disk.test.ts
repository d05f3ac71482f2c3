import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { StableDiffusion } from "../../index.js";
import { goldenPath } from "../../testing/golden.js";
import { hasRedis, startRedis } from "../../testing/redis-server.js";
import { Jobs } from "../jobs/jobs.js";
import type { Work } from "../jobs/running.js";
import { openLocalQueue } from "../queue/local/local.js";
import { openRedisQueue } from "../queue/redis/redis.js";
import { folderStore } from "./images.js";

/** A file system of its own of 8 MB; mounting one takes root, and a container may forbid it all the same. */
const disk = mkdtempSync(join(tmpdir(), "full-"));
const mounted = ((): boolean => {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();
if (!mounted) console.warn("skipped: no small file system can be mounted here");

const job = {
  lane: "model",
  request: { kind: "generate", model: "model", count: 1 },
  via: "native",
} as const;
const never = new AbortController().signal;
const filler = join(disk, "filler");

/** Leaves so many bytes, none by default. */
function fill(room = 0): void {
  rmSync(filler, { force: true });
  for (let size = 2 ** 20; size >= 1; size >>= 1)
    for (;;)
      try {
        writeFileSync(filler, Buffer.alloc(size), { flag: "a" });
      } catch {
        break;
      }
  if (room > 0) truncateSync(filler, statSync(filler).size - room);
}

describe.skipIf(!mounted)("a full disk", () => {
  beforeAll(() => rmSync(filler, { force: true }));
  afterAll(() => {
    execFileSync("umount", ["-l", disk]);
    rmSync(disk, { recursive: true });
  });

  test("results: the job fails and says so, nothing half is left, and the next one works", async () => {
    const images = folderStore(join(disk, "images"));
    const folder = mkdtempSync(join(tmpdir(), "journal-"));
    const queue = await openLocalQueue(join(folder, "journal.jsonl"), { queued: 9 });
    const work: Work = async (_job, { finished }) => {
      finished({
        key: await images.put(Buffer.alloc(200_000, randomUUID())),
        width: 8,
        height: 8,
        parameters: "",
      });
      return { width: 8, height: 8, ms: { encode: 0, denoise: 0, decode: 0 } };
    };
    const jobs = new Jobs(queue, work, { jobMs: 60_000, log: () => {} });
    jobs.start();
    onTestFinished(() => jobs.close(1000));
    expect(await jobs.run(job, never)).toMatchObject({ status: "completed" });
    fill();
    expect(await jobs.run(job, never)).toMatchObject({ status: "failed", error: { code: "DISK" } });
    const files = readdirSync(disk, { recursive: true }).map(String);
    expect(files.filter((file) => file.endsWith(".new"))).toEqual([]);
    expect(files.filter((file) => file.endsWith(".png"))).toHaveLength(1);
    rmSync(filler);
    expect(await jobs.run(job, never)).toMatchObject({ status: "completed" });
  });

  test("journal: a job that cannot be kept is not accepted; those that were are there afterwards", async () => {
    const path = join(disk, "journal.jsonl");
    const queue = await openLocalQueue(path, { queued: 9 });
    const kept = await queue.enqueue({ ...job, id: "kept", attended: false });
    expect(kept.status).toBe("queued");
    fill();
    // Longer than what is left of the journal's last page: the line is cut short.
    const long = { ...job.request, prompt: "x".repeat(10_000) };
    const refused = { ...job, request: long, id: "refused", attended: false };
    // Sent twice at the same time, as a client does that has heard nothing.
    for (const sent of [queue.enqueue(refused), queue.enqueue(refused)])
      await expect(sent).rejects.toMatchObject({ code: "DISK" });
    rmSync(filler);
    await queue.enqueue({ ...job, id: "later", attended: false });
    await queue.close();
    expect(existsSync(path)).toBe(true);
    const again = await openLocalQueue(path, { queued: 9 });
    onTestFinished(() => again.close());
    expect((await again.list()).map(({ id }) => id)).toEqual(["later", "kept"]);
  });

  test.skipIf(!hasRedis)(
    "the queue's own: requests are refused, nothing that was accepted is lost",
    async () => {
      const folder = join(disk, "redis");
      mkdirSync(folder);
      const redis = await startRedis(folder);
      const queue = await openRedisQueue(redis.url, { queued: 100_000 });
      onTestFinished(() => queue.close());
      const accepted: string[] = [];
      const submit = (id: string) =>
        queue.enqueue({
          ...job,
          request: { ...job.request, prompt: "x".repeat(20_000) },
          id,
          attended: false,
        });
      const fillUp = async () => {
        for (let i = 0; i < 1000; i++) accepted.push((await submit(`job ${i}`)).id);
      };
      fill(300_000);
      await expect(fillUp()).rejects.toMatchObject({ status: 503, code: "QUEUE" });
      expect(accepted.length).toBeGreaterThan(0);
      rmSync(filler);
      await redis.start();
      onTestFinished(() => redis.kill());
      for (const id of accepted) expect((await queue.get(id))?.status).toBe("queued");
      expect((await submit("later")).status).toBe("queued");
    },
  );

  test("cache: a model that finds no room says so, wherever it runs out, and leaves nothing half behind", async () => {
    const cacheDir = join(disk, "cache");
    const folder = goldenPath("models/tiny-sd1");
    const model = await StableDiffusion.load(folder, { cacheDir, threads: 1 });
    const elsewhere = await StableDiffusion.load(folder, {
      cacheDir: mkdtempSync(join(tmpdir(), "cache-")),
      threads: 1,
    });
    onTestFinished(async () => void (await Promise.all([model.dispose(), elsewhere.dispose()])));
    const generate = (on: StableDiffusion) =>
      on.generate({ prompt: "a", seed: 1, steps: 1, width: 16, height: 16, output: "latents" });
    let refused = 0;
    for (let room = 0; ; room += 150_000) {
      fill(room);
      const result = await generate(model).catch((error: unknown) => error);
      if (!(result instanceof Error)) break;
      expect(result).toMatchObject({ code: "DISK", message: expect.stringContaining("no space") });
      refused++;
    }
    expect(refused).toBeGreaterThan(3);
    rmSync(filler);
    expect((await generate(model)).latents).toEqual((await generate(elsewhere)).latents);
  });
});
