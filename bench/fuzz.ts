import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { formats } from "./fuzz-formats.js";
import { beats } from "./fuzz-property.js";
import { targets } from "./fuzz-targets.js";
import { progress } from "./processes.js";
import { ms, type Table } from "./table.js";

export interface FuzzOptions {
  /** For each target. */
  readonly minutes: number;
  /** Of the first round; the others count on from it. */
  readonly seed: number;
  readonly only: readonly string[];
}

const ROUND = 500;

/**
 * Feeds random and damaged input to all that reads what strangers wrote. Whatever is not accepted has to be refused
 * with an error for people: a crash, a hang, an error that is "our mistake" or a wrong result is a finding.
 *
 * @throws Error with seed and counterexample of each finding
 */
export async function benchFuzz({ minutes, seed, only }: FuzzOptions): Promise<Table[]> {
  const rows: string[][] = [];
  const findings: string[] = [];
  const watchdog = startWatchdog();
  for (const target of [...targets, ...formats].filter(
    ({ name }) => only.length === 0 || only.includes(name),
  )) {
    const { property, close } = await target.open();
    const verdicts = new Map<string, number>();
    let [cases, slowest, round] = [0, 0, 0];
    const tell = (verdict: string, took: number) => {
      cases++;
      slowest = Math.max(slowest, took);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    };
    const end = performance.now() + minutes * 60_000;
    for (; performance.now() < end; round++) {
      watchdog.watch(`${target.name}, --seed ${seed + round}`);
      const left = Math.max(1, end - performance.now());
      const details = await fc.check(property(tell), {
        seed: seed + round,
        numRuns: ROUND,
        interruptAfterTimeLimit: left,
      });
      if (!details.failed || details.counterexample === null) continue;
      findings.push(`${target.name}: ${details.errorInstance}\n${fc.defaultReportMessage(details)}`);
      break;
    }
    await close?.();
    const shares = [...verdicts].sort(([, a], [, b]) => b - a);
    progress(`${target.name}: ${cases} cases, seeds ${seed} to ${seed + round - 1}`);
    rows.push([
      target.name,
      `${cases}`,
      shares.map(([name, n]) => `${name} ${n}`).join(", "),
      ms(slowest),
      `${seed} to ${seed + Math.max(0, round - 1)}`,
    ]);
  }
  watchdog.stop();
  const title = `Fuzzing, ${minutes} minutes each`;
  const table = { title, columns: ["target", "cases", "verdicts", "slowest ms", "seeds"], rows };
  if (findings.length > 0) throw new Error(findings.join("\n\n"));
  return [table];
}

/** An endless loop stops this thread, timers and all: another one tells of it, and ends the process. */
function startWatchdog(): { watch(what: string): void; stop(): void } {
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { writeSync } = require("node:fs");
    let what = "";
    let last = -1;
    parentPort.on("message", (text) => { what = text; last = -1; });
    setInterval(() => {
      const now = Atomics.load(workerData, 0);
      if (now === last) {
        writeSync(2, "hangs for a minute: " + what + "\\n");
        process.kill(process.pid, "SIGKILL");
      }
      last = now;
    }, 60000);`;
  const worker = new Worker(source, { eval: true, workerData: beats });
  worker.unref();
  worker.on("error", (error) => writeSync(2, `${error}\n`));
  return {
    watch: (what) => worker.postMessage(what),
    stop: () => void worker.terminate(),
  };
}
