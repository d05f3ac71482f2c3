import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DiffusionError } from "../../index.js";
import { untilAborted } from "../fixture.js";
import { openLocalQueue } from "../queue/local/local.js";
import type { Job, JobImage, JobQueue, NewJob } from "../queue/queue.js";
import { Jobs } from "./jobs.js";
import type { Work } from "./running.js";

const file = async () => join(await mkdtemp(join(tmpdir(), "jobs-")), "journal.jsonl");

async function started(
  work: Work,
  { jobMs = 60_000, parallel = 1, path = "", log = (_line: string) => {} } = {},
) {
  const queue = await openLocalQueue(path || (await file()), { queued: 9 });
  const jobs = new Jobs(queue, work, { jobMs, parallel, log });
  jobs.start();
  return jobs;
}
const job = (lane = "model"): Omit<NewJob, "id" | "attended"> => ({
  lane,
  request: { kind: "generate", model: lane, count: 1 },
  via: "native",
});
const done = { width: 8, height: 8, ms: { encode: 0, denoise: 0, decode: 0 } };
const picture = (key: string): JobImage => ({ key, width: 8, height: 8, parameters: "" });
const nobody = new AbortController().signal;

/** Work that ends when it is told to. */
function gated() {
  const running: string[] = [];
  const open: (() => void)[] = [];
  let most = 0;
  const work: Work = async ({ lane }) => {
    running.push(lane);
    most = Math.max(most, running.length);
    await new Promise<void>((resolve) => open.push(resolve));
    running.splice(running.indexOf(lane), 1);
    return done;
  };
  const next = async () => {
    while (open.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    open.shift()!();
  };
  return { work, running, next, most: () => most };
}

test("one job at a time", async () => {
  const gate = gated();
  const jobs = await started(gate.work);
  const all = ["a", "a", "b"].map((lane) => jobs.run(job(lane), nobody));
  for (const _ of all) await gate.next();
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(3).fill("completed"));
  expect(gate.most()).toBe(1);
});

test("work that does not hear of a cancel holds up neither its job nor those behind it", async () => {
  const lanes: string[] = [];
  let finish = (_image: JobImage) => {};
  const jobs = await started(async ({ lane }, { finished }) => {
    lanes.push(lane);
    if (lane === "b") return done;
    finish = finished;
    finished(picture("before"));
    return new Promise(() => {});
  });
  const { id } = await jobs.submit({ ...job("a"), attended: false });
  const behind = jobs.run(job("b"), nobody);
  while (lanes.length < 1) await new Promise((resolve) => setTimeout(resolve, 1));
  await jobs.queue.cancel(id);
  // The work would never end it.
  const ended = await jobs.ended(id);
  finish(picture("too late"));
  expect(ended).toMatchObject({ status: "cancelled", result: { images: [{ key: "before" }] } });
  expect((await jobs.queue.get(id))?.result?.images).toHaveLength(1);
  expect((await behind).status).toBe("completed");
});

test("the next job begins while what became of the last one is being written; closing waits for that", async () => {
  const queue = await openLocalQueue(await file(), { queued: 9 });
  const writing: (() => void)[] = [];
  const slow: JobQueue = {
    ...queue,
    claim: async (...args) => {
      const claim = await queue.claim(...args);
      const written = () => new Promise<void>((resolve) => writing.push(resolve));
      return { ...claim, finish: (outcome) => written().then(() => claim.finish(outcome)) };
    },
  };
  const began: string[] = [];
  const work: Work = async ({ id }) => {
    began.push(id);
    return done;
  };
  const jobs = new Jobs(slow, work, { jobMs: 60_000, log: () => {} });
  jobs.start();
  const ids = [(await jobs.submit({ ...job(), attended: false })).id];
  ids.push((await jobs.submit({ ...job(), attended: false })).id);
  while (writing.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(began).toEqual(ids);
  expect(await queue.counts()).toMatchObject({ running: 2, completed: 0 });
  const closed = jobs.close(60_000);
  for (const write of writing) write();
  await closed;
  expect(await queue.counts()).toMatchObject({ running: 0, completed: 2 });
});

test("in parallel only jobs of different models", async () => {
  const gate = gated();
  const jobs = await started(gate.work, { parallel: 2 });
  const all = ["a", "a", "b"].map((lane) => jobs.run(job(lane), nobody));
  while (gate.running.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(gate.running).toEqual(["a", "b"]);
  for (const _ of all) await gate.next();
  await Promise.all(all);
});

test("a client that leaves cancels its job, waiting or running; finished pictures stay", async () => {
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const jobs = await started(async (_job, hooks) => {
    hooks.finished(picture("first"));
    begin();
    return untilAborted(hooks.signal);
  });
  const [running, waiting] = [new AbortController(), new AbortController()];
  const first = jobs.run(job(), running.signal);
  const second = jobs.run(job(), waiting.signal);
  waiting.abort();
  expect(await second).toMatchObject({ status: "cancelled", attempt: 0 });
  await begun;
  running.abort();
  expect(await first).toMatchObject({ status: "cancelled", result: { images: [{ key: "first" }] } });
});

test("a client that left before its job was accepted gets no job run", async () => {
  let runs = 0;
  const gate = gated();
  const jobs = await started((job, hooks) => {
    runs++;
    return gate.work(job, hooks);
  });
  const first = jobs.run(job(), nobody);
  expect((await jobs.run(job(), AbortSignal.abort())).status).toBe("cancelled");
  await gate.next();
  await first;
  expect(runs).toBe(1);
});

test("a job that takes too long fails and says so", async () => {
  const jobs = await started((_job, hooks) => untilAborted(hooks.signal), { jobMs: 5 });
  expect(await jobs.run(job(), nobody)).toMatchObject({ status: "failed", error: { code: "TIMEOUT" } });
});

test("errors become words; what is our mistake says no more than that", async () => {
  const errors = [new DiffusionError("BAD_OPTION", "steps", { hint: "fewer" }), new Error("secret path")];
  const jobs = await started(async () => {
    throw errors.shift()!;
  });
  expect((await jobs.run(job(), nobody)).error).toEqual({
    code: "BAD_OPTION",
    message: "steps",
    hint: "fewer",
  });
  const { error } = await jobs.run(job(), nobody);
  expect(error?.code).toBe("INTERNAL");
  expect(error?.message).not.toContain("secret");
});

test("skipping leaves out one picture", async () => {
  const jobs = await started(async (_job, hooks) => {
    for (const key of ["a", "b"]) {
      const { skip } = hooks.skippable();
      if (key === "a") {
        jobs.skip();
        expect(skip.aborted).toBe(true);
        continue;
      }
      expect(skip.aborted).toBe(false);
      hooks.finished(picture(key));
    }
    return done;
  });
  const { status, result } = await jobs.run(job(), nobody);
  expect([status, result?.images.map(({ key }) => key)]).toEqual(["completed", ["b"]]);
});

test("when the process that computes dies, a job without a client is tried once more", async () => {
  const attempts: number[] = [];
  const lines: string[] = [];
  const work: Work = async ({ attempt }) => {
    attempts.push(attempt);
    throw new DiffusionError("WORKER", "died");
  };
  const jobs = await started(work, { log: (line) => lines.push(line) });
  const { id } = await jobs.submit({ ...job(), attended: false });
  expect(await jobs.ended(id)).toMatchObject({ status: "failed", error: { code: "WORKER" } });
  expect(attempts).toEqual([1, 2]);
  await jobs.close(60_000);
  expect(lines).toEqual([
    `job ${id} (model, attempt 1): died; it is tried once more`,
    `job ${id} (model, attempt 2): died`,
  ]);
});

test("closing finishes what runs, refuses what comes, and keeps what waits for the next start", async () => {
  const path = await file();
  const gate = gated();
  const jobs = await started(gate.work, { path });
  const running = jobs.run(job(), nobody);
  const waiting = await jobs.submit({ ...job(), attended: false });
  const attended = expect(jobs.run(job(), nobody)).rejects.toMatchObject({ status: 503, code: "CLOSING" });
  while (gate.running.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const closed = jobs.close(60_000);
  await expect(jobs.submit({ ...job(), attended: false })).rejects.toThrow("shutting down");
  await gate.next();
  await closed;
  expect((await running).status).toBe("completed");
  await attended;
  const next = await started(gate.work, { path });
  await gate.next();
  expect((await next.ended(waiting.id)).status).toBe("completed");
});

test("what runs longer than the grace period is run again at the next start", async () => {
  const path = await file();
  const jobs = await started((_job, hooks) => untilAborted(hooks.signal), { path });
  const { id } = await jobs.submit({ ...job(), attended: false });
  const lost = expect(jobs.run(job("other"), nobody)).rejects.toMatchObject({ status: 503, code: "CLOSING" });
  while ((await jobs.queue.get(id))?.status !== "running")
    await new Promise((resolve) => setTimeout(resolve, 1));
  await jobs.close(1);
  await lost;
  const next = await started(async () => done, { path });
  expect(await next.ended(id)).toMatchObject({ status: "completed", attempt: 2 } satisfies Partial<Job>);
});
