import { readFile, stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { DiffusionError, demand } from "../errors.js";
import { foreignFormat, imageFormat } from "./format.js";
import type { Image } from "./image.js";
import { decodePng, MAX_PIXELS } from "./png.js";
import { divide255 } from "./premultiply.js";

/** Pixels as browsers have them (ImageData): RGBA. */
export interface ClampedImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** Where a picture comes from: a path or the URL of a file, the bytes of a file, or pixels. */
export type ImageInput =
  | string
  | URL
  | Uint8Array
  | Uint8ClampedArray
  | ArrayBuffer
  | Blob
  | Image
  | ClampedImage;

/** A file beyond this is no picture of at most `MAX_PIXELS` pixels; it is not read at all. */
const MAX_FILE_BYTES = 2 ** 30;

/**
 * A picture as 8-bit RGB or RGBA, from PNG, JPEG, WebP, GIF, TIFF or AVIF (told by their first bytes, whatever the name
 * says). Sizes are checked in the header, before anything is decoded. EXIF orientation is applied. CMYK becomes RGB as
 * Pillow and so diffusers convert it, whatever profile is embedded; other colour spaces (gray, embedded profiles)
 * become sRGB. Of an animation the first frame is taken. Nothing is fetched from the network.
 *
 * Reading a path is the one place where `image/` touches the disk.
 *
 * @param options `maxPixels`: most pixels that a picture may have (default 8192 x 8192)
 * @throws {DiffusionError} BAD_IMAGE, FILE_MISSING or DISK
 */
export async function readImage(input: ImageInput, options: { maxPixels?: number } = {}): Promise<Image> {
  demand("options", options, "object");
  const { maxPixels = MAX_PIXELS } = options;
  if (typeof input === "string" || input instanceof URL) {
    const path = pathOf(input);
    return decode(await readPath(path), path, maxPixels);
  }
  const bytes = await bytesOf(input);
  return bytes
    ? decode(bytes, `${bytes.length} bytes`, maxPixels)
    : checkedImage(input as Image | ClampedImage);
}

/** The path of a text or URL; what would have to be fetched is refused. */
function pathOf(input: string | URL): string {
  const text = String(input);
  const [, scheme] = /^([a-z][a-z0-9+.-]+):/i.exec(text) ?? []; // at least two letters: C:\ is a drive
  if (scheme === undefined) return text;
  if (scheme.toLowerCase() === "file") return fileURLToPath(text);
  if (typeof input === "string" && !/^(https?|data|blob|ftp):/i.test(text)) return text;
  throw new DiffusionError(
    "BAD_IMAGE",
    `Image: ${shortened(text)} is not fetched: only files, bytes and pixels are read`,
    {
      hint:
        scheme.toLowerCase() === "data"
          ? 'Decode it and pass the bytes: Buffer.from(text.split(",")[1], "base64").'
          : "Fetch it and pass the bytes: new Uint8Array(await (await fetch(url)).arrayBuffer()).",
    },
  );
}

const shortened = (text: string): string => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

async function bytesOf(input: unknown): Promise<Uint8Array | undefined> {
  if (input instanceof Uint8Array) return input;
  if (input instanceof Uint8ClampedArray)
    return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
  return undefined;
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
    if (code === "EISDIR")
      throw new DiffusionError("BAD_IMAGE", `Image: ${path} is a folder`, {
        cause,
        hint: "give a file in it",
      });
    throw code === "ENOENT"
      ? new DiffusionError("FILE_MISSING", `Image: there is no file ${path}`, { cause })
      : new DiffusionError("DISK", `Image: ${path} cannot be read: ${message}`, { cause });
  }
}

async function decode(bytes: Uint8Array, name: string, maxPixels: number): Promise<Image> {
  const format = imageFormat(bytes);
  if (format === "png") return decodeNamedPng(bytes, name, maxPixels);
  if (format) return decodeBySharp(bytes, name, maxPixels);
  const foreign = foreignFormat(bytes);
  throw bad(
    name,
    bytes.length === 0
      ? "it is empty"
      : foreign
        ? `it is ${foreign} file, which is not read`
        : "it is neither PNG, nor JPEG, WebP, GIF, TIFF or AVIF",
  );
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
  const { width, height, space } = await sharp(bytes, { limitInputPixels: false })
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
  const cmyk = space === "cmyk";
  const turned = open().autoOrient();
  const converted = cmyk
    ? turned.pipelineColourspace("cmyk").toColourspace("cmyk")
    : turned.toColourspace("srgb");
  const { data, info } = await converted
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      throw failed(cause);
    });
  const size = { width: info.width, height: info.height };
  return checkedImage({ ...size, data: cmyk ? withoutBlack(data) : new Uint8Array(data) });
}

/** CMYK to RGB as Pillow's `convert`: each ink is taken from what the black one leaves. */
function withoutBlack(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4, to += 3) {
    const left = 255 - cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) rgb[to + c] = Math.max(0, left - divide255(cmyk[from + c]! * left));
  }
  return rgb;
}

function checkedImage(image: Image | ClampedImage): Image {
  if ((image as unknown) instanceof Promise)
    throw new DiffusionError("BAD_IMAGE", "Image: expected a picture, got a promise", {
      hint: "await it first",
    });
  const { width, height, data } = image ?? {};
  const pixels = width * height;
  const sound =
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    width > 0 &&
    height > 0 &&
    (data instanceof Uint8Array || data instanceof Uint8ClampedArray) &&
    (data.length === pixels * 3 || data.length === pixels * 4);
  if (!sound)
    throw new DiffusionError(
      "BAD_IMAGE",
      `Image: expected { width, height, data } with 3 or 4 bytes a pixel, got width ${width}, height ${height} and ${data instanceof Uint8Array ? `${data.length} bytes` : "no Uint8Array"}`,
      { hint: "A path or the bytes of a PNG, JPEG, WebP, GIF, TIFF or AVIF file will do as well." },
    );
  if (data instanceof Uint8Array) return image as Image;
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

const bad = (
  name: string,
  problem: string,
  cause?: unknown,
  hint = "Pass a PNG, JPEG, WebP, GIF, TIFF or AVIF picture.",
) => new DiffusionError("BAD_IMAGE", `Image (${name}): ${problem}`, { hint, cause });
