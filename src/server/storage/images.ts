import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { writeWhole } from "../../disk/whole-file.js";
import { readImageTexts, withParameters } from "../../index.js";
import type { Log } from "../log.js";
import { Refusal } from "../refusal.js";
import { type ImageStore, imageKey, isImageKey } from "./store.js";

/**
 * Keeps pictures in a folder. A file appears whole or not at all.
 *
 * @param options.own nobody else keeps pictures there: they are counted, and old ones can be found
 */
export function folderStore(folder: string, { own = false }: { readonly own?: boolean } = {}): ImageStore {
  const path = (key: string): string => {
    if (!isImageKey(key)) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    return join(folder, key.slice(0, 2), `${key}.png`);
  };
  const count = own ? counter(folder) : undefined;
  return {
    async put(png, key = imageKey(png)) {
      await writeWhole(path(key), png, { mode: 0o600 });
      count?.set(key, png.length);
      return key;
    },
    get: (key) => readFile(path(key)).catch(whenMissing),
    async remove(key, unusedMs) {
      if (unusedMs !== undefined && !(await isOlder(path(key), unusedMs))) return;
      await rm(path(key), { force: true });
      count?.set(key, 0);
    },
    ...(count && { storedBytes: count.total, olderThan: (ms) => olderThan(folder, ms) }),
  };
}

/** How many bytes the pictures of a folder take: those that are there are counted in the background. */
function counter(folder: string) {
  const sizes = new Map<string, number>();
  let total = 0;
  let counting = true;
  const set = (key: string, size: number) => {
    total += size - (sizes.get(key) ?? 0);
    // One that is gone is remembered for as long as the count may still come to it.
    if (size > 0 || counting) sizes.set(key, size);
    else sizes.delete(key);
  };
  const countAll = async () => {
    for await (const { key, size } of filesOf(folder)) if (!sizes.has(key)) set(key, size);
    counting = false;
    for (const [key, size] of sizes) if (size === 0) sizes.delete(key);
  };
  void countAll().catch(() => {}); // a folder that cannot be read is told by whoever reads a picture of it
  return { set, total: () => total };
}

async function isOlder(path: string, ms: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > ms;
}

async function olderThan(folder: string, ms: number): Promise<string[]> {
  const old: string[] = [];
  for await (const { key, changed } of filesOf(folder)) if (Date.now() - changed > ms) old.push(key);
  return old;
}

async function* filesOf(folder: string) {
  const parts = await readdir(folder).catch(() => []);
  for (const part of parts) {
    const names = /^[0-9a-f]{2}$/.test(part) ? await readdir(join(folder, part)).catch(() => []) : [];
    for (const name of names) {
      const key = name.replace(/\.png$/, "");
      const found = isImageKey(key) && (await stat(join(folder, part, name)).catch(() => undefined));
      if (found) yield { key, size: found.size, changed: found.mtimeMs };
    }
  }
}

/**
 * A folder of the data folder, or a bucket: s3://bucket/prefix.
 *
 * @param options.own nobody else keeps pictures in the folder
 * @param options.answerMs how long a bucket is waited for
 * @throws DiffusionError, see s3Store
 */
export async function imageStore(
  place: string | undefined,
  dataDir: string,
  {
    log = () => {},
    own = false,
    answerMs,
  }: { readonly log?: Log; readonly own?: boolean; readonly answerMs?: number } = {},
): Promise<ImageStore> {
  if (place === undefined) return folderStore(join(dataDir, "images"), { own });
  const { s3Store } = await import("./s3.js");
  return s3Store(place, { log, ...(answerMs !== undefined && { budgets: { start: answerMs } }) });
}

function whenMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT") return undefined;
  throw error;
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
