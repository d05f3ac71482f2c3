import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { writeWhole } from "../../disk/whole-file.js";
import { encodePng, type Image, readImage, readImageTexts, withParameters } from "../../index.js";
import type { Log } from "../log.js";
import { Refusal } from "../refusal.js";
import type { Limits } from "../requests/limits.js";
import { type ImageStore, isImageKey } from "./store.js";

/** Keeps pictures in a folder. A file appears whole or not at all. */
export function folderStore(folder: string): ImageStore {
  const path = (key: string): string => {
    if (!isImageKey(key)) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    return join(folder, key.slice(0, 2), `${key}.png`);
  };
  return {
    async put(png) {
      const key = createHash("sha256").update(png).digest("hex");
      await writeWhole(path(key), png, { mode: 0o600 });
      return key;
    },
    get: (key) => readFile(path(key)).catch(whenMissing),
    remove: (key) => rm(path(key), { force: true }),
  };
}

/**
 * A folder of the data folder, or a bucket: s3://bucket/prefix.
 *
 * @param options.answerMs how long a bucket is waited for
 * @throws DiffusionError, see s3Store
 */
export async function imageStore(
  place: string | undefined,
  dataDir: string,
  { log = () => {}, answerMs }: { readonly log?: Log; readonly answerMs?: number } = {},
): Promise<ImageStore> {
  if (place === undefined) return folderStore(join(dataDir, "images"));
  const { s3Store } = await import("./s3.js");
  return s3Store(place, { log, ...(answerMs !== undefined && { budgets: { start: answerMs } }) });
}

function whenMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT") return undefined;
  throw error;
}

/**
 * The bytes of a base64 text, with or without `data:image/png;base64,` in front.
 *
 * @throws Refusal for everything else, addresses above all: this server fetches nothing for its clients
 */
export function decodeBase64(text: string): Uint8Array {
  if (/^[a-z]+:\/\//i.test(text.slice(0, 20)))
    throw new Refusal(400, "BAD_IMAGE", "pictures are sent as base64; addresses are not fetched");
  const [, body] = /^data:image\/[\w.+-]{1,40};base64,(.*)$/s.exec(text) ?? [undefined, text];
  const compact = body!.replace(/\s+/g, "");
  if (compact === "" || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(compact))
    throw new Refusal(400, "BAD_IMAGE", "Invalid encoded image");
  return Buffer.from(compact, "base64");
}

/** Decodes a picture of a stranger: sizes first, pixels after. */
export const readForeign = (bytes: Uint8Array, { imagePixels }: Limits): Promise<Image> =>
  readImage(bytes, { maxPixels: imagePixels });

/** Pictures that come in are decoded and written anew, so that only our own bytes are ever served. */
export async function storeForeign(bytes: Uint8Array, images: ImageStore, limits: Limits): Promise<string> {
  return images.put(encodePng(await readForeign(bytes, limits)));
}

/**
 * What a mask means, made plain for the library: RGB, white = repaint. A mask with real transparency is read as
 * its API means it: OpenAI's clients rub out what is to be repainted, those of the web UI paint it.
 */
export function plainMask(
  mask: Image,
  { repaint, invert = false }: { repaint: "transparent" | "opaque"; invert?: boolean },
): Image {
  const pixels = mask.width * mask.height;
  const alpha = mask.data.length === pixels * 4;
  const at = (i: number, channel: number) => mask.data[i * (alpha ? 4 : 3) + channel]!;
  let transparent = false;
  for (let i = 0; alpha && !transparent && i < pixels; i++) transparent = at(i, 3) < 255;
  const data = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    const light = Math.round(0.299 * at(i, 0) + 0.587 * at(i, 1) + 0.114 * at(i, 2));
    const painted = transparent ? (at(i, 3) > 128 === (repaint === "opaque") ? 255 : 0) : light;
    data.fill(invert ? 255 - painted : painted, i * 3, i * 3 + 3);
  }
  return { width: mask.width, height: mask.height, data };
}

export type OutputFormat = "png" | "jpeg" | "webp";

/** A stored PNG in the format that a client asked for, with its parameters. @param quality 0 to 100, of JPEG and WebP */
export async function inFormat(
  png: Uint8Array,
  format: OutputFormat,
  quality: number | undefined,
): Promise<Uint8Array> {
  if (format === "png") return png;
  const image = sharp(png);
  const options = quality === undefined ? {} : { quality: Math.max(1, quality) };
  const bytes = await (format === "jpeg" ? image.jpeg(options) : image.webp(options)).toBuffer();
  const { parameters } = await readImageTexts(png);
  return parameters === undefined ? bytes : withParameters(bytes, parameters);
}
