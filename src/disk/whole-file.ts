import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { diskError } from "./disk-error.js";
import { makeFolder, makeFolderSync } from "./folders.js";

/** What a writer that was killed leaves behind ends so; `isTemporary` recognises it. */
const suffix = ".tmp";
export const isTemporary = (name: string): boolean => name.startsWith(".") && name.endsWith(suffix);

const draftOf = (path: string): string =>
  join(dirname(path), `.${basename(path).slice(0, 100)}.${process.pid}.${randomUUID().slice(0, 8)}${suffix}`);

/**
 * One `write` may take less than it is given, and at most 2 GiB.
 *
 * @param place in the file, in bytes; default: behind what was written last
 */
export function writeAll(file: number, bytes: Uint8Array, place?: number): void {
  const most = 2 ** 30;
  for (let at = 0; at < bytes.length; ) {
    const length = Math.min(most, bytes.length - at);
    at += writeSync(file, bytes, at, length, place === undefined ? null : place + at);
  }
}

/**
 * Makes `path` either what it was or complete: `make` makes a draft in the same folder (which is there by then), the
 * draft is renamed. After an error nothing is left behind.
 *
 * @param make makes a file, a folder or a link at the path that it is given
 * @param hint what to do where the disk refuses
 * @throws DiffusionError DISK, and what `make` throws
 */
export function placeWholeSync(path: string, make: (draft: string) => void, hint?: string): void {
  placeNamedSync(
    path,
    (draft) => {
      make(draft);
      return path;
    },
    hint,
  );
}

/**
 * The same where only the content says the name.
 *
 * @param path of a file in the folder, for the draft's name and for errors
 * @param make returns the path of the whole
 * @throws DiffusionError DISK, and what `make` throws
 */
export function placeNamedSync(path: string, make: (draft: string) => string, hint?: string): string {
  const draft = draftOf(path);
  try {
    makeFolderSync(dirname(path));
    const whole = make(draft);
    renameSync(draft, whole);
    return whole;
  } catch (error) {
    try {
      rmSync(draft, { recursive: true, force: true });
    } catch {
      // the first error says more
    }
    throw diskError(path, error, hint);
  }
}

/** `placeWholeSync`, without blocking. */
export async function placeWhole(
  path: string,
  make: (draft: string) => Promise<unknown>,
  hint?: string,
): Promise<void> {
  const draft = draftOf(path);
  try {
    const made = await makeFolder(dirname(path));
    if (made !== undefined) await syncFolder(dirname(made));
    await make(draft);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    throw diskError(path, error, hint);
  }
}

/**
 * Writes a file so that `path` is either what it was or complete.
 *
 * @param content a function writes into the open file itself, piece by piece
 * @param options.durable also survives a power cut, at a few milliseconds a file
 * @throws DiffusionError DISK
 */
export function writeWholeSync(
  path: string,
  content: string | Uint8Array | ((file: number) => void),
  options: { durable?: boolean; hint?: string } = {},
): void {
  const write = (draft: string) => {
    const file = openSync(draft, "wx");
    try {
      if (typeof content === "function") content(file);
      else writeAll(file, typeof content === "string" ? Buffer.from(content) : content);
      if (options.durable) fsyncSync(file);
    } finally {
      closeSync(file);
    }
  };
  placeWholeSync(path, write, options.hint);
  if (options.durable) syncFolderSync(dirname(path));
}

/**
 * `writeWholeSync`, without blocking and always durable.
 *
 * @param options.mode who may read it; default: as the process makes files
 * @throws DiffusionError DISK
 */
export async function writeWhole(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; hint?: string } = {},
): Promise<void> {
  const write = async (draft: string) => {
    const file = await open(draft, "wx", options.mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
  };
  await placeWhole(path, write, options.hint);
  await syncFolder(dirname(path));
}

/** A name is on disk when its folder is: without this a file may be gone after a power failure, though its content is not. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined); // not every system opens folders
  await folder?.sync().catch(() => {}); // nor syncs them
  await folder?.close();
}

function syncFolderSync(path: string): void {
  let folder: number;
  try {
    folder = openSync(path, "r");
  } catch {
    return;
  }
  try {
    fsyncSync(folder);
  } catch {
    // as in `syncFolder`
  } finally {
    closeSync(folder);
  }
}
