import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

/**
 * SHA-256 of a file, in hex: read in pieces, between which others have their turn. A piece takes a thread of the pool to
 * read and this one about a millisecond to add.
 *
 * @throws the signal's reason, and what reading throws
 */
export async function sha256Later(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  const pieces = createReadStream(path, { highWaterMark: 2 ** 20, ...(signal && { signal }) });
  for await (const piece of pieces) hash.update(piece as Buffer);
  return hash.digest("hex");
}
