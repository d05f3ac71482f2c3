import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, extname, join, parse, resolve } from "node:path";
import { diskError } from "../disk/disk-error.js";
import { writeWholeSync } from "../disk/whole-file.js";
import { DiffusionError } from "../errors.js";

/** Where the pictures of one call go. */
export interface PictureNames {
  /** The path of the next picture, and the existing file that had its first choice. */
  next(name: string): { path: string; taken?: string };
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
  if (!isFolder) checkExtension(out);
  const folder = out === undefined ? "." : isFolder ? out : dirname(out);
  checkWritable(folder);
  const baseOf = (name: string) => join(folder, isFolder ? name : parse(out).name);
  const bases = pictures.map(baseOf);
  const given = new Set<string>();
  return {
    next(name) {
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
    },
  };
}

const isExistingFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

function checkExtension(out: string): void {
  const extension = extname(out);
  if (extension === "" || extension.toLowerCase() === ".png") return;
  throw new DiffusionError("BAD_OPTION", `--out ${out}: pictures are written as PNG`, {
    hint: `--out ${out.slice(0, -extension.length)}.png`,
  });
}

/**
 * Writes a file so that it is either complete or not there.
 *
 * @throws DiffusionError DISK
 */
export function writePicture(path: string, png: Uint8Array): void {
  writeWholeSync(path, png, { hint: "free some space, or choose another place with --out" });
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

/** Before the work, not after it: the closest existing folder must take new entries. */
function checkWritable(folder: string): void {
  let existing = resolve(folder);
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  try {
    if (!statSync(existing).isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR" });
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw diskError(folder, error, "choose another place with --out");
  }
}
