/** Reads single entries of a zip file (a wheel) from disk. Without zip64: the wheels are far below 4 GB. */
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";
import { SetupError } from "./report.mjs";

// Sizes of the fixed parts of the records, from PKWARE's APPNOTE.TXT 4.3.7, 4.3.12 and 4.3.16.
const LOCAL = 30;
const CENTRAL = 46;
const END = 22;
const LONGEST_COMMENT = 0xffff;
const STORED = 0;
const DEFLATED = 8;
const CHUNK = 1 << 20;

/** The entries of a zip by name: `{ file, method, packed, size, offset }`, sizes in bytes. */
export async function zipEntries(file) {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    const tail = await readAt(
      handle,
      Math.max(0, size - END - LONGEST_COMMENT),
      Math.min(size, END + LONGEST_COMMENT),
    );
    const end = tail.lastIndexOf("PK\x05\x06", undefined, "latin1");
    if (end < 0) throw new SetupError(`${file} is not a zip file, or is cut off`, "delete it and run again");
    const central = await readAt(handle, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
    return centralEntries(file, central);
  } finally {
    await handle.close();
  }
}

function centralEntries(file, central) {
  const entries = new Map();
  for (let at = 0; at + CENTRAL <= central.length; ) {
    const nameLength = central.readUInt16LE(at + 28);
    const name = central.toString("utf8", at + CENTRAL, at + CENTRAL + nameLength);
    entries.set(name, {
      file,
      method: central.readUInt16LE(at + 10),
      packed: central.readUInt32LE(at + 20),
      size: central.readUInt32LE(at + 24),
      offset: central.readUInt32LE(at + 42),
    });
    at += CENTRAL + nameLength + central.readUInt16LE(at + 30) + central.readUInt16LE(at + 32);
  }
  return entries;
}

/** Writes an entry to `path`; `onBytes` gets the number of bytes written so far. */
export async function extractEntry(entry, path, onBytes = () => {}) {
  const handle = await open(entry.file);
  const start = await dataStart(handle, entry).finally(() => handle.close());
  let written = 0;
  const count = new Transform({
    transform(chunk, _encoding, next) {
      written += chunk.length;
      onBytes(written);
      next(null, chunk);
    },
  });
  const packed = createReadStream(entry.file, { start, end: start + entry.packed - 1, highWaterMark: CHUNK });
  const unpack = isDeflated(entry) ? [createInflateRaw({ chunkSize: CHUNK })] : [];
  await pipeline([packed, ...unpack, count, createWriteStream(path)]);
  if (written !== entry.size)
    throw new SetupError(
      `${path}: ${written} bytes came out of ${entry.file}, expected ${entry.size}`,
      "run again",
    );
}

/** Where the data begin: the local header's name and extra field may be longer than the directory's. */
async function dataStart(handle, entry) {
  const header = await readAt(handle, entry.offset, LOCAL);
  return entry.offset + LOCAL + header.readUInt16LE(26) + header.readUInt16LE(28);
}

function isDeflated({ method, file }) {
  if (method !== STORED && method !== DEFLATED)
    throw new SetupError(`${file}: unknown zip compression ${method}`);
  return method === DEFLATED;
}

async function readAt(handle, position, length) {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
