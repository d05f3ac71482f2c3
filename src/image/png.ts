import { inflateSync } from "node:zlib";
import { PNG } from "pngjs";
import { DiffusionError, demand } from "../errors.js";
import { readExif, upright } from "./exif.js";
import type { Image } from "./image.js";
import { badPng, type Chunk, readChunks, writeChunks } from "./png-chunks.js";
import { readTexts, textChunk } from "./png-text.js";

/** The largest picture that is decoded unless the caller says otherwise: 8192 x 8192. */
export const MAX_PIXELS = 2 ** 26;

/** A PNG with 8 bits a channel, RGB or RGBA as the image is. Each text becomes a chunk in front of the pixels. */
export function encodePng(image: Image, text: Readonly<Record<string, string>> = {}): Uint8Array {
  const isPromise = (image as unknown) instanceof Promise;
  const given: unknown = image?.data;
  if (isPromise || !ArrayBuffer.isView(given))
    throw new DiffusionError(
      "BAD_IMAGE",
      `Image: expected width, height and data, got ${isPromise ? "a promise" : typeof image}`,
      isPromise ? { hint: "await it first" } : {},
    );
  // Of others the bytes that numbers consist of would be taken for pixels.
  if (!(given instanceof Uint8Array || given instanceof Uint8ClampedArray))
    throw new DiffusionError(
      "BAD_IMAGE",
      `Image: expected data as bytes (Uint8Array), got ${given.constructor.name}`,
      { hint: "bring the numbers to 0 to 255 first: Uint8Array.from(numbers, (value) => …)" },
    );
  demand("texts", text, "object");
  for (const [keyword, value] of Object.entries(text)) demand(`text ${keyword}`, value, "text");
  const { width, height, data } = image;
  const channels = data.length / (width * height);
  if (!(width >= 1 && height >= 1) || (channels !== 3 && channels !== 4))
    throw new DiffusionError(
      "BAD_IMAGE",
      `Image: ${data.length} bytes are not ${width} x ${height} pixels of RGB or RGBA`,
    );
  const alpha = channels === 4;
  const colorType = alpha ? 6 : 2;
  const png = new PNG({ width, height });
  png.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const [header, ...rest] = readChunks(
    PNG.sync.write(png, { colorType, inputColorType: colorType, inputHasAlpha: alpha }),
  );
  const texts = Object.entries(text).map(([keyword, value]) => textChunk(keyword, value));
  return writeChunks([header!, ...texts, ...rest]);
}

/**
 * Pixels and texts of a PNG of any kind: bit depths 1 to 16 (16 rounded to 8), gray, palette, transparent colours,
 * interlaced. RGBA if the file knows transparency, else RGB. The orientation of an eXIf chunk is applied, gamma and
 * colour profiles are not.
 *
 * Nothing is decoded before the header, the size and every checksum have been looked at, and no more is inflated
 * than the picture needs.
 */
export function decodePng(
  bytes: Uint8Array,
  options: { maxPixels?: number } = {},
): { image: Image; text: Record<string, string> } {
  demand("PNG", bytes, "bytes");
  demand("options", options, "object");
  const { maxPixels = MAX_PIXELS } = options;
  const { header, palette, transparency, pixels, texts, orientation } = takeApart(bytes, maxPixels);
  checkPixels(header, pixels);
  const { width, height, colorType, depth } = header;
  const key = colorType === 3 ? undefined : transparency;
  // only what pngjs does right: it inflates interlaced pixels without a limit, stumbles over what follows IEND
  // and blackens the colour that is declared transparent
  const plain = writeChunks(
    [header.chunk, palette, key ? undefined : transparency, { type: "IDAT", data: pixels }, end].filter(
      (chunk) => chunk !== undefined,
    ),
  );
  let samples: ArrayLike<number>;
  try {
    samples = PNG.sync.read(Buffer.from(plain.buffer), { skipRescale: key !== undefined }).data;
  } catch (cause) {
    throw badPng(`the pixels cannot be decoded (${(cause as Error).message})`, cause);
  }
  const opaque = transparency === undefined && colorType !== 4 && colorType !== 6;
  const data = opaque
    ? withoutAlpha(samples)
    : key
      ? withTransparentColor(samples, depth, key.data)
      : new Uint8Array(samples);
  return { image: upright({ width, height, data }, orientation), text: readTexts(texts) };
}

/** Channels by colour type, and the bit depths that each may have. */
const colorTypes: Record<number, { channels: number; depths: readonly number[] }> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] }, // gray
  2: { channels: 3, depths: [8, 16] }, // RGB
  3: { channels: 1, depths: [1, 2, 4, 8] }, // palette
  4: { channels: 2, depths: [8, 16] }, // gray and alpha
  6: { channels: 4, depths: [8, 16] }, // RGB and alpha
};

const end: Chunk = { type: "IEND", data: new Uint8Array() };

interface Header {
  readonly chunk: Chunk;
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly colorType: number;
  readonly bitsPerPixel: number;
  readonly interlaced: boolean;
}

function readHeader(chunk: Chunk, maxPixels: number): Header {
  const { type, data } = chunk;
  if (type !== "IHDR" || data.length !== 13)
    throw badPng("it does not begin with a header (IHDR) of 13 bytes");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colorType, compression, filter, interlace] = data.subarray(8) as unknown as number[];
  const kind = colorTypes[colorType!];
  if (width < 1 || height < 1 || width >= 2 ** 31 || height >= 2 ** 31)
    throw badPng(`a picture of ${width} x ${height} pixels is not allowed`);
  if (!kind?.depths.includes(depth!)) throw badPng(`there is no colour type ${colorType} with ${depth} bits`);
  if (compression !== 0 || filter !== 0 || interlace! > 1)
    throw badPng(`unknown compression ${compression}, filter ${filter} or interlace method ${interlace}`);
  if (width * height > maxPixels)
    throw new DiffusionError("BAD_IMAGE", `PNG: ${width} x ${height} pixels are more than ${maxPixels}`, {
      hint: "Make the picture smaller, or raise maxPixels.",
    });
  return {
    chunk,
    width,
    height,
    depth: depth!,
    colorType: colorType!,
    bitsPerPixel: kind.channels * depth!,
    interlaced: interlace === 1,
  };
}

/** The parts of a PNG that matter here, in an order that the format allows. */
function takeApart(bytes: Uint8Array, maxPixels: number) {
  const chunks = readChunks(bytes);
  const first = chunks.next();
  if (first.done) throw badPng("it has no chunks");
  const header = readHeader(first.value, maxPixels);
  const texts: Chunk[] = [];
  const pixels: Uint8Array[] = [];
  let palette: Chunk | undefined;
  let transparency: Chunk | undefined;
  let orientation = 1;
  let previous = "IHDR";
  for (const chunk of chunks) {
    const { type, data } = chunk;
    if (type === "IDAT") {
      if (pixels.length > 0 && previous !== "IDAT")
        throw badPng("its pixels (IDAT) are interrupted by another chunk");
      pixels.push(data);
    } else if (type === "PLTE") {
      if (palette || pixels.length > 0) throw badPng("a palette (PLTE) stands where none may stand");
      if (data.length % 3 !== 0 || data.length === 0 || data.length > 768)
        throw badPng(`a palette of ${data.length} bytes is not 1 to 256 colours`);
      palette = chunk;
    } else if (type === "tRNS") {
      if (pixels.length === 0) transparency = chunk;
    } else if (type === "tEXt" || type === "zTXt" || type === "iTXt") texts.push(chunk);
    else if (type === "eXIf") orientation = readExif(data).orientation;
    else if (type !== "IEND" && type[0]! <= "Z")
      throw badPng(`chunk ${type} is critical and unknown, or repeated`);
    previous = type;
  }
  if (pixels.length === 0) throw badPng("it has no pixels (IDAT)");
  const { colorType } = header;
  if (colorType === 3 && !palette) throw badPng("its palette (PLTE) is missing");
  return {
    header,
    texts,
    orientation,
    pixels: Buffer.concat(pixels),
    palette: colorType === 3 ? palette : undefined, // elsewhere it is a suggestion for old screens
    transparency: colorType === 0 || colorType === 2 || colorType === 3 ? transparency : undefined,
  };
}

/** Pixels must inflate to what the header promises: not less, and never more, however much the file holds. */
function checkPixels(header: Header, pixels: Uint8Array): void {
  const expected = inflatedSize(header);
  let got: number;
  try {
    got = inflateSync(pixels, { maxOutputLength: expected }).length;
  } catch (cause) {
    const more = (cause as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
    throw badPng(
      more
        ? `its pixels inflate to more than the ${expected} bytes of ${header.width} x ${header.height}`
        : `its pixels cannot be inflated (${(cause as Error).message})`,
      cause,
    );
  }
  if (got !== expected)
    throw badPng(`its pixels inflate to ${got} bytes, ${header.width} x ${header.height} need ${expected}`);
}

/** Adam7: first column, first row, column step, row step of each pass. */
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Bytes of all rows, each with the number of its filter in front. */
function inflatedSize({ width, height, bitsPerPixel, interlaced }: Header): number {
  const size = (w: number, h: number) => (w > 0 && h > 0 ? h * (1 + Math.ceil((w * bitsPerPixel) / 8)) : 0);
  if (!interlaced) return size(width, height);
  return passes.reduce(
    (sum, [x, y, dx, dy]) => sum + size(Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)),
    0,
  );
}

function withoutAlpha(rgba: ArrayLike<number>): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from]!;
    rgb[to + 1] = rgba[from + 1]!;
    rgb[to + 2] = rgba[from + 2]!;
  }
  return rgb;
}

/** RGBA of `depth` bits a channel reduced to 8; pixels of the colour that tRNS names lose only their alpha. */
function withTransparentColor(samples: ArrayLike<number>, depth: number, key: Uint8Array): Uint8Array {
  if (key.length !== 2 && key.length !== 6)
    throw badPng(`its transparent colour (tRNS) has ${key.length} bytes`);
  const [red, green, blue] = [0, 2, 4].map((at) => {
    const i = key.length === 2 ? 0 : at;
    return key[i]! * 256 + key[i + 1]!;
  });
  const rgba = new Uint8Array(samples.length);
  const scale = 255 / (2 ** depth - 1);
  for (let i = 0; i < rgba.length; i += 4) {
    for (let c = i; c < i + 3; c++) rgba[c] = Math.round(samples[c]! * scale);
    const transparent = samples[i] === red && samples[i + 1] === green && samples[i + 2] === blue;
    rgba[i + 3] = transparent ? 0 : 255;
  }
  return rgba;
}
