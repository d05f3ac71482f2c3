import { fstatSync, readSync } from "node:fs";
import { DiffusionError } from "../../errors.js";

/** One stored (uncompressed) member of an archive: its bytes are `[offset, offset + size)` of the file. */
export interface ZipEntry {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** Record signatures and sizes: APPNOTE.TXT 4.3.7 (local), 4.3.12 (central), 4.3.14-16 (end records). */
const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const LOCAL_BYTES = 30;
const CENTRAL_BYTES = 46;
const END_BYTES = 22;
const END64_BYTES = 56;
const LOCATOR_BYTES = 20;
const MAX_COMMENT = 0xffff;

/** Far above any checkpoint (SDXL has 2,600 tensors) and far below what would hurt. */
const MAX_ENTRIES = 200_000;
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/**
 * The members of a zip archive in which nothing is compressed, as torch writes it, keyed by name.
 *
 * The central directory is what counts; every local header must agree with it, and no two members may share
 * bytes, so that no other reader can see another archive in the same file.
 * @throws DiffusionError FILE_FORMAT for anything else, and for names that leave the archive.
 */
export function readZip(file: number, path: string): Map<string, ZipEntry> {
  const fileSize = fstatSync(file).size;
  const refuse: Refuse = (what) => {
    throw new DiffusionError("FILE_FORMAT", `${path}: ${what}`);
  };
  const read: Read = (position, length, what) => {
    if (position < 0 || position + length > fileSize) refuse(`the zip archive ends inside its ${what}`);
    const bytes = Buffer.alloc(length);
    if (readSync(file, bytes, 0, length, position) !== length)
      refuse(`the zip archive ends inside its ${what}`);
    return bytes;
  };

  const directory = findDirectory(read, fileSize, refuse);
  const bytes = read(directory.offset, directory.size, "directory");
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < directory.count; i++) {
    const record = centralRecord(bytes, at, refuse);
    at = record.end;
    if (entries.has(record.name)) refuse(`the zip archive holds ${JSON.stringify(record.name)} twice`);
    const local = read(record.localOffset, LOCAL_BYTES, `member ${record.name}`);
    const nameBytes = local.readUInt16LE(26);
    const localName = read(record.localOffset + LOCAL_BYTES, nameBytes, `member ${record.name}`);
    if (local.readUInt32LE(0) !== LOCAL || localName.toString("utf8") !== record.name)
      refuse(`the directory and the local header of ${record.name} disagree`);
    const offset = record.localOffset + LOCAL_BYTES + nameBytes + local.readUInt16LE(28);
    if (offset + record.size > directory.offset) refuse(`${record.name} reaches past the end of the archive`);
    entries.set(record.name, { name: record.name, offset, size: record.size });
  }
  if (at !== bytes.length) refuse(`the zip directory holds ${bytes.length - at} bytes more than its entries`);

  let previous: ZipEntry | undefined;
  for (const entry of [...entries.values()].sort((a, b) => a.offset - b.offset || a.size - b.size)) {
    if (previous && entry.offset < previous.offset + previous.size)
      refuse(`${previous.name} and ${entry.name} share bytes`);
    previous = entry;
  }
  return entries;
}

type Read = (position: number, length: number, what: string) => Buffer;
type Refuse = (what: string) => never;

function findDirectory(read: Read, fileSize: number, refuse: Refuse) {
  if (fileSize < END_BYTES) refuse("is no zip archive: it is too short");
  const tailStart = Math.max(0, fileSize - END_BYTES - MAX_COMMENT);
  const tail = read(tailStart, fileSize - tailStart, "end record");
  let end = tail.length - END_BYTES;
  while (
    end >= 0 &&
    (tail.readUInt32LE(end) !== END || end + END_BYTES + tail.readUInt16LE(end + 20) !== tail.length)
  )
    end--;
  if (end < 0) refuse("is no zip archive, or was cut off: it has no end record");

  let count = tail.readUInt16LE(end + 10);
  let size = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  const locatorAt = tailStart + end - LOCATOR_BYTES;
  const locator = locatorAt >= 0 ? read(locatorAt, LOCATOR_BYTES, "end record") : undefined;
  let endsAt = tailStart + end;
  if (locator?.readUInt32LE(0) === END64_LOCATOR) {
    endsAt = uint64(locator, 8, refuse);
    const end64 = read(endsAt, END64_BYTES, "zip64 end record");
    if (end64.readUInt32LE(0) !== END64) refuse("the zip64 end record is not where it should be");
    count = uint64(end64, 32, refuse);
    size = uint64(end64, 40, refuse);
    offset = uint64(end64, 48, refuse);
  }
  if (count > MAX_ENTRIES || size > MAX_DIRECTORY_BYTES)
    refuse(`the zip directory claims ${count} members in ${size} bytes`);
  if (offset + size > endsAt) refuse("the zip directory reaches past the end of the archive");
  return { count, size, offset };
}

function centralRecord(bytes: Buffer, at: number, refuse: Refuse) {
  if (at + CENTRAL_BYTES > bytes.length || bytes.readUInt32LE(at) !== CENTRAL)
    refuse("the zip directory is damaged");
  const nameBytes = bytes.readUInt16LE(at + 28);
  const extraBytes = bytes.readUInt16LE(at + 30);
  const extraAt = at + CENTRAL_BYTES + nameBytes;
  const end = extraAt + extraBytes + bytes.readUInt16LE(at + 32);
  if (end > bytes.length) refuse("the zip directory is damaged");
  const name = bytes.toString("utf8", at + CENTRAL_BYTES, extraAt);
  if (!isInside(name)) refuse(`the zip archive holds a name that leaves it: ${JSON.stringify(name)}`);
  if (bytes.readUInt16LE(at + 8) & 1) refuse(`${name} is encrypted`);
  const method = bytes.readUInt16LE(at + 10);
  if (method !== 0) refuse(`${name} is compressed (method ${method}); torch stores its members as they are`);

  // A field of all ones stands in the zip64 extra field, in this order: size, compressed size, offset.
  const wide = zip64Extra(bytes.subarray(extraAt, extraAt + extraBytes));
  let wideAt = 0;
  const field = (position: number): number => {
    const value = bytes.readUInt32LE(position);
    if (value !== 0xffffffff) return value;
    wideAt += 8;
    if (wideAt > wide.length) refuse(`the zip64 field of ${name} is missing`);
    return uint64(wide, wideAt - 8, refuse);
  };
  const size = field(at + 24);
  const packed = field(at + 20);
  const localOffset = field(at + 42);
  if (size !== packed) refuse(`${name} is stored, but its two sizes are ${size} and ${packed}`);
  return { name, size, localOffset, end };
}

function zip64Extra(extra: Buffer): Buffer {
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === 1) return extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  return extra.subarray(extra.length);
}

function uint64(bytes: Buffer, at: number, refuse: Refuse): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) refuse(`the zip archive claims an offset of ${value}`);
  return Number(value);
}

const isInside = (name: string): boolean =>
  name !== "" &&
  !/^[/\\]|^[A-Za-z]:|\0|\\/.test(name) &&
  !name.split("/").some((part) => part === ".." || part === ".");
