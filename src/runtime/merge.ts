import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { internal } from "../errors.js";
import type { Values } from "../latents/latents.js";
import { fetchName } from "../ops/calls.js";
import type { WeightFile } from "../ops/graph.js";
import { type FunctionBody, type Node, NodeWriter } from "../ops/nodes.js";
import type { Native } from "./native.js";
import { encodeSavedModel } from "./saved-model.js";

/** Adds products of thin matrices to converted weights (LoRA). Holds a session and a buffer until it is disposed of. */
export interface Merger {
  /**
   * The bytes of a weight and [rows, rank] times [rank, columns], in the weight's type; valid until the next call.
   * @param base file of rows x columns values
   * @param factors that `canMerge`
   */
  add(base: string, factors: readonly [Values, Values]): Uint8Array;
  dispose(): void;
}

/** Values of half precision are merged in pairs. */
export const canMerge = (type: WeightFile["type"], [, right]: readonly [Values, Values]): boolean =>
  type === "DT_FLOAT" || right.shape[1]! % 2 === 0;

/**
 * Words of four bytes that are merged at a time: so few that the allocator gives the same memory again. Memory that is
 * new costs more than the arithmetic (bench/NOTES.md).
 */
const AT_ONCE = 2 ** 18;

/** One session merges weights of all shapes: widening, product, sum and rounding are passes of the native library. */
export function openMerger(native: Native, type: WeightFile["type"]): Merger {
  const { binding } = native;
  const isWide = type === "DT_FLOAT";
  const session = openSession(native, mergeBody(type));
  let buffer = new ArrayBuffer(0);
  const runOn = (left: Tensor, right: Tensor, base: Tensor): Float32Array | Int32Array => {
    const ids: number[] = [];
    try {
      for (const [shape, data] of [left, right, base])
        ids.push(
          binding.createTensor(
            shape,
            data instanceof Float32Array ? binding.TF_FLOAT : binding.TF_INT32,
            data,
          ),
        );
      const [sum] = binding.runSavedModel(session, ids, "left,right,base", fetchName("sum"));
      const words = binding.tensorDataSync(sum!.id) as Float32Array | Int32Array;
      binding.deleteTensor(sum!.id);
      return words;
    } finally {
      for (const id of ids) binding.deleteTensor(id);
    }
  };
  return {
    add(path, [left, right]) {
      const [rows = 0, rank = 0] = left.shape;
      const columns = right.shape[1]! / (isWide ? 1 : 2);
      const bytes = 4 * rows * columns;
      if (buffer.byteLength < bytes) buffer = new ArrayBuffer(bytes);
      readWhole(path, new Uint8Array(buffer, 0, bytes));
      const words = new (isWide ? Float32Array : Int32Array)(buffer, 0, rows * columns);
      const most = Math.max(1, Math.floor(AT_ONCE / columns));
      for (let row = 0; row < rows; row += most) {
        const end = Math.min(row + most, rows);
        const base = words.subarray(row * columns, end * columns);
        const some = left.data.subarray(row * rank, end * rank);
        base.set(runOn([[end - row, rank], some], [right.shape, right.data], [[base.length], base]));
      }
      return new Uint8Array(buffer, 0, bytes);
    },
    dispose: () => binding.deleteSavedModel(session),
  };
}

type Tensor = readonly [shape: readonly number[], data: Float32Array | Int32Array];

function openSession(native: Native, body: FunctionBody): number {
  const folder = mkdtempSync(join(tmpdir(), "tfjs-diffusion-merge-"));
  try {
    writeFileSync(join(folder, "saved_model.pb"), encodeSavedModel(body, native));
    return native.binding.loadSavedModel(folder, "serve");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readWhole(path: string, bytes: Uint8Array): void {
  const file = openSync(path, "r");
  try {
    for (let at = 0; at < bytes.length; ) {
      const got = readSync(file, bytes, at, Math.min(2 ** 30, bytes.length - at), at);
      if (got === 0) throw internal(`${path} ends after ${at} of ${bytes.length} bytes`);
      at += got;
    }
  } finally {
    closeSync(file);
  }
}

/** What TensorFlow does not know before a run. */
const ANY = -1;

/** tfjs-node has no arrays for half precision: pairs of such values come and go as int32. */
function mergeBody(type: WeightFile["type"]): FunctionBody {
  const w = new NodeWriter();
  const matrix = (name: string): Node => ({ name, shape: [ANY, ANY], type: "DT_FLOAT" });
  const isWide = type === "DT_FLOAT";
  const base: Node = { name: "base", shape: [ANY], type: isWide ? type : "DT_INT32" };
  const [left, right] = [matrix("left"), matrix("right")];
  const reshape = (x: Node, ...shape: number[]): Node =>
    w.emit("Reshape", [x, w.ints(...shape)], shape, x.type, {
      T: { type: x.type },
      Tshape: { type: "DT_INT32" },
    });
  const bitcast = (x: Node, to: Node["type"], shape: readonly number[]): Node =>
    w.emit("Bitcast", [x], shape, to, { T: { type: x.type }, type: { type: to } });

  const product = reshape(w.matmul(left, right), ANY);
  const values = isWide ? base : w.cast(reshape(bitcast(base, type, [ANY, 2]), ANY), "DT_FLOAT");
  const sum = w.cast(w.elementwise("AddV2", [product, values], [ANY]), type);
  const result = isWide ? sum : bitcast(reshape(sum, ANY, 2), "DT_INT32", [ANY]);
  return { arguments: [left, right, base], nodes: w.nodes, results: [["sum", result]] };
}
