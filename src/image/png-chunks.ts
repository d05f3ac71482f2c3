import { DiffusionError } from "../errors.js";

/** A PNG is a signature and chunks: length, type, data, CRC of type and data (W3C PNG, third edition, section 5). */
export interface Chunk {
  readonly type: string;
  readonly data: Uint8Array;
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const FRAME = 12; // bytes of a chunk around its data

export const badPng = (problem: string, cause?: unknown): DiffusionError =>
  new DiffusionError("BAD_IMAGE", `PNG: ${problem}`, {
    hint: "Save the picture again with another program.",
    cause,
  });

/**
 * The chunks up to IEND. A wrong CRC makes a critical chunk (capital first letter) an error and an ancillary
 * one be left out. What follows IEND is not looked at.
 */
export function* readChunks(bytes: Uint8Array): Generator<Chunk> {
  if (bytes.length < SIGNATURE.length || SIGNATURE.some((byte, i) => bytes[i] !== byte))
    throw badPng("the signature of a PNG file is missing");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; ; ) {
    if (at + FRAME > bytes.length) throw badPng(`the file ends at byte ${bytes.length}, before IEND`);
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!/^[A-Za-z]{4}$/.test(type)) throw badPng(`no chunk type at byte ${at + 4}`);
    if (length > bytes.length - at - FRAME)
      throw badPng(
        `chunk ${type} at byte ${at} claims ${length} bytes, ${bytes.length - at - FRAME} are left`,
      );
    const end = at + 8 + length;
    const intact = crc32(bytes.subarray(at + 4, end)) === view.getUint32(end);
    const critical = type[0]! <= "Z";
    if (!intact && critical) throw badPng(`wrong checksum of chunk ${type} at byte ${at}`);
    if (intact) yield { type, data: bytes.subarray(at + 8, end) };
    if (type === "IEND") return;
    at = end + 4;
  }
}

/** Signature and chunks, with their lengths and checksums. */
export function writeChunks(chunks: readonly Chunk[]): Uint8Array {
  const size = chunks.reduce((sum, { data }) => sum + data.length + FRAME, SIGNATURE.length);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes.set(SIGNATURE);
  let at = SIGNATURE.length;
  for (const { type, data } of chunks) {
    view.setUint32(at, data.length);
    bytes.set(latin1(type), at + 4);
    bytes.set(data, at + 8);
    const end = at + 8 + data.length;
    view.setUint32(end, crc32(bytes.subarray(at + 4, end)));
    at = end + 4;
  }
  return bytes;
}

/** The bytes of a text of characters below 256. */
export const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ table[(crc ^ bytes[i]!) & 0xff]!;
  return (crc ^ 0xffffffff) >>> 0;
}
