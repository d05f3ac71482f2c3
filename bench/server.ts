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
 * 200 clients in another process ask for progress once a second. Rounds alternate. CPU time, too, as other work on
 * the machine does not enter it: of this process and of those that compute for it, not of the clients.
 */
export async function benchServer({ rounds, threads }: ServerBenchOptions): Promise<Table[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "server-bench-"));
  const model = await StableDiffusion.load(undefined, { threads });
  const server = await serve({ port: 0, dataDir, load: { threads } });
  const byServer = () => throughServer(server.url);
  const ways = {
    library: () => timedRun(() => model.generate(request)),
    "library, with previews": () =>
      timedRun(() => model.generate({ ...request, preview: true, onProgress: () => {} })),
    server: () => timedRun(byServer),
    "server, 200 clients": () => withClients(server.url, () => timedRun(byServer)),
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
    await model.dispose();
    await server.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
  return [overhead(taken), await starting()];
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
  const of = (name: string, key: keyof Taken) => median(taken[name]!.map((time) => time[key]));
  const more = (name: string, than: string, key: keyof Taken) =>
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
      row("server, 200 clients", "server"),
    ],
    notes: [
      "Medians of alternating rounds. The server's pictures come with previews, parameters and a journal; the last row is compared with the server alone. CPU time is the server's own and its engine's.",
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

const clients = `
const [url] = process.argv.slice(1);
let answers = 0;
for (let i = 0; i < 200; i++)
  setTimeout(async function ask() {
    await fetch(url).then((answer) => answer.arrayBuffer());
    if (++answers === 200) console.log("ready");
    setTimeout(ask, 1000);
  }, 5 * i);
`;

/** Measures a run while clients in a process of their own look on. */
async function withClients<T>(url: string, run: () => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, ["-e", clients, `${url}/sdapi/v1/progress`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await new Promise((resolve) => child.stdout.once("data", resolve));
    return await run();
  } finally {
    child.kill();
    await new Promise((resolve) => child.once("close", resolve));
  }
}

/** CPU milliseconds of this process and of the engines that it started, by Linux's /proc. */
function cpuOfFamily(): number {
  const own = process.cpuUsage();
  let total = (own.user + own.system) / 1000;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = existsSync(`/proc/${name}/stat`) ? readFileSync(`/proc/${name}/stat`, "utf8") : "";
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const command = fields[1] === String(process.pid) ? readFileSync(`/proc/${name}/cmdline`, "utf8") : "";
    // Ticks of 10 ms; the clients are not counted.
    if (command !== "" && !command.includes("/sdapi/v1/progress"))
      total += 10 * (Number(fields[11]) + Number(fields[12]));
  }
  return total;
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
