import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { DiffusionError } from "../index.js";

/**
 * Writes a file that appears whole or not at all, and is on disk when the promise resolves.
 *
 * @throws DiffusionError DISK; nothing is left behind then
 */
export async function writeWhole(path: string, content: Uint8Array | string): Promise<void> {
  const beside = `${path}.${randomUUID()}.new`;
  try {
    const file = await create(beside);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
    await syncFolder(dirname(path));
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => {});
    const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
    throw new DiffusionError("DISK", `${path} cannot be written: ${(cause as Error).message}`, {
      cause,
      ...(full && { hint: "the disk is full: make room, and try again" }),
    });
  }
}

async function create(path: string): Promise<FileHandle> {
  const folder = dirname(path);
  try {
    return await open(path, "wx", 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    const made = await mkdir(folder, { recursive: true });
    if (made !== undefined) await syncFolder(dirname(made));
    return open(path, "wx", 0o600);
  }
}

/** A name is on disk when its folder is: without this a file may be gone after a power failure, though its content is not. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
