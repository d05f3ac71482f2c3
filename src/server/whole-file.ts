import { randomUUID } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
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
    await mkdir(dirname(path), { recursive: true });
    const file = await open(beside, "wx", 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => {});
    const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
    throw new DiffusionError("DISK", `${path} cannot be written: ${(cause as Error).message}`, {
      cause,
      ...(full && { hint: "the disk is full: make room, and try again" }),
    });
  }
}
