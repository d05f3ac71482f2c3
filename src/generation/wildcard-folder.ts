import { readdir, readFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { DiffusionError } from "../errors.js";
import { type WildcardLists, wildcardLines } from "../text/wildcards.js";

/**
 * The lists of a folder: each text file is one, named by its path without .txt.
 *
 * @throws DiffusionError FILE_MISSING
 */
export async function readWildcards(given: string | WildcardLists): Promise<WildcardLists> {
  if (typeof given !== "string") return given;
  const files = await readdir(given, { recursive: true }).catch((cause: unknown) => {
    throw new DiffusionError("FILE_MISSING", `wildcards: ${given} cannot be read`, {
      cause,
      hint: "give a folder with one text file for each list",
    });
  });
  const lists = files
    .filter((file) => file.toLowerCase().endsWith(".txt"))
    .sort()
    .map(async (file) => {
      const name = file.slice(0, -".txt".length).replaceAll(sep, "/");
      return [name, wildcardLines(await readFile(join(given, file), "utf8"))] as const;
    });
  return Object.fromEntries(await Promise.all(lists));
}
