/**
 * Many pictures through a running server: how many an hour, what each costs in processor time (which a busy machine
 * changes less than the clock), and memory meanwhile. The first tenth, in which models are loaded, is left out of both.
 *
 *   npx tsx scripts/queue-soak.ts http://127.0.0.1:7860 --jobs 1000 --steps 4 [--count 1] [--pid <of a worker>]
 *
 * With `--pid` private memory and processor time are those of that process and of those it has started (Linux).
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: "string", default: "1000" },
    steps: { type: "string", default: "4" },
    count: { type: "string", default: "1" },
    pid: { type: "string" },
  },
});
const url = positionals[0] ?? "http://127.0.0.1:7860";
const [jobs, steps, count] = [Number(values.jobs), Number(values.steps), Number(values.count)];

async function ask<T>(path: string, body?: unknown): Promise<T> {
  const post = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(url + path, body === undefined ? {} : post);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** Megabytes of a process and those below it that are mapped from no file. */
function privateMemory(pid: string): number {
  const own = Number(/^RssAnon:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return children === "" ? own : children.split(" ").reduce((sum, child) => sum + privateMemory(child), own);
}

/** Seconds of processor time of a process and those below it, as long as they live. */
function cpuSeconds(pid: string): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  const own = (Number(fields[11]) + Number(fields[12])) / 100;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return children === "" ? own : children.split(" ").reduce((sum, child) => sum + cpuSeconds(child), own);
}

const began = performance.now();
const seconds = () => ((performance.now() - began) / 1000).toFixed(1);
const ids: string[] = [];
for (let seed = 0; seed < jobs; seed++)
  ids.push((await ask<{ id: string }>("/jobs", { prompt: "a dog", seed: seed * count, steps, count })).id);
console.log(`${jobs} jobs accepted in ${seconds()} s`);

const ended: Record<string, number> = {};
const warm = Math.ceil(jobs / 10);
let from = { at: began, cpu: 0 };
for (const [i, id] of ids.entries()) {
  for (;;) {
    const { status } = await ask<{ status: string }>(`/jobs/${id}`);
    if (status !== "queued" && status !== "running") {
      ended[status] = (ended[status] ?? 0) + 1;
      break;
    }
    await sleep(20);
  }
  if (i + 1 === warm) from = { at: performance.now(), cpu: values.pid ? cpuSeconds(values.pid) : 0 };
  if (i % Math.ceil(jobs / 20) !== 0 && i !== jobs - 1) continue;
  const memory = values.pid ? `, ${privateMemory(values.pid).toFixed(0)} MB private` : "";
  console.log(`${i + 1} jobs in ${seconds()} s${memory}`);
}
const pictures = (jobs - warm) * count;
console.log(ended, `${((pictures / (performance.now() - from.at)) * 3600_000).toFixed(0)} pictures an hour`);
if (values.pid) {
  const cost = (cpuSeconds(values.pid) - from.cpu) / pictures;
  console.log(
    `${cost.toFixed(2)} s of processor time each: ${(3600 / cost).toFixed(0)} pictures an hour and core`,
  );
}
