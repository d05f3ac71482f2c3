import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { sha256Later } from "../disk/file-hash.js";
import { writeWholeSync } from "../disk/whole-file.js";
import { DiffusionError } from "../errors.js";
import { contentsFolder } from "./cache-root.js";
import type { Checkpoint, FoundFile } from "./checkpoint.js";

/** By the file as it was found. A process asks several times: each network and size of a model. */
const known = new Map<string, string>();

/**
 * A key for what is made of a checkpoint, wherever its files lie and whenever they were written: a package that is
 * installed anew, or a copy in another project, has the key of the one before. A file is read whole for it once;
 * afterwards it is recognised by path, size, time of change, header and samples. Of files from the hub, the name of
 * the blob is the SHA-256 already.
 *
 * @param root the cache, where the SHA-256 of files is kept, if it can be written to
 * @throws DiffusionError FILE_FORMAT when a file changes while it is read
 */
export function contentKey(root: string, { id, stored }: Pick<Checkpoint, "id" | "stored">): string {
  if (!stored) return id;
  const contents = stored.files.map((file) => contentOf(root, file));
  return digest([contents, stored.use]).slice(0, 32);
}

/** SHA-256 of a file, in hex. */
export function contentOf(root: string, file: FoundFile): string {
  const place = digest(file);
  const content = foundBefore(root, place, file) ?? keep(root, place, file, sha256(file.path));
  known.set(place, content);
  return content;
}

/** The same, read in pieces between which others have their turn. @throws the signal's reason, too */
export async function contentLater(root: string, file: FoundFile, signal?: AbortSignal): Promise<string> {
  const place = digest(file);
  const content =
    foundBefore(root, place, file) ?? keep(root, place, file, await sha256Later(file.path, signal));
  known.set(place, content);
  return content;
}

const foundBefore = (root: string, place: string, file: FoundFile): string | undefined =>
  known.get(place) ?? hubHash(file.path) ?? remembered(root, place);

/** Blobs of the hub's cache have the SHA-256 of their content for a name; small ones have another hash. */
function hubHash(path: string): string | undefined {
  const name = basename(path);
  const isBlob = isSha256(name) && basename(dirname(path)) === "blobs";
  return isBlob ? name : undefined;
}

const isSha256 = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);
const digest = (value: unknown): string => createHash("sha256").update(JSON.stringify(value)).digest("hex");
const memo = (root: string, place: string): string => join(contentsFolder(root), place.slice(0, 32));

function remembered(root: string, place: string): string | undefined {
  try {
    const text = readFileSync(memo(root, place), "utf8");
    return isSha256(text) ? text : undefined;
  } catch {
    return undefined; // not there yet
  }
}

function keep(root: string, place: string, file: FoundFile, content: string): string {
  const { size, mtimeMs } = statSync(file.path);
  if (size !== file.size || mtimeMs !== file.modified)
    throw new DiffusionError("FILE_FORMAT", `${file.path} changed while it was read`, {
      hint: "Something is writing to it; wait, then load the model again.",
    });
  try {
    writeWholeSync(memo(root, place), content);
  } catch {
    // A cache that is shared read-only: the file is read again by the next process.
  }
  return content;
}

function sha256(path: string): string {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(8 * 2 ** 20);
  const file = openSync(path, "r");
  try {
    for (let got = -1; got !== 0; ) {
      got = readSync(file, buffer);
      hash.update(buffer.subarray(0, got));
    }
    return hash.digest("hex");
  } finally {
    closeSync(file);
  }
}
