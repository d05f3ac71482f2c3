import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { DiffusionError } from "../errors.js";

let known: string | undefined;

/**
 * The folder of this package, whether this file stands in src/ or in a bundle somewhere in dist/. Looked for when it
 * is first asked, so that importing the library reads nothing.
 *
 * @throws DiffusionError FILE_MISSING where a bundler has copied the library away from its own files
 */
export function packageFolder(): string {
  known ??= find(dirname(pathOf(import.meta.url)));
  return known;
}

/**
 * The path of a file of ours.
 *
 * @param url its `import.meta.url`, which bundlers leave out or replace
 * @throws DiffusionError FILE_MISSING
 */
export function pathOf(url: string | undefined): string {
  if (!url?.startsWith("file:")) throw isBundled("a bundle");
  return fileURLToPath(url);
}

/**
 * What Node is given to run a file of our source: tsx by its own place, as the current folder may be any.
 *
 * @param path of the file
 */
export function nodeArguments(path: string): string[] {
  if (!path.endsWith(".ts")) return [];
  return ["--import", pathToFileURL(createRequire(path).resolve("tsx")).href];
}

/** The error for a copy of the library that lies without the files that belong to it. */
export const isBundled = (place: string): DiffusionError =>
  new DiffusionError("FILE_MISSING", `tfjs-diffusion does not find its own files from ${place}`, {
    hint: `a bundler has copied it there: mark tfjs-diffusion as external, so that it stays in node_modules. ${bundlers}`,
  });

const bundlers = [
  "esbuild: --external:tfjs-diffusion",
  'webpack: externals: { "tfjs-diffusion": "commonjs tfjs-diffusion" }',
  'Next: serverExternalPackages: ["tfjs-diffusion"]',
].join("; ");

export const packageVersion = (): string => manifestOf(join(packageFolder(), "package.json")).version ?? "";

function find(start: string): string {
  for (let folder = start; ; folder = dirname(folder)) {
    if (isOurs(join(folder, "package.json"))) return folder;
    if (folder === dirname(folder)) throw isBundled(start);
  }
}

const isOurs = (manifest: string): boolean =>
  existsSync(manifest) && manifestOf(manifest).name === "tfjs-diffusion";

const manifestOf = (path: string) =>
  JSON.parse(readFileSync(path, "utf8")) as { readonly name?: string; readonly version?: string };
