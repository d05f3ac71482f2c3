import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isJsonObject, type Json, parseJson, quoted } from "../../disk/json.js";
import { writeAll, writeWholeSync } from "../../disk/whole-file.js";
import { DiffusionError, internal, nearest } from "../../errors.js";
import { bitsOf, dtypeNames, isDtype, toFloat32 } from "./dtypes.js";
import { sniff } from "./sniff.js";
import { MOST_TENSORS, type TensorFile, type TensorInfo } from "./tensors.js";

/** The reference implementation's cap on the header. */
const maxHeaderBytes = 100_000_000;

/**
 * Opens a file and checks the whole header, as the format asks: tensors contiguous from 0, no holes, no overlaps,
 * sizes that fit shapes, nothing behind the last one.
 *
 * @throws DiffusionError FILE_MISSING, FILE_FORMAT (naming file and tensor), UNSUPPORTED, DISK
 */
export function openSafetensors(path: string): TensorFile {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT")
      throw new DiffusionError("FILE_MISSING", `${path}: there is no such file`, { cause });
    throw new DiffusionError("FILE_MISSING", `${path} cannot be opened: ${(cause as Error).message}`, {
      cause,
    });
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new DiffusionError("FILE_FORMAT", `${path} is not a file`);
    const header = readHeader(path, file, stat.size);
    const { metadata, tensors } = parseHeader(path, header, stat.size);
    return opened({ path, metadata, tensors, header, size: stat.size, modified: stat.mtimeMs }, file);
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function opened(fields: Omit<TensorFile, "read" | "readFloat32" | "close">, file: number): TensorFile {
  const { path, tensors } = fields;
  let closed = false;
  const find = (name: string): TensorInfo => {
    const info = tensors.get(name);
    if (info) return info;
    const near = nearest(name, tensors.keys());
    throw new DiffusionError("WEIGHT_MISSING", `${path}: there is no tensor ${quoted(name)}`, {
      ...(near === undefined ? {} : { hint: `The nearest is ${quoted(near)}.` }),
    });
  };
  const read: TensorFile["read"] = (name, range) => {
    const info = find(name);
    const [start, end] = range ?? [0, info.bytes];
    if (closed) throw internal(`${path} is read after it was closed`);
    if (start < 0 || end < start || end > info.bytes)
      throw internal(`${path}: ${name}: bytes ${start} to ${end}`);
    return readExactly(path, file, info.offset + start, end - start);
  };
  return {
    ...fields,
    read,
    readFloat32: (name) => toFloat32(read(name), find(name).dtype, `${path}: ${name}`),
    close() {
      if (!closed) closeSync(file);
      closed = true;
    },
  };
}

function readExactly(path: string, file: number, position: number, length: number): Uint8Array<ArrayBuffer> {
  const most = 2 ** 30; // one read takes at most 2 GiB
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const got = readSync(file, bytes, at, Math.min(most, length - at), position + at);
    if (got === 0)
      throw new DiffusionError("FILE_FORMAT", `${path} became shorter while it was read`, {
        hint: "Something is writing to it; wait, then load the model again.",
      });
    at += got;
  }
  return bytes;
}

function readHeader(path: string, file: number, size: number): Uint8Array {
  const start = readExactly(path, file, 0, Math.min(512, size));
  const fail = (message: string): never => {
    const known = sniff(start);
    if (known)
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path} is not a safetensors file: it is ${known.what}`,
        known,
      );
    throw new DiffusionError("FILE_FORMAT", `${path} is not a safetensors file: ${message}`);
  };
  if (size === 0)
    throw new DiffusionError("FILE_FORMAT", `${path} is empty: it has no bytes`, {
      hint: "Download or copy the file again.",
    });
  if (size < 8) return fail(`${size} bytes are too few`);
  const length = new DataView(start.buffer).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    return fail(`its header claims ${length} bytes, more than the ${maxHeaderBytes} allowed`);
  if (length < 2n) return fail(`its header claims ${length} bytes`);
  if (8 + Number(length) > size) return fail(`its header claims ${length} bytes, the file has ${size}`);
  if (start[8] !== 0x7b) return fail('its header does not begin with "{"');
  return readExactly(path, file, 8, Number(length));
}

function parseHeader(path: string, header: Uint8Array, size: number) {
  const fail = (message: string, hint?: string): never => {
    const options = hint === undefined ? {} : { hint };
    throw new DiffusionError("FILE_FORMAT", `${path}: ${message}`, options);
  };
  let json: Json;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
    json = parseJson(text, "naturals", MOST_TENSORS + 1); // and __metadata__
  } catch (cause) {
    return fail(`bad header: ${cause instanceof SyntaxError ? cause.message : "it is not UTF-8 text"}`);
  }
  if (!isJsonObject(json)) return fail("bad header: expected a JSON object");

  const dataStart = 8 + header.length;
  const tensors = new Map<string, TensorInfo>();
  const metadata = new Map<string, string>();
  for (const [name, entry] of Object.entries(json)) {
    if (name !== "__metadata__") tensors.set(name, parseEntry(name, entry, dataStart, fail));
    else if (!isJsonObject(entry)) fail("bad header: __metadata__ must be an object of strings");
    else
      for (const [key, value] of Object.entries(entry)) {
        if (typeof value !== "string") fail(`bad header: __metadata__ ${quoted(key)} must be a string`);
        metadata.set(key, value as string);
      }
  }
  checkCoverage(tensors, dataStart, size, fail);
  return { metadata, tensors };
}

type Fail = (message: string, hint?: string) => never;

const shown = (value: Json | undefined): string => JSON.stringify(value)?.slice(0, 40) ?? "nothing";

/** Numbers here are whole and safe already: the header's parser reads no others. */
const naturals = (value: Json | undefined): readonly number[] | undefined =>
  Array.isArray(value) && value.every((n) => typeof n === "number") ? value : undefined;

function parseEntry(name: string, entry: Json, dataStart: number, fail: Fail): TensorInfo {
  const bad = (message: string): never => fail(`tensor ${quoted(name)}: ${message}`);
  if (!isJsonObject(entry)) return bad(`expected an object, got ${shown(entry)}`);
  const { dtype, shape, data_offsets } = entry;
  if (typeof dtype !== "string" || !isDtype(dtype))
    return bad(`expected a dtype out of ${dtypeNames().join(", ")}, got ${shown(dtype)}`);
  const dimensions = naturals(shape) ?? bad(`expected a shape, got ${shown(shape)}`);
  const offsets = naturals(data_offsets);
  const [begin, end] = offsets ?? [];
  if (begin === undefined || end === undefined || offsets?.length !== 2)
    return bad(`expected data_offsets [begin, end], got ${shown(data_offsets)}`);
  if (end < begin) return bad(`its data_offsets [${begin}, ${end}] are reversed`);
  const bits = dimensions.reduce((product, n) => {
    if (!Number.isSafeInteger(product * n)) bad(`the shape ${shown(shape)} overflows`);
    return product * n;
  }, bitsOf(dtype));
  if (bits !== (end - begin) * 8)
    return bad(`${dtype} ${shown(shape)} takes ${bits / 8} bytes, its data_offsets span ${end - begin}`);
  return { dtype, shape: dimensions, offset: dataStart + begin, bytes: end - begin };
}

function checkCoverage(
  tensors: ReadonlyMap<string, TensorInfo>,
  dataStart: number,
  size: number,
  fail: Fail,
): void {
  let end = dataStart;
  const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes);
  for (const [name, { offset, bytes }] of sorted) {
    if (offset !== end)
      fail(
        `tensor ${quoted(name)} begins at byte ${offset}, ${offset < end ? "inside another tensor, which ends" : "leaving a hole, the one before it ends"} at ${end}`,
      );
    end = offset + bytes;
  }
  if (size < end) fail(`the file is cut: it has ${size} bytes of ${end}`, "Download or copy the file again.");
  if (size > end) fail(`${size - end} bytes follow the last tensor`);
}

/** A tensor to write; a function is called when its turn comes, so that not all need be in memory. */
export interface TensorToWrite {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | (() => ArrayBufferView);
}

/**
 * Writes a file as a whole or not at all. Tensors are sorted by size of type, then by name, so that each is aligned.
 *
 * @throws DiffusionError DISK
 */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): void {
  const sorted = [...tensors].sort(
    ([a, { dtype: da }], [b, { dtype: db }]) => bitsOf(db) - bitsOf(da) || (a < b ? -1 : 1),
  );
  const entries: [string, unknown][] = Object.keys(metadata).length ? [["__metadata__", metadata]] : [];
  const lengths: number[] = [];
  let end = 0;
  for (const [name, { dtype, shape }] of sorted) {
    const bytes = (bitsOf(dtype) * shape.reduce((a, b) => a * b, 1)) / 8;
    if (!isDtype(dtype) || !Number.isSafeInteger(bytes) || name === "__metadata__")
      throw internal(`cannot write tensor ${name}, ${dtype} [${shape}]`);
    entries.push([name, { dtype, shape, data_offsets: [end, end + bytes] }]);
    lengths.push(bytes);
    end += bytes;
  }
  // Object.fromEntries defines own properties, so a name like __proto__ stays a name.
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, " ");
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  writeWholeSync(
    path,
    (file) => {
      writeAll(file, header);
      sorted.forEach(([name, { data }], i) => {
        const view = typeof data === "function" ? data() : data;
        if (view.byteLength !== lengths[i])
          throw internal(`tensor ${name} has ${view.byteLength} bytes, its shape takes ${lengths[i]}`);
        writeAll(file, new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
      });
    },
    { durable: true },
  );
}
