import { readFile, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { diskError } from "../disk/disk-error.js";
import { makeFolder } from "../disk/folders.js";
import { isJsonObject, type JsonObject, parseJson } from "../disk/json.js";
import { DiffusionError, nearest } from "../errors.js";
import type { OnProgress } from "../events.js";
import { isShardIndex } from "../weights/weight-names.js";
import { askRevision, describe, type HubQuestion } from "./api.js";
import {
  cachedCommit,
  cachedRepositories,
  cachedRevisions,
  diskHint,
  exists,
  isCommit,
  isSafePath,
  linkIntoSnapshot,
  type RepoCache,
  repoCache,
  snapshotFiles,
  writeRef,
} from "./cache.js";
import { EtagChanged, fetchBlob, type RemoteFile } from "./download.js";
import { chooseFiles, configsBeside, type FileChoice, type FileWish, shardsOf } from "./files.js";
import { Unreachable } from "./http.js";
import { inParallel } from "./in-parallel.js";
import { downloadProgress } from "./progress.js";
import { type HubSettingsOptions, hubSettings } from "./settings.js";

/** `owner/name[@revision][:file]` in parts. */
export interface HubReference {
  readonly repo: string;
  readonly revision?: string;
  readonly file?: string;
}

export interface HubOptions extends HubSettingsOptions, FileWish {
  /** Branch, tag or commit, unless the reference names one. Default: main. */
  readonly revision?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

export interface HubSnapshot {
  readonly repo: string;
  readonly commit: string;
  /** The local folder that looks like the repository, with the files below in it. */
  readonly folder: string;
  /** Relative to the folder. */
  readonly files: readonly string[];
  /** The path of the one file that was asked for (or that the repository consists of). */
  readonly file?: string;
}

/** Space that is left to others on the disk. */
const MARGIN_BYTES = 64 * 2 ** 20;
/** How often a file may change under our hands before we give up. */
const MAX_CHANGES = 3;

/** Reads `owner/name[@revision][:file]`; undefined for what is a path or anything else. */
export function parseHubReference(text: string): HubReference | undefined {
  const match = /^([\w-][\w.-]*\/[\w-][\w.-]*)(?:@([^:]+))?(?::(.+))?$/.exec(text);
  if (!match?.[1] || match[1].includes("--") || match[1].includes("..")) return undefined;
  const [, repo, revision, file] = match;
  if ((revision && !isSafePath(revision)) || (file && !isSafePath(file))) return undefined;
  return { repo, ...(revision && { revision }), ...(file && { file }) };
}

/**
 * A repository of the hub as a local folder: what is in the cache is used, what is missing is downloaded, and only
 * what a pipeline needs. The cache is the one that all Hugging Face tools share.
 *
 * @param reference `owner/name[@revision][:file]`
 * @throws DiffusionError BAD_OPTION, DOWNLOAD, DISK, FILE_MISSING, UNSUPPORTED; the reason of `signal`
 */
export async function fetchFromHub(
  reference: string | HubReference,
  options: HubOptions = {},
): Promise<HubSnapshot> {
  const parsed = typeof reference === "string" ? parseHubReference(reference) : reference;
  if (!parsed)
    throw new DiffusionError("BAD_OPTION", `${JSON.stringify(reference)} is no model of the hub`, {
      hint: "Expected owner/name, owner/name@revision or owner/name:path/file.safetensors.",
    });
  const settings = hubSettings(options);
  const { repo, file } = parsed;
  const revision = parsed.revision ?? options.revision ?? "main";
  if (!isSafePath(revision))
    throw new DiffusionError("BAD_OPTION", `${JSON.stringify(revision)} is no revision`);
  const session: Session = {
    ...{ repo, revision, settings, options, file },
    cache: repoCache(settings.cacheDir, repo),
    signal: options.signal,
  };
  options.signal?.throwIfAborted();
  if (settings.offline) return fromCache(session, "HF_HUB_OFFLINE or the offline option is set");
  // A commit never changes. But a lone file in its snapshot may not be all that the repository has.
  if (
    isCommit(revision) &&
    (file ?? (await exists(join(session.cache.snapshot(revision), "model_index.json"))))
  ) {
    const cached = await fromCache(session, "").catch(() => undefined);
    if (cached) return cached;
  }
  try {
    return await fromHub(session);
  } catch (error) {
    if (!(error instanceof DiffusionError && error.cause instanceof Unreachable)) {
      throw diskError(settings.cacheDir, error, diskHint);
    }
    const cached = await fromCache(session, "").catch(() => undefined);
    if (cached) return cached;
    throw error;
  }
}

interface Session extends HubQuestion {
  readonly file: string | undefined;
  readonly options: HubOptions;
  readonly cache: RepoCache;
}

/** Where the chosen files come from: the hub or the cache. */
type Fetch = (files: readonly string[]) => Promise<void>;

async function fromCache(session: Session, why: string): Promise<HubSnapshot> {
  const { cache, repo, revision, settings } = session;
  const commit = await cachedCommit(cache, revision);
  if (!commit) {
    const there = await cachedRevisions(cache);
    const near = nearest(repo, await cachedRepositories(settings.cacheDir));
    const known =
      there.length > 0 ? `The cache has its revisions ${there.join(", ")}.` : near && `Did you mean ${near}?`;
    throw new DiffusionError("FILE_MISSING", `${repo}@${revision} is not in the cache ${settings.cacheDir}`, {
      hint: [why && `${why}, so nothing was downloaded.`, known].filter(Boolean).join(" "),
    });
  }
  const available = await snapshotFiles(cache, commit);
  const has = new Set(available);
  try {
    return await assemble(session, commit, available, async (files) => {
      const missing = files.find((file) => !has.has(file));
      if (missing !== undefined) throw new DiffusionError("FILE_MISSING", `${missing} is missing`);
    });
  } catch (error) {
    if (!(error instanceof DiffusionError)) throw error;
    throw new DiffusionError(
      "FILE_MISSING",
      `${repo}@${revision} is only partly in the cache: ${error.message}`,
      {
        hint: `Download it once with a connection${why && ` (${why})`}.`,
        cause: error,
      },
    );
  }
}

async function fromHub(session: Session): Promise<HubSnapshot> {
  const { commit, available } = await askRevision(session);
  const progress = downloadProgress(session.options.onProgress);
  const snapshot = await assemble(session, commit, available, (files) =>
    fetchFiles(session, commit, files, progress),
  );
  await writeRef(session.cache, session.revision, commit); // last, so that a cut download does not look complete
  return snapshot;
}

/** Chooses the files, fetches them, and the shards that their indexes name. */
async function assemble(
  session: Session,
  commit: string,
  available: readonly string[],
  fetch: Fetch,
): Promise<HubSnapshot> {
  const { cache, repo, file, options } = session;
  const folder = cache.snapshot(commit);
  const result = { repo, commit, folder };
  if (file !== undefined) {
    if (!available.includes(file)) throw noSuchFile(session, available);
    const files = [file, ...configsBeside(file, available)];
    const all = await withShards(folder, { files, indexes: isShardIndex(file) ? [file] : [] }, fetch);
    return { ...result, files: all, file: join(folder, file) };
  }
  let modelIndex: unknown;
  if (available.includes("model_index.json")) {
    await fetch(["model_index.json"]);
    modelIndex = await readJson(join(folder, "model_index.json"));
  }
  const choice = chooseFiles(repo, available, modelIndex, options);
  const files = await withShards(folder, choice, fetch);
  return { ...result, files, ...(choice.lone !== undefined && { file: join(folder, choice.lone) }) };
}

async function withShards(folder: string, { files, indexes }: FileChoice, fetch: Fetch): Promise<string[]> {
  await fetch(indexes);
  const shards: string[] = [];
  for (const index of indexes) shards.push(...shardsOf(index, await readJson(join(folder, index))));
  const all = [...files, ...shards];
  await fetch(all);
  return all;
}

async function readJson(path: string): Promise<JsonObject> {
  const text = await readFile(path, "utf8");
  try {
    const value = parseJson(text, "python");
    if (isJsonObject(value)) return value;
  } catch {
    // said below
  }
  throw new DiffusionError("FILE_FORMAT", `${path} holds no JSON object`);
}

function noSuchFile({ repo, revision, file = "" }: Session, available: readonly string[]): DiffusionError {
  const near = nearest(file, available) ?? available.find((name) => name.endsWith(`/${file}`));
  const weights = available.filter((name) => name.endsWith(".safetensors")).slice(0, 8);
  return new DiffusionError("FILE_MISSING", `${repo} has no file ${file} at ${revision}`, {
    hint: near
      ? `Did you mean ${repo}:${near}?`
      : `Its weights: ${weights.join(", ") || "none as .safetensors"}.`,
  });
}

type Progress = ReturnType<typeof downloadProgress>;

/** Downloads what the snapshot lacks, four files at a time. */
async function fetchFiles(
  session: Session,
  commit: string,
  files: readonly string[],
  progress: Progress,
): Promise<void> {
  const { cache, settings } = session;
  const there = await Promise.all(files.map((file) => exists(join(cache.snapshot(commit), file))));
  const missing = files.filter((_, i) => !there[i]);
  if (missing.length === 0) return;
  await makeFolder(join(cache.folder, "blobs"));
  const remotes = await inParallel(missing, session.signal, (file, signal) =>
    describe({ ...session, signal }, commit, file),
  );
  const sizes = await Promise.all(remotes.map((remote) => bytesToCome(cache, remote)));
  await checkSpace(
    settings.cacheDir,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  for (const { file, size } of remotes) progress.expect(file, size);
  // Weights last: where they are, everything small is too, so a snapshot that was cut short is seen to be.
  for (const wantsWeights of [false, true])
    await inParallel(
      remotes.filter(({ file }) => /\.(safetensors|bin|ckpt|pth?)$/.test(file) === wantsWeights),
      session.signal,
      (remote, signal) => fetchFile({ ...session, signal }, remote, progress),
    );
}

async function fetchFile(
  session: Session & { signal: AbortSignal },
  first: RemoteFile,
  progress: Progress,
): Promise<void> {
  const { settings, cache, signal } = session;
  let remote = first;
  for (let changes = 0; ; changes++) {
    try {
      const onBytes = (received: number) => progress.received(remote.file, received);
      await fetchBlob(remote, { settings, cache, signal, onBytes });
      await linkIntoSnapshot(cache, remote.commit, remote.file, remote.etag, settings.copies);
      return;
    } catch (error) {
      if (!(error instanceof EtagChanged)) throw error;
      if (changes === MAX_CHANGES)
        throw new DiffusionError("DOWNLOAD", `${remote.file} of ${remote.repo} keeps changing`, {
          cause: error,
        });
      remote = await describe(session, remote.commit, remote.file);
      progress.expect(remote.file, remote.size);
    }
  }
}

async function bytesToCome(cache: RepoCache, { etag, size }: RemoteFile): Promise<number> {
  if (await exists(cache.blob(etag))) return 0;
  const partial = await stat(cache.partial(etag)).catch(() => undefined);
  return Math.max(0, size - (partial?.size ?? 0));
}

async function checkSpace(cacheDir: string, needed: number): Promise<void> {
  const disk = await statfs(cacheDir).catch(() => undefined);
  if (!disk || needed === 0) return;
  const free = disk.bavail * disk.bsize;
  if (needed + MARGIN_BYTES <= free) return;
  const gb = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
  throw new DiffusionError("DISK", `the download needs ${gb(needed)}, ${cacheDir} has ${gb(free)} left`, {
    hint: "Free some space, or set HF_HUB_CACHE to a folder on another disk.",
  });
}
