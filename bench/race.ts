import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FunctionBody, Node } from "../src/ops/graph-def.js";
import { NodeWriter } from "../src/ops/node-writer.js";
import { elements, type Shape } from "../src/ops/ops.js";
import { loadNative } from "../src/runtime/native.js";
import { openSession } from "../src/runtime/session.js";

/** One way to write a computation down as TensorFlow nodes. */
export interface Form {
  readonly name: string;
  readonly write: (w: NodeWriter, inputs: readonly Node[]) => Node;
}

/** Forms of the same computation; the first is what the others are compared with. */
export interface Race {
  readonly title: string;
  readonly inputs: readonly Shape[];
  /** Of the plain form, two per multiply-add. */
  readonly flops?: number;
  readonly forms: readonly Form[];
}

export interface Placing {
  readonly race: string;
  readonly form: string;
  /** Least of all rounds; `wallMs` means little on a busy machine. */
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly gflops?: number;
  /** Largest difference from the first form's result, relative to its largest value. */
  readonly difference: number;
}

/** The same numbers in every run, about evenly spread over [-spread, spread]. */
export function noise(shape: Shape, spread = 1, seed = 1): Float32Array {
  let state = 12_345 + seed;
  const next = () => {
    state = (state * 16_807) % 2_147_483_647; // Lehmer's generator
    return state / 2_147_483_647;
  };
  return Float32Array.from({ length: elements(shape) }, () => (2 * next() - 1) * spread);
}

const scratch = mkdtempSync(join(tmpdir(), "tfjs-diffusion-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** The file of a weight. `key` names the values, which are made once. */
export function weightFile(key: string, make: () => Float32Array): string {
  const path = join(scratch, `${key.replace(/[^\w.-]/g, "_")}.bin`);
  if (!made.has(path)) writeFileSync(path, new Uint8Array(make().buffer));
  made.add(path);
  return path;
}
const made = new Set<string>();

/** A weight as the library has them: a mapped file. */
export const weight = (w: NodeWriter, key: string, shape: Shape, make: () => Float32Array): Node =>
  w.mapped(weightFile(key, make), shape, "DT_FLOAT");

export const randomWeight = (w: NodeWriter, shape: Shape, name = ""): Node =>
  weight(w, `random ${name} ${shape.join("x")}`, shape, () =>
    noise(shape, Math.sqrt(3 / elements(shape.slice(0, -1)))),
  );

/** Something that can be run again and again. */
export interface Contender {
  readonly name: string;
  run(): void;
  result(): Float32Array;
  dispose(): void;
}

function contender({ name, write }: Form, inputs: readonly Shape[]): Contender {
  const w = new NodeWriter();
  const given = inputs.map((shape, i): Node => ({ name: `input${i}`, shape, type: "DT_FLOAT" }));
  const result = w.written(write(w, given));
  const { nodes, functions } = w;
  return graphContender(name, { arguments: given, nodes, functions, results: [["y", result]] });
}

/** A session of nodes, given noise; what it computes is the result named `y`. */
export function graphContender(name: string, body: FunctionBody): Contender {
  const native = loadNative();
  const { binding } = native;
  const session = openSession(native, body);
  const ids = body.arguments.map(({ shape }, i) =>
    binding.createTensor(shape, binding.TF_FLOAT, noise(shape, 2, i)),
  );
  const fetch = <T>(use: (id: number) => T): T => {
    const [id] = session.run(ids) as [number];
    const value = use(id);
    binding.deleteTensor(id);
    return value;
  };
  return {
    name,
    run: () => fetch(() => undefined),
    result: () => fetch((id) => Float32Array.from(binding.tensorDataSync(id) as Float32Array)),
    dispose() {
      for (const id of ids) binding.deleteTensor(id);
      session.close();
    },
  };
}

const cpuMs = (since?: NodeJS.CpuUsage): number => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
};

export interface Least {
  cpuMs: number;
  wallMs: number;
}

/** The least times of each, run in turn. */
export function alternate(contenders: readonly Contender[], rounds: number): Least[] {
  const best = contenders.map(() => ({ cpuMs: Number.POSITIVE_INFINITY, wallMs: Number.POSITIVE_INFINITY }));
  for (let round = 0; round < rounds; round++)
    contenders.forEach((entry, i) => {
      const [cpu, wall] = [process.cpuUsage(), performance.now()];
      entry.run();
      const least = best[i]!;
      least.wallMs = Math.min(least.wallMs, performance.now() - wall);
      least.cpuMs = Math.min(least.cpuMs, cpuMs(cpu));
    });
  return best;
}

/** Runs the forms in turn, `rounds` times, and prints what each took. */
export function runRace(race: Race, rounds: number): Placing[] {
  console.log(`\n${race.title}${race.flops ? `  (${(race.flops / 1e9).toFixed(2)} GFLOP)` : ""}`);
  const contenders: Contender[] = [];
  const results: Float32Array[] = [];
  for (const form of race.forms) {
    try {
      const entry = contender(form, race.inputs);
      results.push(entry.result());
      contenders.push(entry);
    } catch (error) {
      console.log(`  ${form.name.padEnd(44)} does not run: ${String(error).split("\n")[0]?.slice(0, 150)}`);
    }
  }
  const best = alternate(contenders, rounds);
  return contenders.map((entry, i) => {
    entry.dispose();
    const placing: Placing = {
      race: race.title,
      form: entry.name,
      ...best[i]!,
      ...(race.flops && { gflops: race.flops / best[i]!.cpuMs / 1e6 }),
      difference: relativeDifference(results[i]!, results[0]!),
    };
    console.log(placingLine(placing));
    return placing;
  });
}

const placingLine = ({ form, cpuMs, wallMs, gflops, difference }: Placing): string =>
  [
    `  ${form.padEnd(44)}`,
    `cpu ${cpuMs.toFixed(2).padStart(9)} ms`,
    `wall ${wallMs.toFixed(2).padStart(9)} ms`,
    gflops ? `${gflops.toFixed(0).padStart(5)} GFLOP/s` : "",
    `diff ${difference.toExponential(1)}`,
  ].join("  ");

export function relativeDifference(got: Float32Array, want: Float32Array): number {
  if (got.length !== want.length) return Number.NaN;
  let [difference, scale] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    difference = Math.max(difference, Math.abs(got[i]! - want[i]!));
    scale = Math.max(scale, Math.abs(want[i]!));
  }
  return difference / scale;
}
