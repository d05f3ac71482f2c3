import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { describeMachine } from "./machine.js";
import { library, root } from "./processes.js";
import { describe, report, saveResult } from "./report.js";
import { markdown, ms, type Table } from "./table.js";

const usage = `npm run bench -- [command] [options]

  default     the default model, 256x256, 20 steps, against diffusers on PyTorch
  precision   fp32, fp16 and bf16: disk, memory, speed, and how far results differ
  layers      each layer, op by op and as a graph
  peers       networks of Stable Diffusion 1.5's size against other engines
  nodes       ways to write a computation as TensorFlow nodes
  modes       what image to image, masks and tiles cost, in time and memory
  cheaper     what opt-in savings gain (guidance interval, DeepCache, …), and what they change
  enlarging   ESRGAN x4 of 256x256 against PyTorch; needs a Python with torch and spandrel
  adapters    what switching a LoRA costs on Stable Diffusion 1.5's size; SDXL's size in memory
  soak        many pictures in one process: memory must stay flat
  service     a server and two workers for half an hour: memory and open files must stay flat
  queue       what a queue in Redis costs a job, and how 1, 2, 4 and 8 workers share
  server      what the server costs on top of the library, with ten clients that look on, and what a poll costs, and at its start
  fuzz        random and damaged input for all that reads what strangers wrote
  report      Markdown of the results that are kept
Without a command: default, precision and layers.

  --quick             small sizes and few rounds; under two minutes without a command
  --cpu-time          one thread, and CPU time in place of time: for busy machines
  --threads <n>       default: one for each core
  --models <folder>   keeps random models and converted weights here; default: a temporary folder
  --json <folder>     where results are kept for the report; default: bench/results
  --case <name>       of peers: unet64b2, unet32b2, vae64, vae32, text, and whole pictures in few steps: lcm4, turbo1;
                      of nodes: see bench/nodes.ts;
                      of cheaper: default, unet32, unet64, taesd, memory; of modes: img2img, masks, decode,
                      upscale. Repeatable
  --peer <name>       openvino, ort-node, ort, torch-cl, torch-freeze. Repeatable
  --rounds <n>        of peers, nodes, cheaper and enlarging
  --pictures <n>      of soak: 1000; also --size <pixels> 64, --steps <n> 2; or --sizes <n>, each of another size
  --jobs <n>          of queue: 10000; also --each <n> 20, jobs of one second for each worker; of service: 2000
  --minutes <n>       of fuzz: 1 for each target; also --seed <n>; of service: 30
  --target <name>     of fuzz: safetensors, png, tokenizer, prompt, http, journal, gguf, float8, torch,
                      pickle, styles, infotext, exif, patterns. Repeatable`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    "cpu-time": { type: "boolean", default: false },
    threads: { type: "string" },
    models: { type: "string" },
    json: { type: "string", default: join(root, "bench", "results") },
    case: { type: "string", multiple: true, default: [] },
    peer: { type: "string", multiple: true, default: [] },
    rounds: { type: "string" },
    pictures: { type: "string", default: "1000" },
    size: { type: "string", default: "64" },
    sizes: { type: "string" },
    steps: { type: "string", default: "2" },
    minutes: { type: "string" },
    seed: { type: "string" },
    target: { type: "string", multiple: true, default: [] },
    jobs: { type: "string" },
    each: { type: "string", default: "20" },
    help: { type: "boolean", default: false },
  },
});

const { quick } = values;
const cpuTime = values["cpu-time"];
const threads = values.threads ? Number(values.threads) : cpuTime ? 1 : cpus().length;
const rounds = values.rounds ? Number(values.rounds) : undefined;
// Read by TensorFlow when a session starts in this process: layers and nodes.
process.env.TF_NUM_INTRAOP_THREADS = String(threads);
process.env.TF_NUM_INTEROP_THREADS = "1";

const kept = values.models && resolve(values.models);
if (kept) mkdirSync(kept, { recursive: true });
const folder = kept ?? mkdtempSync(join(tmpdir(), "tfjs-diffusion-models-"));

type Command = () => Promise<Table[]>;
const commands: Readonly<Record<string, Command>> = {
  async default() {
    const { benchDefaultModel } = await import("./default-model.js");
    return benchDefaultModel({ quick, folder, threads, cpuTime });
  },
  async precision() {
    const { benchPrecision } = await import("./precision.js");
    return benchPrecision({ quick, folder, threads });
  },
  async layers() {
    const { benchLayers } = await import("./layers.js");
    return benchLayers({ quick, cpuTime, threads });
  },
  async peers() {
    const { benchPeers } = await import("./peers.js");
    return benchPeers({ quick, folder, threads, cpuTime, cases: values.case, peers: values.peer, rounds });
  },
  async nodes() {
    const { benchNodes } = await import("./nodes.js");
    const placings = benchNodes(values.case, { rounds: rounds ?? (quick ? 3 : 6) });
    return nodeTables(placings);
  },
  async cheaper() {
    const { benchCheaper } = await import("./cheaper.js");
    return benchCheaper({ quick, folder, threads, rounds, cases: values.case });
  },
  async fuzz() {
    const { benchFuzz } = await import("./fuzz.js");
    const seed = values.seed ? Number(values.seed) : Date.now() % 2 ** 31;
    return benchFuzz({ minutes: Number(values.minutes ?? 1), seed, only: values.target });
  },
  async adapters() {
    const { benchAdapters } = await import("./adapters.js");
    return benchAdapters({ folder, threads, cases: quick ? ["lora"] : values.case });
  },
  async queue() {
    const { benchQueue } = await import("./queue.js");
    return benchQueue({ jobs: Number(values.jobs ?? 10_000), each: +values.each });
  },
  async service() {
    const { benchServiceSoak } = await import("./soak-service.js");
    return benchServiceSoak({ jobs: Number(values.jobs ?? 2000), minutes: Number(values.minutes ?? 30) });
  },
  async server() {
    const { benchServer } = await import("./server.js");
    return benchServer({ rounds: rounds ?? (quick ? 3 : 8), threads });
  },
  async modes() {
    const { benchModes } = await import("./modes.js");
    return benchModes({ quick, folder, threads, cases: values.case });
  },
  async enlarging() {
    const { benchEnlarging } = await import("./enlarging.js");
    return benchEnlarging({
      folder,
      threads,
      cpuTime,
      rounds: rounds ?? (quick ? 1 : 3),
      side: quick ? 64 : 256,
    });
  },
  async soak() {
    const { benchSoak } = await import("./soak.js");
    const { pictures, size, sizes, steps } = values;
    const many = sizes === undefined ? {} : { sizes: +sizes };
    return benchSoak({ pictures: +pictures, size: +size, steps: +steps, folder, threads, ...many });
  },
};

/** One table a race. */
function nodeTables(placings: Awaited<ReturnType<typeof import("./nodes.js")["benchNodes"]>>): Table[] {
  return [...new Set(placings.map((placing) => placing.race))].map((race) => ({
    title: race,
    columns: ["", "CPU ms", "ms", "GFLOP/s", "differs by"],
    rows: placings
      .filter((placing) => placing.race === race)
      .map((p) => [
        p.form,
        ms(p.cpuMs),
        ms(p.wallMs),
        p.gflops?.toFixed(0) ?? "-",
        p.difference.toExponential(1),
      ]),
  }));
}

async function run(names: readonly string[]): Promise<void> {
  const machine = await describeMachine();
  console.log(describe(machine));
  if (machine.load > 0.3)
    console.log(`The machine is busy (${machine.load} running processes a core): times will be too long.`);
  if (library().loader.length > 0)
    console.log(
      "dist/ is not built (npm run build): the library runs from its sources, and starts more slowly.",
    );
  for (const name of names) {
    const tables = await commands[name]!();
    for (const table of tables) console.log(`\n${markdown(table)}`);
    const variant = [cpuTime && "cpu-time", quick && "quick", ...values.case].filter(Boolean).join("-");
    if (tables.length > 0)
      saveResult(values.json, { name, machine, quick, tables }, variant && `-${variant}`);
  }
}

try {
  const [command] = positionals;
  const unknown = command !== undefined && command !== "report" && !(command in commands);
  if (values.help || unknown) {
    console.log(usage);
    process.exitCode = unknown ? 2 : 0;
  } else if (command === "report") console.log(report(values.json));
  else await run(command === undefined ? ["default", "precision", "layers"] : [command]);
} finally {
  if (!kept) rmSync(folder, { recursive: true, force: true });
}
