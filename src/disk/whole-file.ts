import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { DiffusionError } from "../errors.js";

/** What a writer that was killed leaves behind ends so; `isTemporary` recognises it. */
const suffix = ".tmp";
export const isTemporary = (name: string): boolean => name.startsWith(".") && name.endsWith(suffix);

const temporary = (path: string): string =>
  join(dirname(path), `.${basename(path).slice(0, 100)}.${process.pid}.${randomUUID().slice(0, 8)}${suffix}`);

/** One `write` may take less than it is given, and at most 2 GiB. */
export function writeAll(file: number, bytes: Uint8Array): void {
  const most = 2 ** 30;
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, Math.min(most, bytes.length - at));
}

/**
 * Writes a file so that `path` is either what it was or complete: into a temporary file in the same folder (made
 * if need be), then renamed. `durable` also survives a power cut, at a few milliseconds a file.
 *
 * @throws DiffusionError DISK when there is no space or no permission; the temporary file is gone then.
 */
export function atomicFile(
  path: string,
  write: (file: number) => void,
  options: { durable?: boolean } = {},
): void {
  const draft = temporary(path);
  cleanly(path, draft, () => {
    const file = openSync(draft, "wx");
    try {
      write(file);
      if (options.durable) fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
    if (options.durable) syncFolder(dirname(path));
  });
}

/**
 * Fills a folder so that `path` is either absent or complete. If another process was faster, its folder stays.
 *
 * @throws DiffusionError DISK
 */
export function atomicFolder(path: string, fill: (folder: string) => void): void {
  const draft = temporary(path);
  cleanly(path, draft, () => {
    mkdirSync(draft);
    fill(draft);
    try {
      renameSync(draft, path);
    } catch (error) {
      if (!["ENOTEMPTY", "EEXIST", "EPERM"].includes(errorCode(error) ?? "")) throw error;
      rmSync(draft, { recursive: true, force: true });
    }
  });
}

function cleanly(path: string, draft: string, write: () => void): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    write();
  } catch (error) {
    try {
      rmSync(draft, { recursive: true, force: true });
    } catch {
      // the first error says more
    }
    throw diskError(path, error);
  }
}

const errorCode = (error: unknown): string | undefined => (error as NodeJS.ErrnoException | undefined)?.code;

const diskReasons = new Map([
  ["ENOSPC", "there is no space left on the disk"],
  ["EDQUOT", "the disk quota is used up"],
  ["EFBIG", "the file would be larger than this disk or process allows"],
  ["EACCES", "permission denied"],
  ["EPERM", "permission denied"],
  ["EROFS", "the disk is read-only"],
  ["EIO", "the disk reports an error"],
  ["ENOTDIR", "a part of the path is a file, not a folder"],
  ["EEXIST", "a part of the path is a file, not a folder"],
  ["EMFILE", "too many files are open"],
]);

/** Names what the disk refused; everything else passes unchanged. */
export function diskError(path: string, error: unknown): unknown {
  const reason = diskReasons.get(errorCode(error) ?? "");
  if (!reason) return error;
  return new DiffusionError("DISK", `${path} cannot be written: ${reason}`, {
    hint: "Free some space, or choose another folder (TFJS_DIFFUSION_CACHE sets that of the cache).",
    cause: error,
  });
}

function syncFolder(folder: string): void {
  let file: number;
  try {
    file = openSync(folder, "r");
  } catch {
    return; // not every system opens folders
  }
  try {
    fsyncSync(file);
  } catch {
    // nor syncs them
  } finally {
    closeSync(file);
  }
}
