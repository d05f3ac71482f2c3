import { lstatSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join, normalize, relative, resolve } from "node:path";
import { DiffusionError } from "../errors.js";
import { encodePng, type Image } from "../index.js";
import {
  checkExtension,
  checkWritable,
  closestExisting,
  isExistingFolder,
  writePicture,
} from "./pictures.js";

/** The file that shows the picture being drawn. */
interface Preview {
  show(picture: Image): void;
  /** The command has succeeded: the file stays. */
  keep(): void;
}

/**
 * A command that ends in any other way than by `keep`, also by a second Ctrl-C, leaves no file that it wrote here.
 *
 * @param file what --preview names
 * @param given.force an existing file may be replaced
 * @param given.outputs the paths that the command's pictures will get
 * @throws DiffusionError BAD_OPTION for a file that exists or is one of the outputs, a folder, and other kinds of
 *   files; DISK for places where nothing can be written
 */
export function openPreview(
  file: string,
  { force = false, outputs }: { force?: boolean | undefined; outputs: readonly string[] },
): Preview {
  // The draft of a file lies in its folder: both by the same reading of "..", which links could turn elsewhere.
  const path = normalize(file);
  check(path, file, outputs);
  // Not existsSync: a link to a file that is gone would be replaced, too.
  if (!force && lstatSync(path, { throwIfNoEntry: false }))
    throw new DiffusionError("BAD_OPTION", `--preview ${file}: this file exists and stays`, {
      hint: "give it a name that is free, or --force to replace it",
    });
  let isLeftover = false;
  process.once("exit", () => {
    if (isLeftover) rmSync(path, { force: true });
  });
  return {
    show(picture) {
      writePicture(path, encodePng(picture), "--preview");
      isLeftover = true;
    },
    keep() {
      isLeftover = false;
    },
  };
}

function check(path: string, file: string, outputs: readonly string[]): void {
  if (/[/\\]$/.test(path) || isExistingFolder(path))
    throw new DiffusionError("BAD_OPTION", `--preview ${file}: expected a PNG file, got a folder`, {
      hint: `--preview ${join(path, "preview.png")}`,
    });
  checkExtension(file, "--preview");
  checkWritable(dirname(path), "--preview");
  const place = placeOf(path);
  const same = outputs.find((output) => placeOf(output) === place);
  if (same === undefined) return;
  throw new DiffusionError("BAD_OPTION", `--preview ${file} is the file of a finished picture, ${same}`, {
    hint: "give --preview or --out another name",
  });
}

/** One text for all spellings of a path, also through links to folders; the file need not be there. */
function placeOf(path: string): string {
  const folder = resolve(dirname(path));
  const existing = closestExisting(folder);
  return join(realpathSync(existing), relative(existing, folder), basename(path));
}
