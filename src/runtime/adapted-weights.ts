import { closeSync, openSync, readSync } from "node:fs";
import { internal } from "../errors.js";
import type { Values } from "../latents/latents.js";
import type { FunctionBody, Node } from "../ops/graph-def.js";
import type { GivenWeight } from "../ops/graph-tensors.js";
import { viewName } from "../ops/layout.js";
import { NodeWriter } from "../ops/node-writer.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import {
  encoders,
  isStoredExactly,
  openCacheOf,
  shapeOf,
  storedTypes,
  valuesOf,
  type WeightOptions,
} from "./graph-weights.js";
import { lowRankView } from "./low-rank-view.js";
import type { Native } from "./native.js";
import { openSession, type Session } from "./session.js";

/** Tensors of TensorFlow's, until they are released. */
export interface GivenTensors {
  /** In the order that they were asked for. */
  readonly ids: readonly number[];
  release(): void;
}

/** Those in use, by weights and adapters: all graphs of a network are given the same. */
const inUse = new Map<string, { users: number; readonly tensors: Map<string, number> }>();

/**
 * The weights of a checkpoint as its adapters have changed them, in memory: they are merged again whenever an adapter
 * or its scale changes, and then neither files nor the graph change with them.
 */
export function takeAdapted(
  native: Native,
  checkpoint: Checkpoint,
  options: WeightOptions,
  wanted: readonly GivenWeight[],
): GivenTensors {
  if (wanted.length === 0) return { ids: [], release: () => {} };
  const key = `${checkpoint.id} ${checkpoint.changed?.id} ${options.precision}`;
  const set = inUse.get(key) ?? { users: 0, tensors: new Map<string, number>() };
  inUse.set(key, set);
  set.users++;
  const release = () => {
    if (--set.users > 0) return;
    inUse.delete(key);
    for (const id of set.tensors.values()) native.binding.deleteTensor(id);
    set.tensors.clear();
  };
  const maker = tensorMaker(native, checkpoint, options);
  try {
    const ids = wanted.map((weight) => {
      const place = `${weight.name} ${viewName(weight.view)}`;
      const id = set.tensors.get(place) ?? maker.make(weight);
      set.tensors.set(place, id);
      return id;
    });
    return { ids, release };
  } catch (error) {
    release();
    throw error;
  } finally {
    maker.close();
  }
}

function tensorMaker(native: Native, checkpoint: Checkpoint, options: WeightOptions) {
  const { binding } = native;
  const { precision, cacheRoot, label, onWeight } = options;
  const type = storedTypes[precision];
  const base = openCacheOf(checkpoint, { precision, cacheRoot, label });
  const programs = {
    merge: program(native, mergeBody(type), cacheRoot),
    store: program(native, storeBody(type), cacheRoot),
  };
  let buffer = new ArrayBuffer(0);

  /** From the file of the weight without adapters, where there is one that has lost no digits. */
  const merged = (weight: GivenWeight): number | undefined => {
    const { name, view } = weight;
    if (!isStoredExactly(checkpoint.tensors.get(name)!.dtype, precision, view)) return undefined;
    const file = base.find(name, viewName(view));
    const change = file === undefined ? undefined : checkpoint.changed?.lowRank?.(name);
    const factors = change && lowRankView(change, view);
    if (file === undefined || !factors) return undefined;
    const [left, right] = factors;
    const length = left.shape[0]! * right.shape[1]! * (precision === "fp32" ? 4 : 2);
    if (buffer.byteLength < length) buffer = new ArrayBuffer(length);
    const bytes = readWhole(file, new Uint8Array(buffer, 0, length));
    return programs.merge.run({
      left,
      right,
      bytes: bytesOf(bytes),
      shape: integers(shapeOf(checkpoint, weight)),
    });
  };
  return {
    make(weight: GivenWeight): number {
      onWeight?.();
      const shape = shapeOf(checkpoint, weight);
      if (shape.length === 1)
        return binding.createTensor(shape, binding.TF_FLOAT, valuesOf(checkpoint, weight).slice());
      return (
        merged(weight) ??
        programs.store.run({
          bytes: bytesOf(encoders[precision](valuesOf(checkpoint, weight))),
          shape: integers(shape),
        })
      );
    },
    close() {
      for (const { close } of Object.values(programs)) close();
    },
  };
}

interface Given {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

const bytesOf = (data: Uint8Array): Given => ({ shape: [data.length], data });
const integers = (shape: readonly number[]): Given => ({
  shape: [shape.length],
  data: Int32Array.from(shape),
});

/** A small graph whose one result stays in TensorFlow's memory; loaded when it is first run. */
function program(native: Native, body: FunctionBody, cacheRoot: string) {
  const { binding } = native;
  let session: Session | undefined;
  const typeOf = ({ data }: Given) =>
    data instanceof Float32Array
      ? binding.TF_FLOAT
      : data instanceof Int32Array
        ? binding.TF_INT32
        : binding.TF_UINT8;
  return {
    run(given: Readonly<Record<string, Given | Values>>): number {
      session ??= openSession(native, body, cacheRoot);
      const ids: number[] = [];
      try {
        for (const { name } of body.arguments) {
          const input = given[name]!;
          ids.push(binding.createTensor(input.shape, typeOf(input), input.data));
        }
        return session.run(ids)[0]!;
      } finally {
        for (const id of ids) binding.deleteTensor(id);
      }
    },
    close() {
      session?.close();
      session = undefined;
    },
  };
}

function readWhole(path: string, bytes: Uint8Array): Uint8Array {
  const file = openSync(path, "r");
  try {
    for (let at = 0; at < bytes.length; ) {
      const got = readSync(file, bytes, at, Math.min(2 ** 30, bytes.length - at), at);
      if (got === 0) throw internal(`${path} ends after ${at} of ${bytes.length} bytes`);
      at += got;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

/** What TensorFlow does not know before a run. */
const ANY = -1;

/** tfjs-node has no arrays for half precision: such values come as bytes. */
const bytes: Node = { name: "bytes", shape: [ANY], type: "DT_UINT8" };
const shape: Node = { name: "shape", shape: [ANY], type: "DT_INT32" };
type StoredType = (typeof storedTypes)[keyof typeof storedTypes];

/** Values of a weight, from their bytes. */
function storeBody(type: StoredType): FunctionBody {
  const w = new NodeWriter();
  const tensor = reshape(w, valuesIn(w, type), shape);
  return { arguments: [bytes, shape], nodes: w.nodes, results: [["tensor", tensor]] };
}

/** Values of a weight with the product of two thin matrices added, in passes of the native library. */
function mergeBody(type: StoredType): FunctionBody {
  const w = new NodeWriter();
  const matrix = (name: string): Node => ({ name, shape: [ANY, ANY], type: "DT_FLOAT" });
  const [left, right] = [matrix("left"), matrix("right")];
  const product = reshape(w, w.matmul(left, right), w.ints(ANY));
  const sum = w.elementwise("AddV2", [product, w.cast(valuesIn(w, type), "DT_FLOAT")], [ANY]);
  const tensor = reshape(w, w.cast(sum, type), shape);
  return { arguments: [left, right, bytes, shape], nodes: w.nodes, results: [["tensor", tensor]] };
}

function valuesIn(w: NodeWriter, type: StoredType): Node {
  const rows = reshape(w, bytes, w.ints(ANY, type === "DT_FLOAT" ? 4 : 2));
  return w.emit("Bitcast", [rows], [ANY], type, { T: { type: "DT_UINT8" }, type: { type } });
}

const reshape = (w: NodeWriter, x: Node, to: Node): Node =>
  w.emit("Reshape", [x, to], [ANY], x.type, { T: { type: x.type }, Tshape: { type: "DT_INT32" } });
