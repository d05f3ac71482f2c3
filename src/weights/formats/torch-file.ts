import { closeSync, fstatSync, openSync } from "node:fs";
import { DiffusionError, nearest } from "../../errors.js";
import { bitsOf, toFloat32 } from "./dtypes.js";
import { unpickle } from "./pickle.js";
import { isKind, type PickleStorage, type PickleTensor, type PickleValue } from "./pickle-values.js";
import { readAt } from "./read-at.js";
import { sniff } from "./sniff.js";
import { MOST_TENSORS, type TensorFile, type TensorInfo } from "./tensors.js";
import { readZip } from "./zip.js";

/** `offset` is where the first element lies; the bytes follow it in C order if `contiguous`, as nearly always. */
export interface TorchTensorInfo extends TensorInfo {
  readonly contiguous: boolean;
}

/** An open `.ckpt`, `.bin` or `.pt`: what an open safetensors file offers, so that either can be read. */
export interface TorchFile
  extends Pick<TensorFile, "path" | "size" | "modified" | "read" | "readFloat32" | "close"> {
  readonly tensors: ReadonlyMap<string, TorchTensorInfo>;
  /** Everything that the pickle holds. */
  readonly value: PickleValue;
}

/** SDXL's pickle takes 0.5 MB. */
const MAX_PICKLE_BYTES = 64 * 2 ** 20;
/** Checkpoints nest their tensors two or three deep. */
const MAX_DEPTH = 8;

/** What torch wrote before version 1.6: three header pickles, the object, the keys, then the raw storages. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

/**
 * Opens a file that `torch.save` wrote, and executes nothing of it: see {@link unpickle} and {@link readZip}.
 *
 * Names are the keys of the state dictionary; tensors of nested dictionaries carry dotted paths
 * (`string_to_param.*`), a `state_dict` around them is left out, and a bare tensor is named "".
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT or UNSUPPORTED
 */
export function openTorchFile(path: string): TorchFile {
  const file = openFile(path);
  try {
    const { size, mtimeMs: modified } = fstatSync(file);
    const magic = readAt(file, path, 0, Math.min(2, size)).toString("latin1");
    const { value, places } = magic === "PK" ? readArchive(file, path) : readLegacy(file, path, size);
    const views = new Map<string, PickleTensor>();
    const tensors = new Map<string, TorchTensorInfo>();
    for (const [name, tensor] of namedTensors(value, path)) {
      if (tensors.size >= MOST_TENSORS)
        throw new DiffusionError("FILE_FORMAT", `${path} holds more than ${MOST_TENSORS} tensors`);
      const begin = places.get(tensor.storage.key);
      if (begin === undefined)
        throw new DiffusionError(
          "FILE_FORMAT",
          `${path}: ${name} has no data (storage ${tensor.storage.key})`,
        );
      views.set(name, tensor);
      tensors.set(name, describe(tensor, begin));
    }
    return { path, size, modified, value, tensors, ...reading(file, path, tensors, views) };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (cause) {
    throw new DiffusionError("FILE_MISSING", `${path} cannot be opened: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function reading(
  file: number,
  path: string,
  tensors: ReadonlyMap<string, TorchTensorInfo>,
  views: ReadonlyMap<string, PickleTensor>,
): Pick<TorchFile, "read" | "readFloat32" | "close"> {
  const read: TorchFile["read"] = (name, range) => {
    const info = tensors.get(name);
    const view = views.get(name);
    if (!info || !view) {
      const near = nearest(name, tensors.keys());
      throw new DiffusionError("WEIGHT_MISSING", `${path}: there is no tensor ${JSON.stringify(name)}`, {
        ...(near === undefined ? {} : { hint: `The nearest is ${JSON.stringify(near)}.` }),
      });
    }
    const [start, end] = range ?? [0, info.bytes];
    if (info.contiguous) return readAt(file, path, info.offset + start, end - start);
    return inOrder(readAt(file, path, info.offset, spanBytes(view)), view).slice(start, end);
  };
  return {
    read,
    readFloat32: (name) => toFloat32(read(name), tensors.get(name)?.dtype ?? "", `${path}: ${name}`),
    close: () => closeSync(file),
  };
}

/** The object, and where in the file each storage begins. */
interface Contents {
  readonly value: PickleValue;
  readonly places: ReadonlyMap<string, number>;
}

function readArchive(file: number, path: string): Contents {
  const entries = readZip(file, path);
  const pickles = [...entries.values()].filter(({ name }) => /(^|\/)data\.pkl$/.test(name));
  const [main] = pickles;
  if (!main || pickles.length !== 1)
    throw new DiffusionError(
      "FILE_FORMAT",
      `${path}: expected one data.pkl in the archive, found ${pickles.length}`,
    );
  const root = main.name.slice(0, -"data.pkl".length);
  if (entries.has(`${root}constants.pkl`))
    throw new DiffusionError("UNSUPPORTED", `${path} is a TorchScript program, not a file of tensors`);
  if (main.size > MAX_PICKLE_BYTES)
    throw new DiffusionError("FILE_FORMAT", `${path}: data.pkl is ${main.size} bytes long`);
  const order = entries.get(`${root}byteorder`);
  if (order && readAt(file, path, order.offset, Math.min(order.size, 16)).toString("latin1") !== "little")
    throw new DiffusionError("UNSUPPORTED", `${path} was written on a machine of another byte order`);

  const { value } = unpickle(readAt(file, path, main.offset, main.size), `${path}: ${main.name}`);
  const places = new Map<string, number>();
  for (const storage of storagesOf(value, path).values()) {
    const entry = entries.get(`${root}data/${storage.key}`);
    if (!entry) throw new DiffusionError("FILE_FORMAT", `${path}: data/${storage.key} is missing`);
    const expected = storage.length * bytesOf(storage);
    if (entry.size < expected)
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path}: data/${storage.key} should hold ${expected} bytes (${storage.length} x ${storage.dtype}), but holds ${entry.size}`,
      );
    places.set(storage.key, entry.offset);
  }
  return { value, places };
}

function readLegacy(file: number, path: string, fileSize: number): Contents {
  const bytes = readAt(file, path, 0, Math.min(fileSize, MAX_PICKLE_BYTES));
  if (bytes[0] !== 0x80) {
    const known = sniff(bytes.subarray(0, 64));
    const found = known?.what ?? "neither a torch archive nor a pickle";
    throw new DiffusionError("FILE_FORMAT", `${path} is no PyTorch checkpoint: it is ${found}`, known);
  }
  let at = 0;
  const next = (what: string): PickleValue => {
    const { value, end } = unpickle(bytes, `${path}: ${what}`, at);
    at = end;
    return value;
  };
  if (next("magic number") !== LEGACY_MAGIC || next("protocol") !== LEGACY_PROTOCOL)
    throw new DiffusionError("FILE_FORMAT", `${path} is a pickle, but not one of torch's`);
  const system = next("system info");
  if (system instanceof Map && system.get("little_endian") === false)
    throw new DiffusionError("UNSUPPORTED", `${path} was written on a machine of another byte order`);
  const value = next("object");
  const keys = next("storage keys");

  const storages = storagesOf(value, path);
  const places = new Map<string, number>();
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (!storage) throw new DiffusionError("FILE_FORMAT", `${path} holds a storage that no tensor names`);
    const count = readAt(file, path, at, 8).readBigInt64LE();
    if (count !== BigInt(storage.length))
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path}: storage ${storage.key} has ${count} elements, expected ${storage.length}`,
      );
    places.set(storage.key, at + 8);
    at += 8 + storage.length * bytesOf(storage);
    if (at > fileSize)
      throw new DiffusionError("FILE_FORMAT", `${path} is cut off in storage ${storage.key}`);
  }
  return { value, places };
}

/** Every dictionary is entered once, however often it is referred to, so neither cycles nor bombs cost anything. */
function* namedTensors(
  value: PickleValue,
  path: string,
  prefix = "",
  seen = new Set<PickleValue>(),
  depth = 0,
): Generator<[string, PickleTensor]> {
  if (isKind(value, "tensor")) yield [prefix, value];
  // Of tuples, only those of hypernetworks are entered: {320: (layers, layers), …}.
  const isPair = isKind(value, "tuple") && depth === 1 && /^\d+$/.test(prefix);
  const children = isPair ? value.items.entries() : dictionaryOf(value);
  if (!children || seen.has(value)) return;
  seen.add(value);
  if (depth > MAX_DEPTH) throw new DiffusionError("FILE_FORMAT", `${path}: ${prefix} is nested too deep`);
  for (const [key, child] of children) {
    if (typeof key !== "string" && typeof key !== "number") continue;
    const name = key === "state_dict" ? prefix : prefix === "" ? String(key) : `${prefix}.${key}`;
    yield* namedTensors(child, path, name, seen, depth + 1);
  }
}

/** A dictionary, or the parameters of a pickled `ParameterDict`. */
function dictionaryOf(value: PickleValue | undefined): Map<PickleValue, PickleValue> | undefined {
  if (value instanceof Map) return value;
  if (!isKind(value, "inert") || !(value.state instanceof Map)) return undefined;
  const parameters = value.state.get("_parameters");
  return parameters instanceof Map ? parameters : undefined;
}

/** The storages of all named tensors by key; a key that stands for two different storages is refused. */
function storagesOf(value: PickleValue, path: string): Map<string, PickleStorage> {
  const storages = new Map<string, PickleStorage>();
  for (const [, { storage }] of namedTensors(value, path)) {
    const known = storages.get(storage.key) ?? storage;
    if (known.dtype !== storage.dtype || known.length !== storage.length)
      throw new DiffusionError("FILE_FORMAT", `${path}: storage ${storage.key} is described in two ways`);
    storages.set(storage.key, known);
  }
  return storages;
}

const bytesOf = (storage: PickleStorage): number => bitsOf(storage.dtype) / 8;
const count = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

function describe(tensor: PickleTensor, begin: number): TorchTensorInfo {
  const { storage, shape, offset } = tensor;
  return {
    dtype: storage.dtype,
    shape,
    offset: begin + offset * bytesOf(storage),
    bytes: count(shape) * bytesOf(storage),
    contiguous: isContiguous(tensor),
  };
}

function isContiguous({ shape, strides }: PickleTensor): boolean {
  if (count(shape) === 0) return true;
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= shape[i]!;
  }
  return true;
}

/** From the first to the last element of a strided view. */
const spanBytes = ({ storage, shape, strides }: PickleTensor): number =>
  bytesOf(storage) * shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 1);

/** Copies a strided view element by element into C order. */
function inOrder(from: Buffer, { storage, shape, strides }: PickleTensor): Uint8Array<ArrayBuffer> {
  const item = bytesOf(storage);
  const out = new Uint8Array(count(shape) * item);
  const index = new Array<number>(shape.length).fill(0);
  let source = 0;
  for (let target = 0; target < out.length; target += item) {
    out.set(from.subarray(source * item, (source + 1) * item), target);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      source += strides[axis]!;
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      source -= strides[axis]! * shape[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
