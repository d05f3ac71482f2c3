/** Formats that are read, told by their first bytes. */
export type ImageFormat = "png" | "jpeg" | "webp" | "gif" | "tiff" | "avif";

const at = (bytes: Uint8Array, offset: number, text: string): boolean =>
  bytes.length >= offset + text.length && [...text].every((c, i) => bytes[offset + i] === c.charCodeAt(0));

/** The format of a file, whatever its name says; undefined where it is none of those that are read. */
export function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (at(bytes, 0, "\x89PNG\r\n\x1a\n")) return "png";
  if (at(bytes, 0, "\xff\xd8\xff")) return "jpeg";
  if (at(bytes, 0, "RIFF") && at(bytes, 8, "WEBP")) return "webp";
  if (at(bytes, 0, "GIF87a") || at(bytes, 0, "GIF89a")) return "gif";
  if (at(bytes, 0, "II*\0") || at(bytes, 0, "MM\0*")) return "tiff";
  if (at(bytes, 4, "ftypavif") || at(bytes, 4, "ftypavis")) return "avif";
  return undefined;
}

const others: readonly [offset: number, begins: string, name: string][] = [
  [0, "BM", "a BMP"],
  [4, "ftypheic", "a HEIC"],
  [4, "ftypheix", "a HEIC"],
  [4, "ftyphevc", "a HEIC"],
  [4, "ftyphevx", "a HEIC"],
  [4, "ftypmsf1", "a HEIF"],
  [4, "ftypmif1", "a HEIF"],
  [0, "\xff\x0a", "a JPEG XL"],
  [0, "\0\0\0\x0cJXL ", "a JPEG XL"],
  [0, "\0\0\0\x0cjP  ", "a JPEG 2000"],
  [0, "8BPS", "a Photoshop"],
  [0, "%PDF", "a PDF"],
  [0, "<svg", "an SVG"],
  [0, "<?xml", "an XML or SVG"],
  [0, "\0\0\x01\0", "an icon (ICO)"],
  [0, "qoif", "a QOI"],
  [0, "<!DOCTYPE", "an HTML"],
  [0, "<html", "an HTML"],
];

/** What a file is that is not read, in words: "a BMP". */
export const foreignFormat = (bytes: Uint8Array): string | undefined =>
  others.find(([offset, begins]) => at(bytes, offset, begins))?.[2];
