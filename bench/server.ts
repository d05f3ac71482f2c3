import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { StableDiffusion } from "../src/index.js";
import { serve } from "../src/server/main.js";
import { median, progress, root } from "./processes.js";
import { ms, type Table } from "./table.js";

export interface ServerBenchOptions {
  readonly rounds: number;
  readonly threads: number;
}

const request = { prompt: "a dog with glasses", steps: 20, seed: 7, guidance: 5, scheduler: "dpmpp_2m" };

/**
 * The default model, 256 x 256, 20 steps: by the library, through `POST /jobs` with its events, and the same while
 * ten clients in another process ask for progress once a second. As such clients slow everything down on the same
 * machine, they also ask a plain node:http server in a process of its own, which sends as many bytes: what is slower
 * beyond that is our server's doing. Rounds alternate. CPU time, too, as other work on the machine does not enter
 * it: of this process and of those that compute for it, not of the clients and the plain server.
 */
export async function benchServer({ rounds, threads }: ServerBenchOptions): Promise<Table[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "server-bench-"));
  const model = await StableDiffusion.load(undefined, { threads });
  const server = await serve({ port: 0, dataDir, load: { threads } });
  const byServer = () => throughServer(server.url);
  const plain = await plainServer();
  const ways = {
    library: () => timedRun(() => model.generate(request)),
    "library, with previews": () =>
      timedRun(() => model.generate({ ...request, preview: true, onProgress: () => {} })),
    server: () => timedRun(byServer),
    "server, 10 clients elsewhere": () => withClients(plain.url, byServer),
    "server, 10 clients": () => withClients(`${server.url}/sdapi/v1/progress`, byServer),
  };
  const taken: Record<string, Taken[]> = {};
  try {
    for (const way of Object.values(ways)) await way();
    for (let round = 0; round < rounds; round++) {
      const entries = Object.entries(ways);
      for (const [name, way] of round % 2 ? entries.toReversed() : entries) {
        progress(`${name}, round ${round + 1} of ${rounds}`);
        taken[name] = [...(taken[name] ?? []), await way()];
      }
    }
  } finally {
    plain.stop();
    await model.dispose();
    await server.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
  return [overhead(taken), await polls(rounds), await starting()];
}

/** Milliseconds. */
interface Taken {
  readonly wall: number;
  readonly cpu: number;
}

async function timedRun(run: () => Promise<unknown>): Promise<Taken> {
  const [began, before] = [performance.now(), cpuOfFamily()];
  await run();
  return { wall: performance.now() - began, cpu: cpuOfFamily() - before };
}

function overhead(taken: Record<string, readonly Taken[]>): Table {
  const of = (name: string, key: "wall" | "cpu") => median(taken[name]!.map((time) => time[key]));
  const more = (name: string, than: string, key: "wall" | "cpu") =>
    `${(100 * (of(name, key) / of(than, key) - 1)).toFixed(1)} %`;
  const row = (name: string, than: string | undefined) => [
    name,
    ms(of(name, "wall")),
    than ? more(name, than, "wall") : "-",
    ms(of(name, "cpu")),
    than ? more(name, than, "cpu") : "-",
  ];
  return {
    title: "One picture of the default model, 256x256, 20 steps",
    columns: ["", "ms", "more", "CPU ms", "more CPU"],
    rows: [
      row("library", undefined),
      row("library, with previews", "library"),
      row("server", "library"),
      row("server, 10 clients elsewhere", "server"),
      row("server, 10 clients", "server, 10 clients elsewhere"),
    ],
    notes: [
      "Medians of alternating rounds. The server's pictures come with previews, parameters and a journal; the last row is compared with clients that ask a plain server. CPU time is the server's own and its engine's.",
    ],
  };
}

async function throughServer(url: string): Promise<void> {
  const answer = await fetch(`${url}/jobs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}: ${await answer.text()}`);
  const { id } = (await answer.json()) as { id: string };
  const events = await (await fetch(`${url}/jobs/${id}/events`)).text();
  if (!events.includes('"status":"completed"')) throw new Error("the job was not completed");
}

/** CPU time of one answer to a poll, of this server and of a plain one that sends as many bytes. Nothing else runs. */
async function polls(rounds: number): Promise<Table> {
  const dataDir = mkdtempSync(join(tmpdir(), "server-polls-"));
  const server = await serve({ port: 0, dataDir });
  const plain = await plainServer();
  const own: Record<string, number[]> = { "/sdapi/v1/progress": [], "/jobs/:id": [] };
  const others: number[] = [];
  try {
    const id = await finishedJob(server.url);
    for (let round = 0; round <= Math.max(rounds, 3); round++) {
      const progress = await pollCost(`${server.url}/sdapi/v1/progress`, process.pid);
      const job = await pollCost(`${server.url}/jobs/${id}`, process.pid);
      const other = await pollCost(plain.url, plain.pid);
      if (round === 0) continue; // until the compiler has seen it
      own["/sdapi/v1/progress"]!.push(progress);
      own["/jobs/:id"]!.push(job);
      others.push(other);
    }
  } finally {
    plain.stop();
    await server.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
  const row = (name: string, each: number) => [
    name,
    each.toFixed(3),
    `${((100 * each * clientCount) / 1000).toFixed(2)} %`,
  ];
  return {
    title: "CPU time of an answer to a poll",
    columns: ["", "ms", `of one core, for ${clientCount} a second`],
    rows: [
      row("plain node:http server", median(others)),
      ...Object.entries(own).map(([route, each]) => row(`this server, ${route}`, median(each))),
    ],
    notes: [`Medians of ${Math.max(rounds, 3)} rounds of ${pollCount} polls each, one after the other.`],
  };
}

/** Milliseconds of CPU time that a process spends on each of many polls in a row. */
async function pollCost(url: string, pid: number): Promise<number> {
  const cpu = () => (pid === process.pid ? ownCpu() : cpuOf(pid));
  const { child, said } = await helper(poller, url);
  if (said !== "ready") throw new Error(`the poller says ${said}`);
  const before = cpu();
  const done = new Promise((resolve) => child.once("message", resolve));
  child.send("go");
  await done;
  const spent = cpu() - before;
  child.kill();
  await new Promise((resolve) => child.once("close", resolve));
  return spent / pollCount;
}

async function finishedJob(url: string): Promise<string> {
  const answer = await fetch(`${url}/jobs`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...request, steps: 1 }),
  });
  const { id } = (await answer.json()) as { id: string };
  await (await fetch(`${url}/jobs/${id}/events`)).text();
  return id;
}

const clientCount = 10;
const pollCount = 2000;

const poller = `
const { Agent, get } = require("node:http");
const [url] = process.argv.slice(1);
const agent = new Agent({ keepAlive: true });
const ask = () => new Promise((resolve, reject) => {
  get(url, { agent }, (answer) => answer.resume().on("end", resolve)).on("error", reject);
});
process.once("message", async () => {
  for (let i = 0; i < ${pollCount}; i++) await ask();
  process.send("done");
});
ask().then(() => console.log("ready"));
`;

const clients = `
const { Agent, get } = require("node:http");
const [url] = process.argv.slice(1);
const agent = new Agent({ keepAlive: true });
let answers = 0;
function ask() {
  get(url, { agent }, (answer) => answer.resume().on("end", () => {
    if (++answers === ${clientCount}) console.log("ready");
    setTimeout(ask, 1000);
  // A connection that was idle for long on a busy machine may be closed just then.
  })).on("error", () => setTimeout(ask, 1000));
}
for (let i = 0; i < ${clientCount}; i++) setTimeout(ask, (1000 / ${clientCount}) * i);
`;

/** As large as an answer with a preview. */
const plain = `
const body = "x".repeat(4400);
require("node:http").createServer((_request, response) => {
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length });
  response.end(body);
}).listen(0, "127.0.0.1", function () { console.log(this.address().port); });
`;

const strangers = new Set<number>();

async function helper(script: string, ...args: string[]) {
  const child = spawn(process.execPath, ["-e", script, ...args], {
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  strangers.add(child.pid!);
  const said = await new Promise<string>((resolve) =>
    child.stdout!.once("data", (data) => resolve(String(data))),
  );
  return { child, said: said.trim() };
}

async function plainServer() {
  const { child, said } = await helper(plain);
  return { url: `http://127.0.0.1:${said}/`, pid: child.pid!, stop: () => child.kill() };
}

/** Measures a run while clients in a process of their own look on. */
async function withClients(url: string, run: () => Promise<unknown>): Promise<Taken> {
  const { child } = await helper(clients, url);
  try {
    return await timedRun(run);
  } finally {
    child.kill();
    await new Promise((resolve) => child.once("close", resolve));
  }
}

/** CPU milliseconds of this process. */
function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** CPU milliseconds of this process and of the engines that it started, by Linux's /proc. */
function cpuOfFamily(): number {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const engines = all.filter((pid) => !strangers.has(pid) && statOf(pid)[1] === String(process.pid));
  return ownCpu() + engines.reduce((sum, pid) => sum + cpuOf(pid), 0);
}

/** Ticks of 10 ms. */
function cpuOf(pid: number): number {
  const fields = statOf(pid);
  return 10 * (Number(fields[11] ?? 0) + Number(fields[12] ?? 0));
}

/** The fields of /proc/<pid>/stat after the name, which may hold anything; none of a process that is gone. */
function statOf(pid: number): string[] {
  const path = `/proc/${pid}/stat`;
  const stat = existsSync(path) ? readFileSync(path, "utf8") : "";
  return stat === "" ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** From the command to the first page; and what the page weighs. */
async function starting(): Promise<Table> {
  const main = join(root, "dist", "cli", "main.js");
  const times: number[] = [];
  for (let round = 0; existsSync(main) && round < 3; round++) {
    const data = mkdtempSync(join(tmpdir(), "server-start-"));
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    const began = performance.now();
    const child = spawn(process.execPath, [main, "serve", "--port", `${port}`, "--data", data], {
      stdio: "ignore",
    });
    while (!(await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined))?.ok) await sleep(10);
    times.push(performance.now() - began);
    child.kill();
    await new Promise((resolve) => child.once("close", resolve));
    rmSync(data, { recursive: true, force: true });
  }
  const page = join(root, "dist", "server", "ui", "page.js");
  return {
    title: "Start of the server, and the page",
    columns: ["", ""],
    rows: [
      ["from the command to the page, ms", times.length > 0 ? ms(median(times)) : "not built"],
      ["script of the page, bytes", existsSync(page) ? String(statSync(page).size) : "not built"],
    ],
  };
}
