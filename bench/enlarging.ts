import { join } from "node:path";
import { findPython } from "./peers.js";
import { jsonLine, least, library, progress, root } from "./processes.js";
import { ms, ratio, type Table } from "./table.js";

export interface EnlargingOptions {
  readonly folder: string;
  readonly threads: number;
  readonly rounds: number;
  /** Compares CPU time, which stays comparable on a busy machine with one thread. */
  readonly cpuTime: boolean;
  /** Of the picture that is enlarged. */
  readonly side: number;
}

interface Result {
  readonly runs: readonly { readonly ms: number; readonly cpuMs: number }[];
  /** Of all levels of the result: both sides have made the same picture. */
  readonly mean: number;
}

/** ESRGAN x4 (RRDB, 64 channels, 23 blocks, random weights) against PyTorch, channels last: a process each, in turn. */
export async function benchEnlarging({
  folder,
  threads,
  rounds,
  cpuTime,
  side,
}: EnlargingOptions): Promise<Table[]> {
  const python = await findPython(["torch", "spandrel"]);
  if (!python) {
    console.log("skipped: no Python with torch and spandrel (PEERS_PYTHON names one)");
    return [];
  }
  const file = join(folder, "esrgan-x4.safetensors");
  const program = join(root, "bench", "with_spandrel.py");
  await jsonLine(python, [program, "make", file]);
  const { path, loader } = library();
  const spec = { library: path, file, side, runs: 2, threads, cacheDir: join(folder, "cache") };
  const ours = [...loader, join(root, "bench", "ours-upscaler.mjs"), JSON.stringify(spec)];
  const theirs = [program, "run", file, ...[side, spec.runs, threads].map(String)];
  const rows: string[][] = [];
  for (let round = 1; round <= rounds; round++) {
    progress(`ESRGAN x4 of ${side}x${side}, round ${round} of ${rounds}`);
    const torch = (await jsonLine(python, theirs)) as unknown as Result;
    const own = (await jsonLine(process.execPath, ours)) as unknown as Result;
    if (Math.abs(torch.mean - own.mean) > 0.1)
      throw new Error(`not the same picture: ${torch.mean}, ${own.mean}`);
    const best = ({ runs }: Result) =>
      [least(runs.map((run) => run.ms)), least(runs.map((run) => run.cpuMs))] as const;
    const [[theirMs, theirCpu], [ourMs, ourCpu]] = [best(torch), best(own)];
    rows.push([
      String(round),
      ms(theirMs),
      ms(theirCpu),
      ms(ourMs),
      ms(ourCpu),
      ratio(cpuTime ? theirCpu / ourCpu : theirMs / ourMs),
    ]);
  }
  return [
    {
      title: `ESRGAN x4 of ${side}x${side}, ${threads} threads`,
      columns: ["round", "PyTorch, channels last: ms", "CPU ms", "tfjs-diffusion: ms", "CPU ms", "our speed"],
      rows,
    },
  ];
}
