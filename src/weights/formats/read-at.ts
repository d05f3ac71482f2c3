import { readSync } from "node:fs";
import { DiffusionError } from "../../errors.js";

/**
 * Bytes of an open file, in a buffer of their own.
 *
 * @throws DiffusionError FILE_FORMAT where the file ends before
 */
export function readAt(file: number, path: string, position: number, length: number): Buffer<ArrayBuffer> {
  const most = 2 ** 30; // one read takes at most 2 GiB
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const got = readSync(file, bytes, at, Math.min(most, length - at), position + at);
    if (got === 0)
      throw new DiffusionError(
        "FILE_FORMAT",
        `${path} ends at byte ${position + at}, expected ${length} bytes from ${position}`,
      );
    at += got;
  }
  return bytes;
}
