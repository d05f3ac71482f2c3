import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { findPython } from "./peers.js";
import { jsonLine, least, median, type Ours, progress, root, runOurs } from "./processes.js";
import { megabytes, ms, ratio, type Table } from "./table.js";

export interface DefaultModelOptions {
  readonly quick: boolean;
  readonly folder: string;
  readonly threads: number;
  readonly cpuTime: boolean;
}

interface Diffusers {
  readonly spawnedAt: number;
  readonly firstStepAt: number;
  readonly ms: readonly number[];
  readonly cpuMs: readonly number[];
  readonly stepMs: number;
  readonly peakBytes: number;
  readonly version: string;
}

const [prompt, negativePrompt] = ["a smiling dog with sunglasses", "blurry"];
const model = join(root, "weights", "emoji-diffusion-256");

/** The default model, 256x256, 20 steps with guidance, alternating with diffusers where that is installed. */
export async function benchDefaultModel(options: DefaultModelOptions): Promise<Table[]> {
  const { quick, folder, threads } = options;
  const cacheDir = join(folder, "default-cache");
  mkdirSync(cacheDir, { recursive: true });
  const spec = {
    model,
    load: { precision: "fp32", cacheDir, threads },
    generate: { prompt, negativePrompt, seed: 1, steps: 20, width: 256, height: 256 },
    runs: quick ? 2 : 3,
  } as const;
  progress("first run, in which weights are converted");
  await runOurs({ ...spec, generate: { ...spec.generate, steps: 2 }, runs: 1 });
  const python = await findPython(["torch", "diffusers", "transformers"]);
  const ours: Ours[] = [];
  const theirs: Record<string, Diffusers[]> = {
    "diffusers, channels last": [],
    ...(!quick && { diffusers: [] }),
  };
  const rounds = quick ? 1 : 3;
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}: tfjs-diffusion`);
    ours.push(await runOurs(spec));
    if (!python) continue;
    for (const [name, results] of Object.entries(theirs)) {
      progress(`round ${round} of ${rounds}: ${name}`);
      const program = join(root, "bench", "with_diffusers.py");
      const layout = name === "diffusers" ? "0" : "1";
      const args = [program, model, `${spec.runs}`, `${threads}`, layout, "20", prompt, negativePrompt];
      const pools = { OMP_NUM_THREADS: `${threads}`, MKL_NUM_THREADS: `${threads}` };
      results.push((await jsonLine(python, args, pools)) as unknown as Diffusers);
    }
  }
  return [summary(ours, theirs, options, python !== undefined)];
}

function summary(
  ours: readonly Ours[],
  theirs: Readonly<Record<string, readonly Diffusers[]>>,
  { cpuTime, threads, quick }: DefaultModelOptions,
  hasPython: boolean,
): Table {
  const time = cpuTime ? "cpuMs" : "ms";
  const best = least(ours.flatMap((run) => run.later.map((later) => later[time])));
  const rows = [
    [
      "tfjs-diffusion, fp32",
      ms(best),
      "",
      ms(least(ours.map((run) => run.first.ms))),
      ms(least(ours.map((run) => median(run.steps)))),
      ms(least(ours.map((run) => run.startToFirstStepMs))),
      `${megabytes(Math.max(...ours.map((run) => run.peakBytes)))} + ${megabytes(Math.max(...ours.map((run) => run.ownPeakBytes)))}`,
      ms(Math.max(...ours.map((run) => run.longestGapMs))),
    ],
  ];
  for (const [name, runs] of Object.entries(theirs)) {
    if (runs.length === 0) continue;
    const theirBest = least(runs.flatMap((run) => run[time]));
    rows.push([
      name,
      ms(theirBest),
      ratio(theirBest / best),
      ms(least(runs.map((run) => run.ms[0]!))),
      ms(least(runs.map((run) => run.stepMs))),
      ms(least(runs.map((run) => run.firstStepAt - run.spawnedAt))),
      megabytes(Math.max(...runs.map((run) => run.peakBytes))),
      "",
    ]);
  }
  const version = Object.values(theirs)[0]?.[0]?.version;
  return {
    title: `The default model: 256x256, 20 steps with guidance, ${threads} thread${threads > 1 ? "s" : ""}`,
    columns: [
      "",
      cpuTime ? "picture, CPU ms" : "picture ms",
      "our speed against it",
      "first picture ms",
      "step ms",
      "start to first step ms",
      "peak MB",
      "event loop's longest gap, generating, ms",
    ],
    rows,
    notes: [
      hasPython
        ? `${version}. Least of ${ours.length} alternated processes of ${quick ? 2 : 3} pictures each.`
        : "diffusers was not measured: no Python with torch, diffusers and transformers (PEERS_PYTHON names the interpreter).",
      "Weights were converted before. Our peak is that of the process that computes plus the caller's.",
    ],
  };
}
