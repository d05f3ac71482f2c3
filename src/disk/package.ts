import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { DiffusionError } from "../errors.js";

let known: string | undefined;

/**
 * The folder of this package, whether this file stands in src/ or in a bundle somewhere in dist/. Looked for when it
 * is first asked, so that importing the library reads nothing.
 *
 * @throws DiffusionError FILE_MISSING where a bundler has copied the library away from its own files
 */
export function packageFolder(): string {
  known ??= find(dirname(fileURLToPath(import.meta.url)));
  return known;
}

export const packageVersion = (): string => manifestOf(join(packageFolder(), "package.json")).version ?? "";

function find(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (isOurs(join(folder, "package.json"))) return folder;
    if (folder === dirname(folder))
      throw new DiffusionError("FILE_MISSING", `tfjs-diffusion does not find its own files from ${start}`, {
        hint: "if a bundler has copied it there, mark tfjs-diffusion as external, so that it stays in node_modules",
      });
  }
}

const isOurs = (manifest: string): boolean =>
  existsSync(manifest) && manifestOf(manifest).name === "tfjs-diffusion";

const manifestOf = (path: string) =>
  JSON.parse(readFileSync(path, "utf8")) as { readonly name?: string; readonly version?: string };
