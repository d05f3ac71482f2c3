import type { Image } from "./image.js";

/** What of an EXIF block (TIFF 6.0, Exif 2.32) matters here. */
export interface Exif {
  /** 1 to 8: how the picture is to be turned; 1 as it stands. */
  readonly orientation: number;
  /** Where the web UI keeps its parameters in JPEG and WebP. */
  readonly userComment?: string;
}

const ORIENTATION = 0x0112;
const EXIF_FOLDER = 0x8769;
const USER_COMMENT = 0x9286;
const UNICODE = Uint8Array.from("UNICODE\0", (c) => c.charCodeAt(0));
/** A folder of more entries is not looked at: cameras write some dozens. */
const MOST_ENTRIES = 512;

/** Reads a block with or without "Exif\0\0" in front. What is malformed is left out: a picture is readable without. */
export function readExif(block: Uint8Array): Exif {
  const bytes = startsWith(block, "Exif\0\0") ? block.subarray(6) : block;
  const little = startsWith(bytes, "II*\0");
  if (bytes.length < 8 || (!little && !startsWith(bytes, "MM\0*"))) return { orientation: 1 };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const folder = (at: number): Map<number, { value: number; count: number }> => {
    const found = new Map<number, { value: number; count: number }>();
    if (at < 8 || at + 2 > bytes.length) return found;
    const entries = Math.min(view.getUint16(at, little), MOST_ENTRIES);
    for (let i = 0, from = at + 2; i < entries && from + 12 <= bytes.length; i++, from += 12) {
      const short = view.getUint16(from + 2, little) === 3;
      const value = short ? view.getUint16(from + 8, little) : view.getUint32(from + 8, little);
      found.set(view.getUint16(from, little), { value, count: view.getUint32(from + 4, little) });
    }
    return found;
  };
  const first = folder(view.getUint32(4, little));
  const orientation = first.get(ORIENTATION)?.value ?? 1;
  const comment = folder(first.get(EXIF_FOLDER)?.value ?? 0).get(USER_COMMENT);
  const text = comment && commentText(bytes.subarray(comment.value, comment.value + comment.count), little);
  return {
    orientation: orientation >= 1 && orientation <= 8 ? orientation : 1,
    ...(text !== undefined && { userComment: text }),
  };
}

/** Eight bytes name the coding. What calls itself Unicode is UTF-16 in either order of bytes: writers disagree. */
function commentText(bytes: Uint8Array, little: boolean): string | undefined {
  if (bytes.length < 8) return undefined;
  const body = bytes.subarray(8);
  if (!UNICODE.every((byte, i) => bytes[i] === byte))
    return new TextDecoder().decode(body).replace(/\0+$/, "");
  const zeros = [0, 0];
  for (let i = 0; i + 1 < body.length; i += 2) for (const k of [0, 1]) zeros[k]! += Number(body[i + k] === 0);
  const isLittle = zeros[0] === zeros[1] ? little : zeros[1]! > zeros[0]!;
  return new TextDecoder(isLittle ? "utf-16le" : "utf-16be").decode(body);
}

/** A block that holds nothing but a comment, as the web UI writes it: big-endian, UTF-16. Without "Exif\0\0". */
export function writeExif(userComment: string): Uint8Array {
  const length = UNICODE.length + 2 * userComment.length;
  const bytes = new Uint8Array(44 + length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x4d, 0x4d, 0, 42]);
  const entry = (at: number, tag: number, type: number, count: number, value: number) => {
    view.setUint16(at, 1);
    view.setUint16(at + 2, tag);
    view.setUint16(at + 4, type);
    view.setUint32(at + 6, count);
    view.setUint32(at + 10, value);
  };
  view.setUint32(4, 8);
  entry(8, EXIF_FOLDER, 4, 1, 26);
  entry(26, USER_COMMENT, 7, length, 44);
  bytes.set(UNICODE, 44);
  for (let i = 0; i < userComment.length; i++) view.setUint16(52 + 2 * i, userComment.charCodeAt(i));
  return bytes;
}

const startsWith = (bytes: Uint8Array, text: string): boolean =>
  bytes.length >= text.length && [...text].every((c, i) => bytes[i] === c.charCodeAt(0));

/** Turned and mirrored so that a picture of this orientation stands upright: Pillow's `exif_transpose`. */
export function upright(image: Image, orientation: number): Image {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const channels = data.length / (width * height);
  const turned = orientation >= 5;
  const size = turned ? { width: height, height: width } : { width, height };
  const [mirroredX, mirroredY] = [[2, 3, 7, 8].includes(orientation), [3, 4, 6, 7].includes(orientation)];
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < size.height; y++)
    for (let x = 0; x < size.width; x++, to += channels) {
      const [u, v] = turned ? [y, x] : [x, y];
      const from = ((mirroredY ? height - 1 - v : v) * width + (mirroredX ? width - 1 - u : u)) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = data[from + c]!;
    }
  return { ...size, data: out };
}
