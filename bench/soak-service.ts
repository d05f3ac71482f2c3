import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { goldenPath } from "../src/testing/golden.js";
import {
  buildProcesses,
  childrenOf,
  serviceProcesses,
  startProcess,
  type TestProcess,
} from "../src/testing/processes.js";
import { freePort, hasRedis, startRedis } from "../src/testing/redis-server.js";
import { progress } from "./processes.js";
import type { Table } from "./table.js";

export interface ServiceSoakOptions {
  readonly jobs: number;
  /** Over which the jobs are sent, one after the other. */
  readonly minutes: number;
}

/** What a process and those below it hold: megabytes that no file backs, and open files. */
interface Held {
  readonly megabytes: number;
  readonly files: number;
}
interface Sample {
  readonly jobs: number;
  readonly minutes: number;
  readonly held: readonly Held[];
}

/** Growth over the second half that counts as none: what allocators and garbage leave lying about. */
const tolerance = { share: 0.05, megabytes: 16, files: 3 };
/** How often a request is sent again that was answered with 503, and how often that was needed in all. */
const mostAgain = 10;
const askedAgain = { count: 0 };
const names = ["server", "worker 1", "worker 2"];

/**
 * A service as it is run (a server, two workers, a Redis with an fsync for each change, real tiny models) for so many
 * minutes: each job is sent by itself, followed by its events or asked for again and again as clients do, its picture
 * fetched, every tenth cancelled, every seventh deleted.
 *
 * @throws Error when memory or open files grow, or a job does not end as it should
 */
export async function benchServiceSoak({ jobs, minutes }: ServiceSoakOptions): Promise<Table[]> {
  if (!hasRedis) throw new Error("redis-server is not installed (apt-get install redis-server)");
  const built = await buildProcesses(serviceProcesses);
  const redis = await startRedis();
  const data = mkdtempSync(join(tmpdir(), "soak-"));
  const cli = join(built.folder, "cli.js");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const place = ["--queue", redis.url, "--data", data, "--models", goldenPath("models")];
  const model = ["--model", "tiny-sd1"];
  const processes: TestProcess[] = [];
  try {
    processes.push(
      await startProcess(cli, ["serve", "--json", ...place, "--port", String(port)], {}, '"url"'),
    );
    for (let i = 0; i < 2; i++)
      processes.push(
        await startProcess(cli, ["worker", ...place, ...model, "--threads", "1"], {}, "waiting for jobs"),
      );
    const samples = await sendAll(url, processes, { jobs, minutes });
    const problems = growth(samples);
    if (problems.length > 0) throw new Error(`not flat: ${problems.join("; ")}\n${JSON.stringify(samples)}`);
    return [tableOf(samples, { jobs, minutes })];
  } finally {
    await Promise.all(processes.map((process) => process.kill("SIGTERM")));
    await redis.kill();
    rmSync(data, { recursive: true, force: true });
    built.remove();
  }
}

async function sendAll(
  url: string,
  processes: readonly TestProcess[],
  { jobs, minutes }: ServiceSoakOptions,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const began = performance.now();
  const every = Math.max(1, Math.floor(jobs / 40));
  const open = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for (let n = 1; n <= jobs; n++) {
    const job: Promise<void> = oneJob(url, n)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => open.delete(job));
    open.add(job);
    await sleep(Math.max(0, began + (n * minutes * 60_000) / jobs - performance.now()));
    if (failures.length > 0) throw failures[0];
    if (n % every !== 0) continue;
    // Between jobs, so that connections of clients are not counted.
    await Promise.all(open);
    await sleep(300);
    const held = processes.map(({ pid }) => heldBy(pid));
    samples.push({ jobs: n, minutes: (performance.now() - began) / 60_000, held });
    progress(
      `${n} of ${jobs} jobs: ${held.map((one) => `${one.megabytes.toFixed(0)} MB, ${one.files} files`).join("; ")}`,
    );
  }
  return samples;
}

interface Seen {
  readonly id: string;
  readonly status: string;
  readonly result?: { readonly images: readonly { readonly url: string }[] };
}

/** A job from its request to its picture, as a client follows it. */
async function oneJob(url: string, n: number): Promise<void> {
  const ask = async (path: string, init: RequestInit = {}) => {
    const once = () => fetch(url + path, { ...init, headers: { Connection: "close", ...init.headers } });
    let answer = await once();
    const repeated = answer.status === 503;
    // A machine with other work may keep Redis from answering in time: the key of a job makes it the same one.
    for (let again = 0; answer.status === 503 && again < mostAgain; again++) {
      askedAgain.count++;
      await sleep(1000);
      answer = await once();
    }
    // What was forgotten the first time, when the answer came too late.
    const isDone = repeated && init.method === "DELETE" && answer.status === 404;
    if (!answer.ok && !isDone) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const body = { model: "tiny-sd1", prompt: `number ${n}`, seed: n, steps: 2, count: n % 20 === 0 ? 3 : 1 };
  const headers = { "Content-Type": "application/json", "Idempotency-Key": `soak ${n}` };
  const accepted = (await (
    await ask("/jobs", { method: "POST", headers, body: JSON.stringify(body) })
  ).json()) as Seen;
  const path = `/jobs/${accepted.id}`;
  const cancelled = n % 10 === 5;
  if (cancelled) await ask(path, { method: "DELETE" });
  const look = async () => (await (await ask(path)).json()) as Seen;
  if (n % 2 === 0) await (await ask(`${path}/events`)).text().catch(() => "");
  let job = await look();
  while (job.status === "queued" || job.status === "running") {
    await sleep(100);
    job = await look();
  }
  if (job.status !== "completed" && !(cancelled && job.status === "cancelled"))
    throw new Error(`job ${n}: ${JSON.stringify(job)}`);
  for (const image of job.result?.images ?? []) await (await ask(image.url)).arrayBuffer();
  if (n % 7 === 0) await ask(`/history/${accepted.id}`, { method: "DELETE" });
  if (n % 5 === 0) await (await ask("/metrics")).text();
}

/** On Linux. */
function heldBy(pid: number): Held {
  const all = [pid, ...childrenOf(pid)];
  const megabytes = all.map(
    (one) => Number(/^RssAnon:\s*(\d+)/m.exec(readFileSync(`/proc/${one}/status`, "utf8"))?.[1] ?? 0) / 1024,
  );
  const files = all.map((one) => readdirSync(`/proc/${one}/fd`).length);
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + value, 0);
  return { megabytes: sum(megabytes), files: sum(files) };
}

/**
 * What grew, in words: the last quarter of the samples against the second one. The least of each counts, as what has not
 * been collected yet comes and goes by 30 MB.
 */
function growth(samples: readonly Sample[]): string[] {
  const quarter = Math.ceil(samples.length / 4);
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)];
  return names.flatMap((name, i) => {
    const of = (part: readonly Sample[], key: keyof Held) =>
      Math.min(...part.map(({ held }) => held[i]![key]));
    const [before, after] = [of(early, "megabytes"), of(late, "megabytes")];
    const [files, more] = [of(early, "files"), of(late, "files")];
    const allowed = Math.max(tolerance.megabytes, tolerance.share * before);
    return [
      ...(after - before > allowed ? [`${name}: from ${before.toFixed(0)} to ${after.toFixed(0)} MB`] : []),
      ...(more - files > tolerance.files ? [`${name}: from ${files} to ${more} open files`] : []),
    ];
  });
}

function tableOf(samples: readonly Sample[], { jobs, minutes }: ServiceSoakOptions): Table {
  const shown = samples.filter((_, i) => i === 0 || (i + 1) % Math.ceil(samples.length / 10) === 0);
  return {
    title: `Soak: ${jobs} jobs over ${minutes} minutes, a server and two workers on Redis`,
    columns: ["jobs", "minutes", ...names.map((name) => `${name}: private MB, open files`)],
    rows: shown.map((one) => [
      `${one.jobs}`,
      one.minutes.toFixed(1),
      ...one.held.map(({ megabytes, files }) => `${megabytes.toFixed(0)}, ${files}`),
    ]),
    notes: [
      "Workers with the process that computes. Measured between jobs; every job ended as it should, with its pictures.",
      `Requests that were answered with 503, and sent again: ${askedAgain.count}.`,
    ],
  };
}
