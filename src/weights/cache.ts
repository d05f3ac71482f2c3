import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, rmSync, utimesSync } from "node:fs";
import { basename, join } from "node:path";
import { isTemporary, placeNamedSync, writeAll, writeWholeSync } from "../disk/whole-file.js";
import { describe, list, modelFile, removeStale, trimCache } from "./cache-entries.js";
import { weightsFolder, writingCache } from "./cache-root.js";

/** Changes when the files would be laid out differently; older folders are then merely old, never misread. */
const version = "v1";

/** What a cache of weights belongs to. */
export interface WeightCacheKey {
  /** `contentKey` of the checkpoint. */
  readonly id: string;
  readonly precision: string;
  /** The model and its network, for people who list the cache. */
  readonly label: string;
  /** The files that it is made of: when they are gone, nobody needs it. */
  readonly source?: readonly string[];
}

/** A file's content as it comes: `write` puts bytes at a place of it, until each place has been written once. */
export interface Pieces {
  /** In bytes. */
  readonly length: number;
  readonly each: (write: (bytes: Uint8Array, at: number) => void) => void;
}

/** Converted weights of one network, one raw little-endian file per tensor and view. */
export interface WeightCache {
  readonly folder: string;
  /**
   * The absolute path of a complete file with the bytes of `make`, which is called only if there is none yet. A file
   * that is there must have the length and the checksum in its name, or is made again.
   *
   * @param view `viewName` of what `make` returns
   * @throws DiffusionError DISK
   */
  file(name: string, view: string, make: () => Uint8Array | Pieces): string;
  /** The path of that file, if it is there and complete. */
  find(name: string, view: string): string | undefined;
}

/**
 * Opens the folder of one network's converted weights, and makes it if need be. Several processes may fill it at the
 * same time: a file appears by being renamed, and the same weights give the same bytes. When all is there already,
 * nothing has to be written, so a cache may be read-only.
 *
 * @param root as `cacheRoot` gives
 * @throws DiffusionError DISK
 */
export function openWeightCache(root: string, key: WeightCacheKey): WeightCache {
  const folder = join(weightsFolder(root), digest(`${key.id} ${key.precision}`, 24));
  if (!markUsed(folder, key)) {
    trimCache(root);
    writingCache(root, () => writeDescription(folder, key));
  }
  const present = new Map<string, string>();
  for (const name of list(folder)) {
    const stem = /^(.+)\.\d+-[0-9a-f]{16}\.bin$/.exec(name)?.[1];
    if (stem) present.set(stem, name);
    else if (isTemporary(name)) removeStale(join(folder, name));
  }
  const intact = (stem: string): string | undefined => {
    const found = present.get(stem);
    return found && isIntact(join(folder, found)) ? join(folder, found) : undefined;
  };
  return {
    folder,
    find: (name, view) => intact(fileStem(name, view)),
    file(name, view, make) {
      const stem = fileStem(name, view);
      const path = intact(stem);
      if (path) return path;
      const found = present.get(stem);
      const made = make();
      const content =
        made instanceof Uint8Array
          ? { length: made.length, each: (write: WritePiece) => write(made, 0) }
          : made;
      const file = basename(writingCache(root, () => writeNamed(join(folder, stem), content)));
      if (found && found !== file) rmSync(join(folder, found), { force: true });
      present.set(stem, file);
      return join(folder, file);
    },
  };
}

type WritePiece = Parameters<Pieces["each"]>[0];

/** Writes a file whose name ends in its length and checksum. Not durable: after a power cut the checksum tells. */
function writeNamed(stem: string, { length, each }: Pieces): string {
  return placeNamedSync(stem, (draft) => {
    const samples = samplesOf(length);
    const file = openSync(draft, "wx");
    try {
      each((bytes, at) => {
        writeAll(file, bytes, at);
        samples.see(bytes, at);
      });
    } finally {
      closeSync(file);
    }
    return `${stem}.${length}-${checksum(length, samples.pieces)}.bin`;
  });
}

const digest = (text: string, length: number): string =>
  createHash("sha256").update(`${version} ${text}`).digest("hex").slice(0, length);

/** Names come from files of strangers, so they are readable in the file name but not trusted to be one. */
const fileStem = (name: string, view: string): string =>
  `${name.replace(/[^\w.-]/g, "_").slice(0, 120)}.${view}.${digest(JSON.stringify([name, view]), 8)}`;

/** The latest places where the files of an entry were met; more would be a list that only grows. */
const placesKept = 8;

/** Sets the time of the last use, if that can be written. False when there is no such entry yet. */
function markUsed(folder: string, key: WeightCacheKey): boolean {
  const { label, sources } = describe(folder);
  if (label === "unknown") return false;
  try {
    const isNew = key.source && !sources.some((files) => String(files) === String(key.source));
    if (isNew) writeDescription(folder, key, sources);
    utimesSync(join(folder, modelFile), new Date(), new Date());
  } catch {
    // a cache that is shared read-only
  }
  return true;
}

function writeDescription(
  folder: string,
  { label, precision, source }: WeightCacheKey,
  others: readonly (readonly string[])[] = [],
): void {
  const sources = source ? [source, ...others].slice(0, placesKept) : others;
  writeWholeSync(join(folder, modelFile), JSON.stringify({ label, precision, sources }));
}

/** The checksum reads three pieces of this size: a thousand tensors are checked in some 20 ms. */
const piece = 4096;
const pieceStarts = (length: number): number[] => [
  0,
  Math.max(0, Math.floor((length - piece) / 2)),
  Math.max(0, length - piece),
];

/** The pieces of a file of this length, taken out of what is written to it. */
function samplesOf(length: number) {
  const starts = pieceStarts(length);
  const pieces = starts.map((start) => new Uint8Array(Math.min(piece, length - start)));
  return {
    pieces,
    see(bytes: Uint8Array, at: number): void {
      pieces.forEach((sample, i) => {
        const [from, until] = [
          Math.max(at, starts[i]!),
          Math.min(at + bytes.length, starts[i]! + sample.length),
        ];
        if (from < until) sample.set(bytes.subarray(from - at, until - at), from - starts[i]!);
      });
    },
  };
}

function checksum(length: number, pieces: readonly Uint8Array[]): string {
  const hash = createHash("sha1").update(String(length));
  for (const bytes of pieces) hash.update(bytes);
  return hash.digest("hex").slice(0, 16);
}

/** Whether a file of a weight has the length and checksum in its name. */
function isIntact(path: string): boolean {
  const [, length, sum] = /\.(\d+)-([0-9a-f]{16})\.bin$/.exec(path) ?? [];
  let file: number;
  try {
    file = openSync(path, "r");
  } catch {
    return false; // removed meanwhile
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size !== Number(length)) return false;
    const pieces = pieceStarts(stat.size).map((start) => {
      const bytes = new Uint8Array(Math.min(piece, stat.size - start));
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, start));
    });
    return checksum(stat.size, pieces) === sum;
  } catch {
    return false; // the disk cannot read it: it is made again
  } finally {
    closeSync(file);
  }
}
