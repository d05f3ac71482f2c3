/** Files of the cache are trusted by their hash, which is taken again when their owner, time or size changes. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sha256 } from "./download.mjs";

const stampsOf = (folder) => join(folder, "verified.json");

function readStamps(folder) {
  try {
    return JSON.parse(readFileSync(stampsOf(folder), "utf8"));
  } catch {
    return {}; // none yet, or damaged: all is hashed again
  }
}

function lookOf(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat && { size: stat.size, modified: stat.mtimeMs, owner: stat.uid };
}

/** True when a file of `folder` looks as it did when it was last found good. */
export function isUnchanged(folder, name) {
  const [stamp, look] = [readStamps(folder)[name], lookOf(join(folder, name))];
  return look !== undefined && ["size", "modified", "owner"].every((key) => stamp?.[key] === look[key]);
}

/** Notes that a file is good as it is now. A cache that is read-only is hashed each time instead. */
export function stamp(folder, ...names) {
  const stamps = readStamps(folder);
  for (const name of names) stamps[name] = lookOf(join(folder, name));
  try {
    writeFileSync(stampsOf(folder), JSON.stringify(stamps));
  } catch (error) {
    if (!["EACCES", "EPERM", "EROFS"].includes(error.code)) throw error;
  }
}

/** The first of the files `{ name: SHA-256 }` that is not the one that it should be; undefined if all are. */
export async function firstForged(folder, hashes) {
  for (const [name, hash] of Object.entries(hashes)) {
    if (isUnchanged(folder, name)) continue;
    if (!lookOf(join(folder, name)) || (await sha256(join(folder, name))) !== hash) return name;
    stamp(folder, name);
  }
  return undefined;
}
