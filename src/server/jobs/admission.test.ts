import { expect, test } from "vitest";
import type { Job, JobQueue } from "../queue/queue.js";
import { Admission } from "./admission.js";

/** As much of a queue as is asked; nothing is told of what becomes of its jobs. */
function silentQueue() {
  const waiting = new Set<string>();
  const asked: string[] = [];
  const queue = {
    async get(id: string) {
      asked.push(id);
      return waiting.has(id) ? ({ id, status: "queued" } as Job) : undefined;
    },
    subscribe: () => () => {},
  } as unknown as JobQueue;
  return { queue, waiting, asked };
}

test("jobs that the queue has lost in silence do not count against their client for ever", async () => {
  const { queue, waiting, asked } = silentQueue();
  const admission = new Admission(queue, { queuedPerClient: 3 });
  for (const id of ["a", "b", "c"]) {
    await admission.admit(id, "10.0.0.1");
    waiting.add(id);
    admission.submitted(id);
  }
  expect(asked).toEqual([]);
  await expect(admission.admit("d", "10.0.0.1")).rejects.toMatchObject({ status: 429, code: "TOO_MANY" });
  await admission.admit("other", "10.0.0.2");
  // As a Redis that came back without its data.
  waiting.clear();
  await admission.admit("d", "10.0.0.1");
  // What is on its way in counts, and is not asked after.
  asked.length = 0;
  for (const id of ["e", "f"]) await admission.admit(id, "10.0.0.1");
  await expect(admission.admit("g", "10.0.0.1")).rejects.toMatchObject({ code: "TOO_MANY" });
  expect(asked).toEqual([]);
});

test("a client with very many jobs has only the oldest asked after", async () => {
  const { queue, waiting, asked } = silentQueue();
  const admission = new Admission(queue, { queuedPerClient: 500 });
  for (let i = 0; i < 500; i++) {
    await admission.admit(`${i}`, "10.0.0.1");
    waiting.add(`${i}`);
    admission.submitted(`${i}`);
  }
  await expect(admission.admit("more", "10.0.0.1")).rejects.toMatchObject({ code: "TOO_MANY" });
  expect(asked).toHaveLength(20);
});
