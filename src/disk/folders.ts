import { mkdirSync, statSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/*
 * Why not `mkdir` with `recursive`: Node takes "no such file" for a folder above that is missing, makes that one and tries
 * again. Below /proc, and on other disks that make no folders, the answer stays the same, and Node tries for ever.
 */

/**
 * Makes a folder, and those above it that are missing.
 *
 * @param mode who may use what is made; default: as the process makes folders
 * @returns the first one that was made, undefined where all were there
 * @throws what the disk says
 */
export async function makeFolder(path: string, mode?: number): Promise<string | undefined> {
  const make = () => mkdir(path, mode).then(() => path);
  try {
    return await make();
  } catch (error) {
    if (await stat(path).then(isFolder, () => false)) return undefined;
    const above = aboveOf(path, error);
    const first = await makeFolder(above, mode);
    const made = await make().catch(async (again: unknown) => {
      if (await stat(path).then(isFolder, () => false)) return undefined; // another process was faster
      throw asRefused(above, again);
    });
    return first ?? made;
  }
}

/** `makeFolder`, for those who block anyway. */
export function makeFolderSync(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    if (isFolderSync(path)) return;
    const above = aboveOf(path, error);
    makeFolderSync(above);
    try {
      mkdirSync(path);
    } catch (again) {
      if (!isFolderSync(path)) throw asRefused(above, again);
    }
  }
}

const isFolder = (found: { isDirectory(): boolean }): boolean => found.isDirectory();

function isFolderSync(path: string): boolean {
  try {
    return isFolder(statSync(path));
  } catch {
    return false;
  }
}

/** The folder to make first. @throws `error` where that is not what is wrong */
function aboveOf(path: string, error: unknown): string {
  const above = dirname(path);
  if (codeOf(error) !== "ENOENT" || above === path) throw error;
  return above;
}

/** The folder above is there by now: it takes none. */
const asRefused = (above: string, error: unknown): unknown =>
  codeOf(error) === "ENOENT"
    ? Object.assign(new Error(`no folder can be made in ${above}`, { cause: error }), { code: "ENOTSUP" })
    : error;

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;
