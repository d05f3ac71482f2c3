import { copyFile, readdir, readFile, readlink, stat, symlink } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { isTemporary, placeWhole, writeWhole } from "../disk/whole-file.js";

/**
 * The cache that all Hugging Face tools share:
 *
 *     models--owner--name/blobs/<etag>                     contents, once
 *     models--owner--name/refs/<branch or tag>             the commit that it stood for last time
 *     models--owner--name/snapshots/<commit>/<path>        links into blobs
 *     .locks/models--owner--name/<etag>.node.lock          ours; the Python tools' locks end in .lock
 */
export interface RepoCache {
  readonly folder: string;
  readonly blob: (etag: string) => string;
  readonly partial: (etag: string) => string;
  readonly lock: (etag: string) => string;
  readonly snapshot: (commit: string) => string;
}

export function repoCache(cacheDir: string, repo: string): RepoCache {
  const name = `models--${repo.replaceAll("/", "--")}`;
  const folder = join(cacheDir, name);
  return {
    folder,
    blob: (etag) => join(folder, "blobs", etag),
    partial: (etag) => join(folder, "blobs", `${etag}.incomplete`),
    lock: (etag) => join(cacheDir, ".locks", name, `${etag}.node.lock`),
    snapshot: (commit) => join(folder, "snapshots", commit),
  };
}

/** What to call the model of a path: its folder or file, or its repository, whose folder has a commit's name. */
export function nameOfModel(path: string): string {
  const [, repository] = /models--.+?--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$/.exec(path) ?? [];
  return repository ?? basename(path).replace(/\.(safetensors|ckpt)$/, "");
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** A path from outside that stays inside the folder that it is put into. */
export const isSafePath = (path: string): boolean =>
  /^[^\0\\:]+$/.test(path) &&
  !path.startsWith("/") &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

/** The commit that a branch, tag or commit stands for, as far as the cache knows. */
export async function cachedCommit(cache: RepoCache, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return (await exists(cache.snapshot(revision))) ? revision : undefined;
  const text = await readFile(join(cache.folder, "refs", revision), "utf8").catch(() => "");
  const commit = text.trim();
  return isCommit(commit) && (await exists(cache.snapshot(commit))) ? commit : undefined;
}

export async function writeRef(cache: RepoCache, revision: string, commit: string): Promise<void> {
  if (isCommit(revision)) return;
  await writeWhole(join(cache.folder, "refs", revision), commit, { hint: diskHint });
}

/** The revisions that a message can offer. */
export async function cachedRevisions(cache: RepoCache): Promise<string[]> {
  return [...(await walk(join(cache.folder, "refs"))), ...(await list(join(cache.folder, "snapshots")))];
}

/** The repositories of a cache, as `owner/name`. */
export async function cachedRepositories(cacheDir: string): Promise<string[]> {
  const names = await list(cacheDir);
  return names.flatMap((name) => (name.startsWith("models--") ? [name.slice(8).replaceAll("--", "/")] : []));
}

/** The files of a snapshot whose contents are there, as paths with `/`. */
export const snapshotFiles = (cache: RepoCache, commit: string): Promise<string[]> =>
  walk(cache.snapshot(commit));

/** Puts a blob into a snapshot: a relative link, or a copy where links cannot be made. */
export async function linkIntoSnapshot(
  cache: RepoCache,
  commit: string,
  file: string,
  etag: string,
  copies: boolean,
): Promise<void> {
  const path = join(cache.snapshot(commit), file);
  const blob = cache.blob(etag);
  const target = relative(dirname(path), blob);
  if ((await readlink(path).catch(() => undefined)) === target) return;
  const make = async (draft: string) => {
    if (copies) return copyFile(blob, draft);
    try {
      await symlink(target, draft);
    } catch (error) {
      if (!NO_SYMLINKS.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
      await copyFile(blob, draft);
    }
  };
  await placeWhole(path, make, diskHint);
}

/** Windows without developer mode, FAT, some network drives. */
const NO_SYMLINKS = new Set(["EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL"]);

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const list = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

async function walk(folder: string): Promise<string[]> {
  const paths = await readdir(folder, { recursive: true }).catch(() => []);
  const kept = await Promise.all(
    paths.map(
      async (path) =>
        !isTemporary(basename(path)) && !path.endsWith(".incomplete") && (await isFile(join(folder, path))),
    ),
  );
  return paths
    .filter((_, i) => kept[i])
    .map((path) => path.replaceAll(sep, "/"))
    .sort();
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (entry) => entry.isFile(),
    () => false,
  );

/** What to do where the disk refuses a download. */
export const diskHint = "Free some space, or set HF_HUB_CACHE to a folder of your own on a disk with more.";
