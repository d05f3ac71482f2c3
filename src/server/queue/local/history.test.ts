import { expect, test } from "vitest";
import type { Job } from "../queue.js";
import { createHistory, type History } from "./history.js";

/** Ids of the jobs whose fields were read, each as often as it was looked at for the first time since `forget`. */
function watched() {
  const seen = new Set<string>();
  const watch = (job: Job): Job =>
    new Proxy(job, {
      get(target, name) {
        seen.add(target.id);
        return target[name as keyof Job];
      },
    });
  return { seen, watch };
}

const job = (id: string, changes: Partial<Job> = {}): Job => ({
  ...{ id, lane: "lane", attended: false, via: "native", status: "completed", attempt: 1, created: 1 },
  request: { kind: "generate", model: "lane", count: 1, image: `start ${id}` },
  ...changes,
});
const showing = (key: string) => ({
  result: {
    images: [{ key, width: 8, height: 8, parameters: "" }],
    ...{ width: 8, height: 8, ms: { encode: 0, denoise: 0, decode: 0 } },
  },
});
const ids = (jobs: Iterable<Job>) => Array.from(jobs, ({ id }) => id);

function filled(count: number): { history: History; seen: Set<string> } {
  const history = createHistory();
  const { seen, watch } = watched();
  for (let i = 0; i < count; i++)
    history.set(watch(job(`${i}`, { ...showing(`shown ${i}`), ...(i % 100 === 7 && { task: "named" }) })));
  seen.clear();
  return { history, seen };
}

test("however long it is, no more jobs are looked at than are asked for", () => {
  const { history, seen } = filled(1000);
  const looked = (work: () => unknown) => {
    seen.clear();
    work();
    return [...seen].sort();
  };
  const status = ["completed"] as const;
  expect(looked(() => history.list({ limit: 3 }))).toEqual([]);
  expect(looked(() => history.list({ limit: 3, status }))).toEqual(["997", "998", "999"]);
  expect(looked(() => history.list({ limit: 2, status, before: "500" }))).toEqual(["498", "499"]);
  expect(looked(() => history.list({ task: "named", limit: 1 }))).toEqual(["907"]);
  expect(looked(() => history.list({ among: ["4", "9", "none"], status, before: "9" }))).toEqual(["4"]);
  expect(looked(() => history.jobsWith(["shown 3", "start 4", "none"]))).toEqual([]);
  expect(looked(() => history.counts())).toEqual([]);
  expect(looked(() => history.get("5"))).toEqual([]);
  expect(looked(() => history.delete("5"))).toEqual(["5"]);
});

test("places hold through deletions and changes", () => {
  const { history } = filled(400);
  for (let i = 0; i < 400; i++) if (i % 8 !== 3) history.delete(`${i}`);
  const left = Array.from({ length: 50 }, (_, i) => `${8 * i + 3}`);
  expect(ids(history.all())).toEqual(left);
  expect(ids(history.list({ limit: 3, before: "203" }))).toEqual(["195", "187", "179"]);
  history.set(job("11", { status: "failed" }));
  history.set(job("new", { status: "queued", task: "named" }));
  expect(ids(history.all())).toEqual([...left, "new"]);
  expect(ids(history.list({ status: ["failed", "queued"] }))).toEqual(["new", "11"]);
  expect(ids(history.list({ task: "named" }))).toEqual(["new", "307", "107"]);
  expect(history.counts()).toMatchObject({ queued: 1, failed: 1, completed: 49 });
});

test("a picture is known with every job that shows it or starts from it, until the last is gone", () => {
  const history = createHistory();
  history.set(job("a", { status: "queued" }));
  expect(history.jobsWith(["key", "start a"])).toEqual(new Map([["start a", ["a"]]]));
  history.set(job("a", showing("key")));
  history.set(job("b", showing("key")));
  expect(history.jobsWith(["key"])).toEqual(new Map([["key", ["a", "b"]]]));
  history.delete("a");
  expect(history.jobsWith(["key", "start a"])).toEqual(new Map([["key", ["b"]]]));
  history.delete("b");
  expect(history.jobsWith(["key"]).size).toBe(0);
});
