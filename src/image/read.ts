import { readFile, stat } from "node:fs/promises";
import sharp from "sharp";
import { DiffusionError } from "../errors.js";
import type { Image } from "./image.js";
import { decodePng, MAX_PIXELS } from "./png.js";
import { SIGNATURE } from "./png-chunks.js";

/** Where a picture comes from: a path, the bytes of a file, or pixels. */
export type ImageInput = string | Uint8Array | Image;

/** A file beyond this is no picture of at most `MAX_PIXELS` pixels; it is not read at all. */
const MAX_FILE_BYTES = 2 ** 30;

/**
 * A picture as 8-bit RGB or RGBA, from PNG, JPEG or WebP (told by their first bytes, whatever the name says).
 * Sizes are checked in the header, before anything is decoded. EXIF orientation of JPEG and WebP is applied, other
 * colour spaces (CMYK, gray, embedded profiles) become sRGB, and of an animation the first frame is taken.
 *
 * Reading a path is the one place where `image/` touches the disk.
 *
 * @param maxPixels most pixels that a picture may have (default 8192 x 8192)
 */
export async function readImage(
  input: ImageInput,
  { maxPixels = MAX_PIXELS }: { maxPixels?: number } = {},
): Promise<Image> {
  if (typeof input === "string") return decode(await readPath(input), input, maxPixels);
  if (input instanceof Uint8Array) return decode(input, `${input.length} bytes`, maxPixels);
  return checkedImage(input);
}

async function readPath(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES)
      throw bad(path, `the file has ${size} bytes, at most ${MAX_FILE_BYTES} are read`);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof DiffusionError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw code === "ENOENT"
      ? new DiffusionError("FILE_MISSING", `Image: there is no file ${path}`, { cause })
      : new DiffusionError("DISK", `Image: ${path} cannot be read: ${message}`, { cause });
  }
}

const begins = (bytes: Uint8Array, signature: Uint8Array, at = 0): boolean =>
  bytes.length >= at + signature.length && signature.every((byte, i) => bytes[at + i] === byte);

const JPEG = Uint8Array.of(0xff, 0xd8, 0xff);
const [RIFF, WEBP] = ["RIFF", "WEBP"].map((name) => Buffer.from(name)) as [Buffer, Buffer];

async function decode(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  if (begins(bytes, SIGNATURE)) return decodeNamedPng(bytes, name, maxPixels);
  if (begins(bytes, JPEG) || (begins(bytes, RIFF) && begins(bytes, WEBP, 8)))
    return decodeBySharp(bytes, name, maxPixels);
  throw bad(name, bytes.length === 0 ? "it is empty" : "it is neither PNG, nor JPEG, nor WebP");
}

/** Says which picture it was that could not be decoded. */
function decodeNamedPng(bytes: Uint8Array, name: string, maxPixels: number): Image {
  try {
    return decodePng(bytes, { maxPixels }).image;
  } catch (cause) {
    if (!(cause instanceof DiffusionError)) throw cause;
    const { code, message, hint } = cause;
    throw new DiffusionError(code, `Image (${name}): ${message}`, { cause, ...(hint && { hint }) });
  }
}

async function decodeBySharp(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  // damage is an error, what decoders merely warn about is not
  const open = () => sharp(bytes, { failOn: "error", limitInputPixels: maxPixels, pages: 1 });
  const failed = (cause: unknown) => bad(name, `it cannot be decoded (${(cause as Error).message})`, cause);
  const { width, height } = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((cause: unknown) => {
      throw failed(cause);
    });
  if (width * height > maxPixels)
    throw bad(
      name,
      `${width} x ${height} pixels are more than ${maxPixels}`,
      undefined,
      "Make the picture smaller, or raise maxPixels.",
    );
  const { data, info } = await open()
    .autoOrient()
    .toColourspace("srgb")
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw failed(cause);
    });
  return checkedImage({ width: info.width, height: info.height, data: new Uint8Array(data) });
}

function checkedImage(image: Image): Image {
  const { width, height, data } = image ?? {};
  const pixels = width * height;
  const sound =
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    width > 0 &&
    height > 0 &&
    data instanceof Uint8Array &&
    (data.length === pixels * 3 || data.length === pixels * 4);
  if (!sound)
    throw new DiffusionError(
      "BAD_IMAGE",
      `Image: expected { width, height, data } with 3 or 4 bytes a pixel, got width ${width}, height ${height} and ${data instanceof Uint8Array ? `${data.length} bytes` : "no Uint8Array"}`,
      { hint: "A path or the bytes of a PNG, JPEG or WebP file will do as well." },
    );
  return image;
}

const bad = (name: string, problem: string, cause?: unknown, hint = "Pass a PNG, JPEG or WebP picture.") =>
  new DiffusionError("BAD_IMAGE", `Image (${name}): ${problem}`, { hint, cause });
