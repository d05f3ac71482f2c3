import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, extname, join, parse, resolve } from "node:path";
import { diskError } from "../disk/disk-error.js";
import { writeWholeSync } from "../disk/whole-file.js";
import { DiffusionError } from "../errors.js";
import { note, type Session } from "./session.js";

/** Where the pictures of one call go. */
export interface PictureNames {
  /** The path of the next picture, and the existing file that had its first choice. */
  next(name: string): { path: string; taken?: string };
  /** The paths of all pictures of the call, if no file comes or goes until then. */
  planned(): string[];
}

/**
 * `out` is a PNG file, or a folder for pictures under their names; absent, the working folder. Several pictures of one
 * name get numbers. An existing file keeps its contents unless `force` is given: the new picture gets the next free
 * number.
 *
 * @param pictures one name for each picture of the call, which `out` replaces if it is a file
 * @param options.many there is a picture for each one of a folder: `out` is a folder unless it ends in .png
 * @throws DiffusionError BAD_OPTION for other kinds of files, DISK for places where nothing can be written
 */
export function pictureNames(
  pictures: readonly string[],
  { out, force, many = false }: { out?: string | undefined; force?: boolean | undefined; many?: boolean },
): PictureNames {
  const isFolder =
    out === undefined || /[/\\]$/.test(out) || isExistingFolder(out) || (many && extname(out) === "");
  if (!isFolder) checkExtension(out, "--out");
  const folder = out === undefined ? "." : isFolder ? out : dirname(out);
  checkWritable(folder, "--out");
  const baseOf = (name: string) => join(folder, isFolder ? name : parse(out).name);
  const bases = pictures.map(baseOf);
  const choose = (name: string, given: Set<string>) => {
    const base = baseOf(name);
    const several = bases.indexOf(base) !== bases.lastIndexOf(base);
    let taken: string | undefined;
    for (let number = 1; ; number++) {
      const path = `${base}${several || number > 1 ? `-${number}` : ""}.png`;
      if (given.has(path)) continue;
      if (force || !existsSync(path)) {
        given.add(path);
        return { path, ...(taken && { taken }) };
      }
      taken ??= path;
    }
  };
  const given = new Set<string>();
  return {
    next: (name) => choose(name, given),
    planned() {
      const supposed = new Set(given);
      return pictures.map((name) => choose(name, supposed).path);
    },
  };
}

export const isExistingFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

/** @param flag the one that names the file */
export function checkExtension(file: string, flag: string): void {
  const extension = extname(file);
  if (extension === "" || extension.toLowerCase() === ".png") return;
  throw new DiffusionError("BAD_OPTION", `${flag} ${file}: pictures are written as PNG`, {
    hint: `${flag} ${file.slice(0, -extension.length)}.png`,
  });
}

/**
 * Writes a file so that it is either complete or not there.
 *
 * @param flag the one that says where
 * @throws DiffusionError DISK
 */
export function writePicture(path: string, png: Uint8Array, flag = "--out"): void {
  writeWholeSync(path, png, { hint: `free some space, or choose another place with ${flag}` });
}

/** Writes a finished picture, and says which file has kept its name. @returns its path */
export function keepPicture(
  { path, taken }: ReturnType<PictureNames["next"]>,
  png: Uint8Array,
  { json, written }: Pick<Session, "json" | "written">,
): string {
  writePicture(path, png);
  written.push(path);
  if (taken && !json) note(`${taken} exists and stays (--force would replace it)`);
  return path;
}

/** A file name from a prompt: letters and digits of any script. */
export function slug(prompt: string): string {
  const words = prompt.toLowerCase().match(/[\p{L}\p{N}\p{M}]+/gu) ?? [];
  let name = "";
  for (const word of words) {
    const longer = name ? `${name}-${word}` : [...word].slice(0, 60).join("");
    if (longer.length > 60) break;
    name = longer;
  }
  return name || "picture";
}

/** The folder itself, or the closest one above it that is there. */
export function closestExisting(folder: string): string {
  let existing = resolve(folder);
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  return existing;
}

/**
 * Before the work, not after it: the closest existing folder must take new entries.
 *
 * @param flag the one that names the folder, or a file in it
 */
export function checkWritable(folder: string, flag: string): void {
  const existing = closestExisting(folder);
  try {
    if (!statSync(existing).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw diskError(folder, error, `choose another place with ${flag}`);
  }
}
