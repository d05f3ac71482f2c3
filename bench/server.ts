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
 * 200 clients in another process ask for progress once a second. As such clients slow everything down on the same
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
    "server, 200 clients elsewhere": () => withClients(plain.url, plain.pid, byServer),
    "server, 200 clients": () => withClients(`${server.url}/sdapi/v1/progress`, undefined, byServer),
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
  return [overhead(taken), polls(taken), await starting()];
}

/** Milliseconds. */
interface Taken {
  readonly wall: number;
  readonly cpu: number;
  /** Answers to clients, and the CPU time of who gave them, where that is a process of its own. */
  readonly polls?: number;
  readonly answering?: number;
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
      row("server, 200 clients elsewhere", "server"),
      row("server, 200 clients", "server, 200 clients elsewhere"),
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

/** What an answer costs: what the server takes with clients more than without, and what the plain one takes. */
function polls(taken: Record<string, readonly Taken[]>): Table {
  const ours = taken["server, 200 clients"]!;
  const elsewhere = taken["server, 200 clients elsewhere"]!;
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const perPoll = ours.map(({ cpu, polls = 0 }, i) => (cpu - elsewhere[i]!.cpu) / polls);
  const plain = elsewhere.map(({ answering = 0, polls = 0 }) => answering / polls);
  const percent = (each: number) => `${((100 * each * clientCount) / 1000).toFixed(1)} %`;
  return {
    title: "CPU time of an answer to /sdapi/v1/progress during a generation",
    columns: ["", "ms", "of one core, for 200 a second"],
    rows: [
      ["plain node:http server", mean(plain).toFixed(2), percent(mean(plain))],
      ["this server", mean(perPoll).toFixed(2), percent(mean(perPoll))],
    ],
    notes: [
      "Means of the rounds. What clients cost the engine, by what they push out of caches, is in both rounds.",
    ],
  };
}

const clientCount = 200;

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
process.on("message", () => process.send(answers));
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

/** Measures a run while clients in a process of their own look on. @param answerer process that answers them */
async function withClients(
  url: string,
  answerer: number | undefined,
  run: () => Promise<unknown>,
): Promise<Taken> {
  const { child } = await helper(clients, url);
  const answers = () =>
    new Promise<number>((resolve) => {
      child.once("message", (count) => resolve(Number(count)));
      child.send("how many?");
    });
  const answering = () => (answerer === undefined ? 0 : cpuOf(answerer));
  try {
    const [before, spent] = [await answers(), answering()];
    const taken = await timedRun(run);
    return { ...taken, polls: (await answers()) - before, answering: answering() - spent };
  } finally {
    child.kill();
    await new Promise((resolve) => child.once("close", resolve));
  }
}

/** CPU milliseconds of this process and of the engines that it started, by Linux's /proc. */
function cpuOfFamily(): number {
  const own = process.cpuUsage();
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const engines = all.filter((pid) => !strangers.has(pid) && statOf(pid)[1] === String(process.pid));
  return (own.user + own.system) / 1000 + engines.reduce((sum, pid) => sum + cpuOf(pid), 0);
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
