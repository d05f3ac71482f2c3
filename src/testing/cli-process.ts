import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

interface Start {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

/** The program as a user starts it: a process, in a folder, with its streams. Its folders vanish with the file. */
export function openCli() {
  const out = fileURLToPath(new URL("../../out", import.meta.url));
  mkdirSync(out, { recursive: true });
  // Inside the repository, where a process that runs from source finds tsx.
  const work = mkdtempSync(join(out, "cli-"));
  const cache = join(work, "cache"); // one for all: weights are converted once
  afterAll(() => rmSync(work, { recursive: true, force: true }));

  function start(args: readonly string[], { cwd = work, env }: Start = {}): ChildProcess {
    const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
    return spawn(process.execPath, ["--import", "tsx", main, ...args], {
      cwd,
      env: { ...process.env, TFJS_DIFFUSION_CACHE: cache, HF_HOME: join(work, "hf"), ...env },
    });
  }

  async function run(args: readonly string[], options: Start & { stdin?: string } = {}) {
    const child = start(args, options);
    child.stdin!.end(options.stdin ?? "");
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout!),
      text(child.stderr!),
      once(child, "close"),
    ]);
    return { stdout, stderr, code: code as number | null };
  }

  return { work, start, run, folder: () => mkdtempSync(join(work, "in-")) };
}

export const jsonLines = (stdout: string): Record<string, unknown>[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
