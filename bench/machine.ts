import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { cpuFlags } from "../src/runtime/machine.js";
import { jsonLine, root } from "./processes.js";

/** What figures depend on, and so what every result carries. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** Of the instruction sets that matter here, those that the CPU names. */
  readonly features: readonly string[];
  readonly memoryGb: number;
  readonly node: string;
  readonly tensorflow: string;
  readonly onednn: string;
  readonly date: string;
  /** Runnable processes per core when the run began: above 0.3 or so, times are too long. */
  readonly load: number;
}

const telling = [
  "avx2",
  "fma",
  "avx512f",
  "avx512_vnni",
  "avx512_bf16",
  "amx_tile",
  "amx_bf16",
  "asimd",
  "bf16",
];

export async function describeMachine(): Promise<Machine> {
  const load = Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]) / cpus().length;
  const { tensorflow, onednn } = await libraryVersions();
  const flags = cpuFlags();
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    features: telling.filter((flag) => flags.has(flag)),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    tensorflow,
    onednn,
    date: new Date().toISOString().slice(0, 10),
    load: Math.round(load * 100) / 100,
  };
}

/** oneDNN says its version only when it is verbose, and when its first primitive is made: in another process. */
async function libraryVersions(): Promise<{ tensorflow: string; onednn: string }> {
  const program = join(root, "bench", "versions.ts");
  const { tensorflow, onednn } = await jsonLine(process.execPath, ["--import", "tsx", program]);
  return { tensorflow: String(tensorflow), onednn: String(onednn) };
}
