import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { GenerateOptions, LoadOptions } from "../src/index.js";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** What the programs of this folder print as one JSON line. */
export type Line = Readonly<Record<string, unknown>>;

/**
 * Runs a program and reads the last line that it prints as JSON.
 *
 * @throws Error with the end of what it printed when there is no such line
 */
export async function jsonLine(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Line & { readonly spawnedAt: number }> {
  const spawnedAt = performance.timeOrigin + performance.now();
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk: Buffer) => {
    err = (err + chunk).slice(-2000);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const last = out.trim().split("\n").at(-1) ?? "";
  if (!last.startsWith("{")) throw new Error(`${command} ${args[0]} ended with ${code}: ${err || out}`);
  return { ...(JSON.parse(last) as Line), spawnedAt };
}

/** A run of this library in a process of its own; see ours.mjs. */
export interface OursSpec {
  readonly model: string;
  readonly load: Pick<LoadOptions, "precision" | "threads" | "cacheDir" | "runtime" | "vae">;
  /** Where results are written, with `.latents`, `.image` or `.output` behind it: float32, and RGB bytes. */
  readonly keep?: string;
  readonly generate?: GenerateOptions;
  readonly runs?: number;
  readonly network?: "unet" | "vae" | "text";
  readonly batch?: number;
  /** Of the latents. */
  readonly side?: number;
  /** Width of the text embeddings. */
  readonly context?: number;
  /** VAE: works in tiles where the whole takes too much memory; else it never does. */
  readonly tiles?: boolean;
  readonly seconds?: number;
  readonly least?: number;
}

interface Run {
  readonly ms: number;
  readonly cpuMs: number;
  /** Of the caller's process: everything but the networks. */
  readonly ownCpuMs: number;
  readonly parts?: { readonly encode: number; readonly denoise: number; readonly decode: number };
}

export interface Ours {
  readonly loadMs: number;
  /** From the start of the process to the end of the first step, or of a network's first run. */
  readonly startToFirstStepMs: number;
  /** Of each step but those of the first run. */
  readonly steps: readonly number[];
  readonly first: Run;
  /** All runs but the first; the first where it is the only one. */
  readonly later: readonly Run[];
  readonly longestGapMs: number;
  /** Of the process that computes; private is without mapped files. */
  readonly residentBytes: number;
  readonly peakBytes: number;
  readonly privateBytes: number;
  readonly peakPrivateBytes: number;
  /** Of the caller's process. */
  readonly ownPeakBytes: number;
  readonly tensorflow: string;
}

/** The library as it is published, or its sources where it is not built: those start more slowly. */
export function library(): { readonly path: string; readonly loader: readonly string[] } {
  const built = join(root, "dist", "index.js");
  if (existsSync(built) && existsSync(join(root, "dist", "runtime", "worker.js")))
    return { path: built, loader: [] };
  return { path: join(root, "src", "index.ts"), loader: ["--import", "tsx"] };
}

/** @throws Error with the library's code in front where it refuses (UNSUPPORTED: …) */
export async function runOurs(spec: OursSpec): Promise<Ours> {
  const { path, loader } = library();
  const program = join(root, "bench", "ours.mjs");
  const args = [
    ...loader,
    program,
    JSON.stringify({ runs: 1, least: 1, seconds: 0, ...spec, library: path }),
  ];
  const line = await jsonLine(process.execPath, args);
  const error = line.error as { code?: string; message: string } | undefined;
  if (error) throw new Error(`${error.code ?? "error"}: ${error.message}`);
  const { firstStepAt, runs, ...rest } = line as unknown as Ours & { firstStepAt: number; runs: Run[] };
  const [first, ...later] = runs as [Run, ...Run[]];
  return {
    ...rest,
    first,
    later: later.length > 0 ? later : [first],
    startToFirstStepMs: firstStepAt - line.spawnedAt,
  };
}

export const least = (values: readonly number[]): number => Math.min(...values);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/** Bytes of all files below a folder. */
export function folderBytes(folder: string): number {
  return (readdirSync(folder, { recursive: true }) as string[])
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}

/** A line that is overwritten by the next, on a terminal; a line of its own elsewhere. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
  else process.stderr.write(`${text}\n`);
}
