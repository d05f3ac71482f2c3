import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JobQueue, JobResult, NewJob, QueueEvent } from "../queue.js";
import { openLocalQueue } from "./local.js";

const path = async () => join(await mkdtemp(join(tmpdir(), "queue-")), "journal.jsonl");
const always = () => true;
const never = new AbortController().signal;

const job = (id: string, changes: Partial<NewJob> = {}): NewJob => ({
  id,
  lane: "model CPU FP32",
  request: { kind: "generate", model: "model CPU FP32", prompt: id, count: 1 },
  attended: false,
  via: "native",
  ...changes,
});
const result: JobResult = { images: [], width: 8, height: 8, ms: { encode: 1, denoise: 2, decode: 3 } };
const status = async (queue: JobQueue, id: string) => (await queue.get(id))?.status;

test("jobs are claimed in order, and end with their result", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  for (const id of ["a", "b"]) await queue.enqueue(job(id));
  expect(await queue.position("b")).toBe(1);
  const claim = await queue.claim(always, never);
  expect(claim.job).toMatchObject({ id: "a", status: "running", attempt: 1 });
  expect(await queue.position("a")).toBe(0);
  await claim.finish({ status: "completed", result });
  expect(await queue.get("a")).toMatchObject({ status: "completed", result });
  expect(await queue.position("a")).toBeUndefined();
  expect((await queue.claim(always, never)).job.id).toBe("b");
});

test("a claim waits for a job, and stops waiting with its signal", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  const waiting = queue.claim(always, never);
  await queue.enqueue(job("a"));
  expect((await waiting).job.id).toBe("a");
  const stop = new AbortController();
  const stopped = queue.claim(always, stop.signal);
  stop.abort(new Error("enough"));
  await expect(stopped).rejects.toThrow("enough");
});

test("a busy lane does not hold up the others", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  await queue.enqueue(job("a"));
  await queue.enqueue(job("b", { lane: "other" }));
  expect((await queue.claim((lane) => lane === "other", never)).job.id).toBe("b");
});

test("a full queue refuses, and takes again when there is room", async () => {
  const queue = await openLocalQueue(await path(), { queued: 2 });
  await Promise.all([queue.enqueue(job("a")), queue.enqueue(job("b"))]);
  await expect(queue.enqueue(job("c"))).rejects.toMatchObject({
    status: 429,
    headers: { "Retry-After": "10" },
  });
  await queue.claim(always, never);
  expect((await queue.enqueue(job("c"))).status).toBe("queued");
});

test("the same id is the same job", async () => {
  const queue = await openLocalQueue(await path(), { queued: 1 });
  await queue.enqueue(job("a"));
  expect((await queue.enqueue(job("a"))).created).toBe((await queue.get("a"))!.created);
  expect((await queue.counts()).queued).toBe(1);
});

test("cancelling ends a waiting job, and asks a running one to stop", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  for (const id of ["a", "b"]) await queue.enqueue(job(id));
  const claim = await queue.claim(always, never);
  expect((await queue.cancel("b"))?.status).toBe("cancelled");
  expect((await queue.cancel("a"))?.status).toBe("running");
  expect(claim.signal.aborted).toBe(true);
  await claim.finish({ status: "cancelled", result });
  expect(await status(queue, "a")).toBe("cancelled");
  expect(await queue.cancel("nobody")).toBeUndefined();
});

test("listeners hear every change in order", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  const heard: string[] = [];
  const stop = queue.subscribe(({ type, job }: QueueEvent) => heard.push(`${type} ${job.status}`));
  await queue.enqueue(job("a"));
  const claim = await queue.claim(always, never);
  await claim.heartbeat({ phase: "denoise", image: 0, images: 1, step: 1, steps: 2, share: 0.5 });
  expect((await queue.get("a"))?.progress?.share).toBe(0.5);
  await claim.finish({ status: "completed", result });
  stop();
  await queue.remove("a");
  expect(heard).toEqual(["status queued", "status running", "progress running", "status completed"]);
});

test("after a crash, waiting jobs wait, running ones get a second try and no third", async () => {
  const file = await path();
  for (const [attempt, expected] of [
    [1, "queued"],
    [2, "lost"],
  ] as const) {
    const queue = await openLocalQueue(file, { queued: 9 });
    if (attempt === 1) for (const id of ["poison", "waits"]) await queue.enqueue(job(id));
    const claim = await queue.claim(always, never);
    expect(claim.job).toMatchObject({ id: "poison", attempt });
    // No close: the process is gone. Another one opens what is on disk.
    const after = await openLocalQueue(file, { queued: 9 });
    expect(await status(after, "poison")).toBe(expected);
    expect(await status(after, "waits")).toBe("queued");
  }
  const last = await openLocalQueue(file, { queued: 9 });
  expect(await last.get("poison")).toMatchObject({ status: "lost", error: { code: "LOST" } });
});

test("after a crash, a job that somebody waited for is lost, never done", async () => {
  const file = await path();
  const queue = await openLocalQueue(file, { queued: 9 });
  await queue.enqueue(job("a", { attended: true }));
  await queue.claim(always, never);
  expect(await status(await openLocalQueue(file, { queued: 9 }), "a")).toBe("lost");
});

test("history survives: newest first, page by page, until it is removed", async () => {
  const file = await path();
  const queue = await openLocalQueue(file, { queued: 9 });
  for (const id of ["a", "b", "c"]) {
    await queue.enqueue(job(id, { task: `task ${id}` }));
    await (await queue.claim(always, never)).finish({ status: "completed", result });
  }
  await queue.remove("b");
  await queue.close();
  const again = await openLocalQueue(file, { queued: 9 });
  expect((await again.list()).map(({ id }) => id)).toEqual(["c", "a"]);
  expect((await again.list({ limit: 1 })).map(({ id }) => id)).toEqual(["c"]);
  expect((await again.list({ before: "c" })).map(({ id }) => id)).toEqual(["a"]);
  expect((await again.list({ task: "task a" })).map(({ id }) => id)).toEqual(["a"]);
  expect(await again.list({ status: ["failed"] })).toEqual([]);
});

test("a job that is released is tried once more", async () => {
  const queue = await openLocalQueue(await path(), { queued: 9 });
  await queue.enqueue(job("a"));
  const reason = { code: "WORKER", message: "died" };
  await (await queue.claim(always, never)).release(reason);
  const second = await queue.claim(always, never);
  expect(second.job.attempt).toBe(2);
  await second.release(reason);
  expect(await queue.get("a")).toMatchObject({ status: "failed", error: reason });
});

test("a journal torn at any byte: what it says is true, what it does not is tried again", async () => {
  const file = await path();
  const before = await openLocalQueue(file, { queued: 9 });
  for (const id of ["done", "ran", "waits"]) await before.enqueue(job(id));
  await (await before.claim(always, never)).finish({ status: "completed", result });
  await before.claim(always, never);
  await before.remove("done");
  await before.close();
  const bytes = await readFile(file);
  const ends = [...bytes].flatMap((byte, i) => (byte === 10 ? [i + 1] : []));
  expect(ends).toHaveLength(7);
  const torn = `${file}.torn`;
  for (let length = 0; length <= bytes.length; length++) {
    await writeFile(torn, bytes.subarray(0, length));
    const after = await openLocalQueue(torn, { queued: 9 });
    const lines = ends.filter((end) => end <= length).length;
    const expected = {
      // Accepted with line 1, taken with 4, done with 5, forgotten with 7.
      done: lines < 1 || lines === 7 ? undefined : lines < 5 ? "queued" : "completed",
      ran: lines < 2 ? undefined : "queued",
      waits: lines < 3 ? undefined : "queued",
    };
    for (const [id, state] of Object.entries(expected)) expect(await status(after, id)).toBe(state);
    expect((await after.get("ran"))?.attempt).toBe(lines < 2 ? undefined : lines < 6 ? 0 : 1);
    await after.close();
  }
}, 600_000);

test("a clock that is set back changes nothing but what people read", async () => {
  const file = await path();
  let now = Date.UTC(2026, 0, 1);
  const queue = await openLocalQueue(file, { queued: 9, now: () => now });
  for (const id of ["a", "b", "c"]) {
    await queue.enqueue(job(id));
    now -= 24 * 3600_000;
  }
  for (const id of ["a", "b", "c"]) {
    const claim = await queue.claim(always, never);
    expect(claim.job.id).toBe(id);
    now -= 3600_000;
    await claim.finish({ status: "completed", result });
  }
  await queue.close();
  const again = await openLocalQueue(file, { queued: 9, now: () => now });
  expect((await again.list()).map(({ id, status }) => `${id} ${status}`)).toEqual([
    "c completed",
    "b completed",
    "a completed",
  ]);
});
