import sharp from "sharp";
import { DiffusionError, demand } from "../errors.js";
import { readExif, writeExif } from "./exif.js";
import { type ImageFormat, imageFormat } from "./format.js";
import { readChunks } from "./png-chunks.js";
import { readTexts } from "./png-text.js";

const TEXTS = ["tEXt", "zTXt", "iTXt"];

/**
 * The texts that a picture carries, by keyword: all of a PNG, and of JPEG, WebP, TIFF and AVIF the EXIF comment under
 * "parameters", where the web UI keeps what it would write into a PNG.
 *
 * @throws {DiffusionError} BAD_IMAGE when it is no picture
 */
export async function readImageTexts(bytes: Uint8Array): Promise<Record<string, string>> {
  demand("picture", bytes, "bytes");
  const format = imageFormat(bytes);
  if (format === "png") return readTexts([...readChunks(bytes)].filter(({ type }) => TEXTS.includes(type)));
  const { exif } = await metadataOf(bytes, format);
  const comment = exif && readExif(exif).userComment;
  return comment ? { parameters: comment } : {};
}

async function metadataOf(bytes: Uint8Array, format: ImageFormat | undefined) {
  try {
    return await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (cause) {
    throw new DiffusionError("BAD_IMAGE", `Image: it is no ${format ?? "picture"} that can be read`, {
      cause,
      hint: "Pass a PNG, JPEG, WebP, GIF, TIFF or AVIF picture.",
    });
  }
}

/**
 * A JPEG or WebP with a text in its EXIF comment; other EXIF data goes.
 * @throws {DiffusionError} BAD_IMAGE for another format
 */
export function withParameters(bytes: Uint8Array, parameters: string): Uint8Array {
  demand("picture", bytes, "bytes");
  demand("parameters", parameters, "text");
  const format = imageFormat(bytes);
  if (format === "jpeg") return jpegWith(bytes, writeExif(parameters));
  if (format === "webp") return webpWith(bytes, writeExif(parameters));
  throw new DiffusionError(
    "BAD_IMAGE",
    `Image: a text can be put into JPEG and WebP, not into ${format ?? "this"}`,
    {
      hint: "encodePng takes the texts of a PNG.",
    },
  );
}

/** The block as the first segment behind the start (APP1); one that was there is left out. */
function jpegWith(bytes: Uint8Array, exif: Uint8Array): Uint8Array {
  const length = exif.length + 8;
  if (length > 0xffff)
    throw new DiffusionError("BAD_OPTION", `Image: a text of ${exif.length} bytes does not fit into a JPEG`, {
      hint: "Save the picture as PNG or WebP.",
    });
  const segment = Buffer.concat([
    Uint8Array.of(0xff, 0xe1, length >> 8, length & 0xff),
    Buffer.from("Exif\0\0", "latin1"),
    exif,
  ]);
  const rest: Uint8Array[] = [];
  let at = 2;
  while (at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1]! >= 0xe0 && bytes[at + 1]! <= 0xef) {
    const end = at + 2 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
    const isExif =
      bytes[at + 1] === 0xe1 && Buffer.from(bytes.subarray(at + 4, at + 8)).toString() === "Exif";
    if (!isExif) rest.push(bytes.subarray(at, end));
    at = end;
  }
  return new Uint8Array(Buffer.concat([bytes.subarray(0, 2), segment, ...rest, bytes.subarray(at)]));
}

const HAS_EXIF = 0x08;
const HAS_ALPHA = 0x10;

/** The block as a chunk at the end; a simple file becomes an extended one (RFC 9649, section 2.7). */
function webpWith(bytes: Uint8Array, exif: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: { type: string; data: Uint8Array }[] = [];
  for (let at = 12; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    const type = Buffer.from(bytes.subarray(at, at + 4)).toString("latin1");
    if (type !== "EXIF") chunks.push({ type, data: bytes.subarray(at + 8, at + 8 + length) });
    at += 8 + length + (length & 1);
  }
  const [first] = chunks;
  const header = first?.type === "VP8X" ? first.data.slice() : extendedHeader(first);
  header[0]! |= HAS_EXIF;
  const body = chunks.filter(({ type }) => type !== "VP8X");
  const all = [{ type: "VP8X", data: header }, ...body, { type: "EXIF", data: exif }];
  const parts = all.flatMap(({ type, data }) => {
    const head = Buffer.alloc(8);
    head.write(type, "latin1");
    head.writeUInt32LE(data.length, 4);
    return [head, data, Buffer.alloc(data.length & 1)];
  });
  const content = Buffer.concat([Buffer.from("WEBP", "latin1"), ...parts]);
  const riff = Buffer.from("RIFF\0\0\0\0", "latin1");
  riff.writeUInt32LE(content.length, 4);
  return new Uint8Array(Buffer.concat([riff, content]));
}

/** VP8X of a file with one chunk of pixels, whose size stands in its first bytes. */
function extendedHeader(pixels: { type: string; data: Uint8Array } | undefined): Uint8Array {
  const { type, data } = pixels ?? { type: "", data: new Uint8Array() };
  if ((type !== "VP8 " && type !== "VP8L") || data.length < 10)
    throw new DiffusionError("BAD_IMAGE", "Image: the WebP file has no pixels in front");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const header = new Uint8Array(10);
  const bits = type === "VP8L" ? view.getUint32(1, true) : 0;
  const [width, height] =
    type === "VP8L"
      ? [bits & 0x3fff, (bits >>> 14) & 0x3fff] // less 1 each, as in VP8X
      : [(view.getUint16(6, true) & 0x3fff) - 1, (view.getUint16(8, true) & 0x3fff) - 1];
  if (type === "VP8L" && (bits >>> 28) & 1) header[0] = HAS_ALPHA;
  for (const [at, side] of [
    [4, width],
    [7, height],
  ] as const)
    header.set([side & 0xff, (side >> 8) & 0xff, side >> 16], at);
  return header;
}
