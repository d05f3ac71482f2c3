import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "tsup";

/** The command line, a worker for tests of the queue, and the processes that compute and decode beside them. */
export const serviceProcesses = {
  cli: "cli/main.ts",
  worker: "testing/queue-worker.ts",
  "runtime/worker": "runtime/process/worker.ts",
  "server/foreign": "server/foreign/process.ts",
};

/**
 * Entries under src/ as JavaScript, so that processes start at once. The folder lies in the package: its files find
 * what the package depends on.
 *
 * @returns the folder, and what removes it
 */
export async function buildProcesses(
  entries: Readonly<Record<string, string>>,
): Promise<{ folder: string; remove(): void }> {
  const source = fileURLToPath(new URL("../", import.meta.url));
  const folder = mkdtempSync(join(source, "..", ".test-build-"));
  const entry = Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(source, path)]));
  const external = ["aws4fetch", "bullmq", "ioredis"];
  await build({
    entry,
    external,
    format: "esm",
    target: "node20",
    outDir: folder,
    config: false,
    silent: true,
  });
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A process of this project, from its source, that can be killed and started again. */
export interface TestProcess {
  readonly pid: number;
  readonly output: () => string;
  start(): Promise<void>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** @param path of a JavaScript file @param ready what it prints when it is up */
export async function startProcess(
  path: string,
  args: readonly string[],
  env: Record<string, string>,
  ready: string,
): Promise<TestProcess> {
  let child: ChildProcess;
  let output = "";
  const start = async () => {
    child = spawn(process.execPath, [path, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (chunk: Buffer) => {
        said += chunk;
        output = (output + chunk).slice(-20_000);
      });
    const ended = once(child, "exit");
    while (!said.includes(ready)) {
      const more = await Promise.race([once(child.stdout!, "data"), ended.then(() => "ended")]);
      if (more === "ended") throw new Error(`${path} ended before it was ready: ${said}`);
    }
  };
  await start();
  return {
    get pid() {
      return child.pid!;
    },
    output: () => output,
    start,
    async kill(signal = "SIGKILL") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill(signal);
      await ended;
    },
  };
}

/** On Linux. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  } catch {
    return [];
  }
}
