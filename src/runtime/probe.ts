import { readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { writeWholeSync } from "../disk/whole-file.js";
import { DiffusionError, internal } from "../errors.js";
import { type FusedNodes, type GraphOps, graphOps } from "../ops/graph.js";
import type { FunctionBody, Node } from "../ops/graph-def.js";
import { NodeWriter } from "../ops/node-writer.js";
import type { Tensor } from "../ops/ops.js";
import { compiledFolder } from "../weights/cache-root.js";
import { flagsOfUser } from "./compiled-functions.js";
import { digest, thisProgram } from "./graph-cache.js";
import { cpuFlags, machineKey } from "./machine.js";
import type { Native } from "./native.js";
import { openSession } from "./session.js";

/** What decides which nodes are written for this machine. */
export interface Capabilities {
  /** Which beyond the documented ones its TensorFlow runs. */
  readonly fused: FusedNodes;
  /** `GraphOptions.directConvolution` */
  readonly directConvolution: boolean;
}

let known: Capabilities | undefined;

/**
 * What the library runs; asked once in a process.
 *
 * @param cacheRoot where it is kept that all nodes run, and the graphs that try them; without it, each is tried in any case
 * @throws DiffusionError DISK
 */
export function probe(native: Native, cacheRoot?: string): Capabilities {
  known ??= { fused: nodesThatRun(native, cacheRoot), directConvolution: convolvesDirectly() };
  return known;
}

/**
 * Tries each node once in a graph of its own; where it is lacking or wrong, graphs use the plain form. Where all of them
 * run, that is kept: trying takes as long as some steps do. A failure may be one of the moment, and is not.
 *
 * @param program `thisProgram`
 * @throws DiffusionError DISK
 */
export function nodesThatRun(
  native: Native,
  cacheRoot?: string,
  program: string | undefined = thisProgram(),
): FusedNodes {
  const file = cacheRoot && program && noteFile(native.version, cacheRoot, program);
  if (file && isNoted(file)) return allNodes;
  const fused = {
    layerNorm: runs(native, layerNorm, cacheRoot),
    swish: runs(native, swish, cacheRoot),
    linearGelu: runs(native, linearGelu, cacheRoot),
    functions: isRecent(native.version) && gives(native, sortingFunction, [1, 2, 2, 4], cacheRoot),
  };
  if (file && Object.values(fused).every(Boolean)) note(file);
  return fused;
}

const allNodes: FusedNodes = { layerNorm: true, swish: true, linearGelu: true, functions: true };

/** There once all nodes have run in this very program, with this library, CPU and environment. */
function noteFile(version: string, cacheRoot: string, program: string): string | undefined {
  const machine = machineKey();
  if (machine === undefined) return undefined;
  const settings = Object.entries(process.env).filter(
    ([name]) => /^(TF|ONEDNN|DNNL)_/.test(name) && !/^TF_(NUM_|CPP_|XLA_FLAGS$)/.test(name),
  );
  const question = [program, version, flagsOfUser(process.env), settings.sort()];
  return join(compiledFolder(cacheRoot), machine, `nodes-run.${digest(JSON.stringify(question))}`);
}

/** It counts as used then. */
function isNoted(file: string): boolean {
  try {
    readFileSync(file);
  } catch {
    return false;
  }
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // a cache that is shared read-only
  }
  return true;
}

function note(file: string): void {
  try {
    writeWholeSync(file, "");
  } catch {
    // They are tried again next time.
  }
}

/**
 * oneDNN's kernels for Conv2D on pictures whose channels lie together need AVX-512. With AVX2 it copies the shifted
 * pictures for a product, and where those are too large for it, computes number by number: a hundred times slower.
 */
const convolvesDirectly = (flags = cpuFlags()): boolean => !flags.has("avx2") || flags.has("avx512f");

/**
 * Whether products in bfloat16 run here. A CPU may name AMX and yet be forbidden to use it (virtual machines):
 * the library then dies of an illegal instruction, so this is asked of a process that may be lost.
 */
export const runsBfloat16 = (native: Native): boolean =>
  ["avx512_bf16", "amx_bf16"].some((flag) => cpuFlags().has(flag)) && runs(native, bfloat16);

interface Trial {
  readonly compute: "DT_FLOAT" | "DT_BFLOAT16";
  readonly emit: (graph: GraphOps, x: Tensor) => Tensor;
  readonly expected: readonly number[];
}

/** Of the rows (1, 2) and (4, 2). */
const layerNorm: Trial = {
  compute: "DT_FLOAT",
  emit: (graph, x) => graph.layerNorm(x, graph.constant([1, 2], [2]), graph.constant([0, 1], [2]), 0),
  expected: [-1, 3, 1, -1],
};

const swish: Trial = {
  compute: "DT_FLOAT",
  emit: (graph, x) => graph.activate(x, "silu"),
  expected: [1, 2, 4, 2].map((x) => x / (1 + Math.exp(-x))),
};

/** x times the unit matrix, plus (0, -1). */
const linearGelu: Trial = {
  compute: "DT_FLOAT",
  emit: (graph, x) =>
    graph.linear(x, graph.constant([1, 0, 0, 1], [2, 2]), graph.constant([0, -1], [2]), "gelu"),
  // GELU of 1, 1, 4 and 1.
  expected: [0.841345, 0.841345, 3.999873, 0.841345],
};

/** Older ones are not measured, and cannot keep what they compile. */
function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 16);
}

/** Sorts x by an operation that only XLA's compiler knows: elsewhere a function would run, but one pass after the other. */
function sortingFunction(): FunctionBody {
  const x: Node = { name: "x", shape: [2, 2], type: "DT_FLOAT" };
  const w = new NodeWriter();
  const y = w.fused("sort", [w.reshape(x, [4])], (v, [row]) =>
    v.emit("XlaSort", [row!], [4], "DT_FLOAT", { T: { type: "DT_FLOAT" } }),
  );
  return { arguments: [x], nodes: w.nodes, functions: w.functions, results: [["y", y]] };
}

/** Large enough for the kernels that real layers get: x times ones, through 64 columns, and a convolution of the sums. */
const bfloat16: Trial = {
  compute: "DT_BFLOAT16",
  emit(graph, x) {
    const wide = graph.linear(x, graph.constant(Array(128).fill(1), [2, 64]));
    const narrow = graph.linear(wide, graph.constant(Array(128).fill(1 / 64), [64, 2]));
    const image = graph.reshape(narrow, [1, 2, 1, 2]);
    const kernel = graph.constant(
      Array.from({ length: 36 }, (_, i) => Number(i === 16 || i === 19)),
      [3, 3, 2, 2],
    );
    return graph.conv2d(image, kernel);
  },
  expected: [3, 3, 6, 6],
};

const noWeights = (): never => {
  throw internal("a probe has no weights");
};

const runs = (native: Native, { compute, emit, expected }: Trial, cacheRoot?: string): boolean =>
  gives(
    native,
    () => {
      const graph = graphOps({
        fused: { layerNorm: true, swish: true, linearGelu: true, functions: false },
        directConvolution: true,
        compute,
        weightValues: noWeights,
      });
      return graph.body({ y: emit(graph, graph.input("x", [2, 2], "float32")) });
    },
    expected,
    cacheRoot,
  );

/** Whether a graph gives these values for the rows (1, 2) and (4, 2). */
function gives(
  native: Native,
  write: () => FunctionBody,
  expected: readonly number[],
  cacheRoot?: string,
): boolean {
  const { binding } = native;
  try {
    const session = openSession(native, write(), cacheRoot);
    const input = binding.createTensor([2, 2], binding.TF_FLOAT, Float32Array.of(1, 2, 4, 2));
    try {
      const [result] = session.run([input]) as [number];
      const got = [...binding.tensorDataSync(result)];
      binding.deleteTensor(result);
      return got.length === expected.length && got.every((value, i) => Math.abs(value - expected[i]!) < 1e-4);
    } finally {
      binding.deleteTensor(input);
      session.close();
    }
  } catch (error) {
    if (error instanceof DiffusionError && error.code === "DISK") throw error; // it says nothing of the node
    return false;
  }
}
