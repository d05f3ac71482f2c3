import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { isBundled, nodeArguments, pathOf } from "../../disk/package.js";
import { DiffusionError } from "../../errors.js";

/** What only the environment of a process can set, before TensorFlow is loaded in it. */
export interface WorkerSettings {
  readonly threads: number;
  /** Threads take nodes, not parts of nodes: for graphs that compute the samples of a batch side by side. */
  readonly sideBySide: boolean;
  /** Where all that can be made again is kept; default: where the environment says. */
  readonly cacheRoot?: string;
  /** The newest instruction set that oneDNN may use; by default what the CPU says it has. */
  readonly instructionSet?: string;
}

/** What is set in its environment. */
export const variablesOf = ({
  threads,
  sideBySide,
  cacheRoot,
  instructionSet,
}: WorkerSettings): NodeJS.ProcessEnv => ({
  TF_ENABLE_ONEDNN_OPTS: process.env.TF_ENABLE_ONEDNN_OPTS ?? "1",
  // One node at a time and all threads in it, or the other way round.
  TF_NUM_INTRAOP_THREADS: sideBySide ? "1" : String(threads),
  TF_NUM_INTEROP_THREADS: sideBySide ? String(threads) : "1",
  // Compiled functions are opened before anything is asked of it.
  ...(cacheRoot !== undefined && { TFJS_DIFFUSION_CACHE: cacheRoot }),
  ...(instructionSet && { ONEDNN_MAX_CPU_ISA: instructionSet }),
});

/** The built worker next to the bundle, or its source, when the library itself runs from source. */
export function workerEntry(): { readonly path: string; readonly execArgv: string[] } {
  const here = pathOf(import.meta.url);
  const isSource = here.endsWith(".ts");
  const path = join(dirname(here), isSource ? "worker.ts" : "runtime/worker.js");
  if (!existsSync(path)) throw isBundled(dirname(here));
  return { path, execArgv: nodeArguments(path) };
}

/** What the caller is told when the process is lost: how, and what it wrote of its trouble, in words. */
export function workerError(
  how: string,
  stderr: string,
  hint = "if it was out of memory, try a smaller size or precision fp16",
): DiffusionError {
  const reason = reasonOf(stderr);
  return new DiffusionError("WORKER", `the process that computes ${how}${reason ? `: ${reason}` : ""}`, {
    hint: `it is started again with the next call; ${hint}`,
  });
}

/** What C++, TensorFlow, V8 and the system write when there is no memory left. */
export const outOfMemory =
  /std::bad_alloc|bad_array_new_length|Cannot allocate memory|RESOURCE_EXHAUSTED|OOM when allocating|heap out of memory|ran out of memory/i;

function reasonOf(stderr: string): string | undefined {
  if (outOfMemory.test(stderr)) return "it ran out of memory";
  const [, check] = /Check failed: (.+)/.exec(stderr) ?? [];
  if (check) return `a check of TensorFlow's failed: ${check.replace(/\s*\(?0x[\da-f]+.*$/i, "").trim()}`;
  const [, thrown] = /^\s*what\(\):\s*(.+)$/m.exec(stderr) ?? [];
  if (thrown) return thrown.trim();
  return stderr
    .split("\n")
    .filter((line) => line.trim() !== "" && !remark.test(line) && !frame.test(line))
    .at(-1)
    ?.trim();
}

/** What TensorFlow writes without being in trouble: "I0000 00:00:1795384339.57 …", "2026-11-22 21:50:21.19: W tensorflow/…". */
const remark =
  /^(?:[IW]\d{4} |\d{4}-\d\d-\d\d [\d:.]+: [IW] |WARNING: All log messages before absl|\[libprotobuf ERROR .*XlaSerializedCacheEntry)/;

/** Lines of a stack trace: their addresses say nothing to anybody. */
const frame = /0x[\da-f]{4,}|^\s*@ |^\*\*\*.*\*\*\*$|stack trace|^-+ .* -+$|^terminate called/i;

/** Two hardware threads of one core share its arithmetic units; more threads than cores are slower. */
export function physicalCores(): number {
  try {
    const text = readFileSync("/proc/cpuinfo", "utf8");
    const cores = new Set(
      text.split("\n\n").map((cpu) => cpu.match(/^(physical id|core id)\s*:.*$/gm)?.join()),
    );
    cores.delete(undefined);
    if (cores.size > 0) return Math.min(cores.size, availableParallelism());
  } catch {
    // No Linux: what the system counts.
  }
  return availableParallelism();
}
