import { createHash, type Hash } from "node:crypto";
import { constants, type FileHandle, open, rename, rm } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { LockLost, withFileLock } from "../disk/file-lock.js";
import { DiffusionError } from "../errors.js";
import { exists, type RepoCache } from "./cache.js";
import { refusal } from "./errors.js";
import { discard, hubRequest, Temporary, withRetries } from "./http.js";
import type { HubSettings } from "./settings.js";

/** One file at one commit, as the hub describes it. */
export interface RemoteFile {
  readonly repo: string;
  readonly commit: string;
  readonly file: string;
  readonly url: string;
  /** Name of the blob: the sha256 of large files, git's object id of small ones. */
  readonly etag: string;
  readonly size: number;
}

/** The hub now has something else under the same address: ask again what it is. */
export class EtagChanged extends Error {}

export interface Transfer {
  readonly settings: HubSettings;
  readonly cache: RepoCache;
  readonly signal: AbortSignal;
  /** Bytes of the file that are on disk now. */
  readonly onBytes: (received: number) => void;
}

/**
 * Makes the blob of a file exist: whole, of the right size and hash, or not at all. A partial file is continued,
 * whichever process left it; only one process writes at a time.
 *
 * @throws DiffusionError DOWNLOAD, EtagChanged, or what the disk says
 */
export async function fetchBlob(remote: RemoteFile, transfer: Transfer): Promise<void> {
  const { cache, signal } = transfer;
  const blob = cache.blob(remote.etag);
  while (!(await exists(blob))) {
    try {
      await withFileLock(cache.lock(remote.etag), signal, async (held) => {
        if (!(await exists(blob))) await fillPartial(remote, { ...transfer, signal: held });
      });
    } catch (error) {
      if (!(error instanceof LockLost)) throw error;
    }
  }
  transfer.onBytes(remote.size);
}

/** A file that grows: what is on disk, its hash so far, and what the server called the version that it sent. */
interface Partial {
  readonly handle: FileHandle;
  length: number;
  hash: Hash;
  validator: string | undefined;
}

async function fillPartial(remote: RemoteFile, transfer: Transfer): Promise<void> {
  const path = transfer.cache.partial(remote.etag);
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT);
  try {
    const partial = await readPartial(handle, remote, transfer.signal);
    transfer.onBytes(partial.length);
    await complete(remote, transfer, partial);
    await handle.sync();
    await handle.close();
    await rename(path, transfer.cache.blob(remote.etag));
  } catch (error) {
    await handle.close().catch(() => undefined);
    // A full disk is not helped by half a file.
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") await rm(path, { force: true });
    throw error;
  }
}

/** What an earlier download left, hashed. */
async function readPartial(handle: FileHandle, remote: RemoteFile, signal: AbortSignal): Promise<Partial> {
  const partial: Partial = { handle, length: 0, hash: newHash(remote), validator: undefined };
  const chunk = Buffer.alloc(2 ** 20);
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(chunk, 0, chunk.length, partial.length);
    if (bytesRead === 0) break;
    partial.hash.update(chunk.subarray(0, bytesRead));
    partial.length += bytesRead;
  }
  if (partial.length > remote.size) await restart(partial, remote);
  return partial;
}

async function restart(partial: Partial, remote: RemoteFile): Promise<void> {
  await partial.handle.truncate(0);
  partial.length = 0;
  partial.hash = newHash(remote);
  partial.validator = undefined;
}

/** Large files are named by their sha256; git names small ones by the sha1 of a header and the contents. */
function newHash({ etag, size }: RemoteFile): Hash {
  return isGitId(etag) ? createHash("sha1").update(`blob ${size}\0`) : createHash("sha256");
}

const isGitId = (etag: string): boolean => /^[0-9a-f]{40}$/.test(etag);
/** Whether an etag says what the contents are; those of mirrors may be anything. */
export const isHash = (etag: string): boolean => isGitId(etag) || /^[0-9a-f]{64}$/.test(etag);

/** Bytes until the size is right, then the hash; one wrong hash may come from an old partial file, two do not. */
async function complete(remote: RemoteFile, transfer: Transfer, partial: Partial): Promise<void> {
  for (const isLast of [false, true]) {
    const resumed = partial.length;
    await withRetries(transfer.settings, transfer.signal, async (progressed) => {
      while (partial.length < remote.size) await receive(remote, transfer, partial, progressed);
    });
    const digest = partial.hash.digest("hex");
    if (!isHash(remote.etag) || digest === remote.etag) return;
    await restart(partial, remote);
    if (isLast || resumed === 0)
      throw new DiffusionError(
        "DOWNLOAD",
        `${remote.file} of ${remote.repo} arrived damaged: its hash is ${digest}, expected ${remote.etag}`,
        { hint: "Try again; if it stays so, a proxy or mirror (HF_ENDPOINT) changes what it passes on." },
      );
  }
}

/** One request for the rest of the file. */
async function receive(
  remote: RemoteFile,
  transfer: Transfer,
  partial: Partial,
  progressed: () => void,
): Promise<void> {
  const { settings, signal } = transfer;
  const from = partial.length;
  const response = await hubRequest(settings, remote.url, {
    timeout: settings.downloadTimeout,
    signal,
    headers: rangeHeaders(partial),
    onAnswer: (answer) => checkEtag(answer, remote),
  });
  const { statusCode } = response;
  if (statusCode !== 200 && statusCode !== 206) {
    discard(response);
    await restart(partial, remote); // 416: what we have is not a part of what they have
    if (statusCode === 416) throw new Temporary(`${remote.file}: the server cannot continue at byte ${from}`);
    throw refusal(response, { ...remote, revision: remote.commit, settings });
  }
  const continues =
    statusCode === 206 &&
    response.headers["content-range"]?.replace(/\s+/g, "").startsWith(`bytes${from}-`) === true &&
    response.headers["content-range"].endsWith(`/${remote.size}`);
  if (!continues && from > 0) await restart(partial, remote);
  if (!continues && statusCode === 206) {
    discard(response);
    throw new Temporary(
      `${remote.file}: the server sent ${response.headers["content-range"]}, not what was asked`,
    );
  }
  partial.validator = strongEtag(response);
  await append(response, remote, transfer, partial, progressed);
}

/**
 * The server that sends the bytes is often not the hub, and has its own name for the version, so If-Range carries
 * what that server said before. A part that an earlier process left is trusted until its hash says otherwise.
 */
function rangeHeaders({ length, validator }: Partial): Record<string, string> {
  if (length === 0) return {};
  return { range: `bytes=${length}-`, ...(validator === undefined ? {} : { "if-range": validator }) };
}

const strongEtag = (response: IncomingMessage): string | undefined => {
  const { etag } = response.headers;
  return etag?.startsWith('"') ? etag : undefined;
};

function checkEtag(answer: IncomingMessage, remote: RemoteFile): void {
  const now = etagOf(answer);
  if ((answer.statusCode ?? 0) < 400 && now !== undefined && now !== remote.etag) {
    discard(answer);
    throw new EtagChanged(`${remote.file} changed from ${remote.etag} to ${now}`);
  }
}

/** The hub's name for the contents: X-Linked-Etag for large files, ETag for small ones; quotes removed. */
export function etagOf({ headers }: IncomingMessage): string | undefined {
  const etag = headers["x-linked-etag"] ?? headers.etag;
  return typeof etag === "string" ? etag.replace(/^W\//, "").replace(/^"|"$/g, "") : undefined;
}

async function append(
  response: IncomingMessage,
  remote: RemoteFile,
  { signal, onBytes }: Transfer,
  partial: Partial,
  progressed: () => void,
): Promise<void> {
  for await (const chunk of chunksOf(response, remote, signal)) {
    if (partial.length + chunk.length > remote.size) {
      await restart(partial, remote);
      throw new DiffusionError(
        "DOWNLOAD",
        `${remote.file} of ${remote.repo} is longer than the ${remote.size} bytes announced`,
      );
    }
    await writeAll(partial, chunk);
    partial.hash.update(chunk);
    partial.length += chunk.length;
    onBytes(partial.length);
    progressed();
  }
  if (partial.length < remote.size)
    throw new Temporary(`the download of ${remote.file} ended at byte ${partial.length} of ${remote.size}`);
}

async function* chunksOf(
  response: IncomingMessage,
  { file }: RemoteFile,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const chunks = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch((cause: Error) => {
        signal.throwIfAborted();
        throw new Temporary(`the download of ${file} broke: ${cause.message}`, { cause });
      });
      if (next.done) return;
      yield next.value;
    }
  } finally {
    discard(response);
  }
}

async function writeAll({ handle, length }: Partial, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length; ) {
    const { bytesWritten } = await handle.write(chunk, at, chunk.length - at, length + at);
    at += bytesWritten;
  }
}
