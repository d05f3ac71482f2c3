import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { DiffusionError, demand } from "../errors.js";
import { parseHubReference } from "../hub/hub.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";

/** The folder or file of what is called by a path, or by a name on the hub, which is downloaded. */
export type Locate = (name: string) => Promise<string>;

/** An adapter's file or folder: a path, or a repository of the hub, which is downloaded. */
export async function locateAdapter(path: string, locate: Locate): Promise<string> {
  demand("adapter", path, "text");
  if (existsSync(path)) return path;
  if (/\.(safetensors|pt|bin|ckpt)$/.test(path) && !path.includes(":"))
    throw new DiffusionError("FILE_MISSING", `there is no adapter ${path}`);
  if (!parseHubReference(path))
    throw new DiffusionError("FILE_MISSING", `there is no adapter ${path}`, {
      hint: "give a file, a folder, or a hub name such as owner/name:file.safetensors",
    });
  return locate(path);
}

/** Name to path of the adapters in a folder and the folders in it, also those that links lead to. */
export function adaptersIn(folder: string, seen = new Set<string>()): Map<string, string> {
  const found = new Map<string, string>();
  const real = realpathSync(folder);
  if (seen.has(real)) return found;
  seen.add(real);
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (/\.(safetensors|pt|bin|ckpt)$/.test(name)) found.set(stem(path), path);
    else if (statSync(path, { throwIfNoEntry: false })?.isDirectory())
      for (const [name, inner] of adaptersIn(path, seen)) found.set(name, inner);
  }
  return found;
}

/** What an adapter is called where nothing else is said: its file, without the ending. */
export const stem = (path: string): string => basename(path, extname(path));

/** Paths of the files that were trained under a name, which a LoRA keeps whatever its file is called today. */
export function trainedAs(name: string, paths: Iterable<string>): string[] {
  const wanted = name.toLowerCase();
  return [...paths].filter((path) => outputName(path)?.toLowerCase() === wanted);
}

/** What kohya's scripts write of the file that they made; undefined where that says nothing, as in pickles. */
function outputName(path: string): string | undefined {
  if (extname(path) !== ".safetensors") return undefined;
  try {
    const file = openTensorFile(path);
    file.close();
    return file.metadata.get("ss_output_name");
  } catch {
    return undefined; // one file that is damaged hides no other
  }
}

/**
 * The file of a folder of LoRAs that `<lora:name:1>` means: the one that is called so, else the one that was trained
 * under that name.
 *
 * @throws DiffusionError BAD_OPTION for several that were, FILE_MISSING for a folder that is not there
 */
export function findLora(folder: string, name: string): string | undefined {
  demand("folder", folder, "text");
  demand("name", name, "text");
  if (!existsSync(folder)) throw new DiffusionError("FILE_MISSING", `there is no folder of LoRAs ${folder}`);
  const found = adaptersIn(folder);
  return found.get(name) ?? onlyOne(name, trainedAs(name, found.values()));
}

/** @throws DiffusionError BAD_OPTION for several files of one name */
function onlyOne(name: string, paths: readonly string[]): string | undefined {
  if (paths.length < 2) return paths[0];
  throw new DiffusionError(
    "BAD_OPTION",
    `several LoRAs were trained under the name ${name} (ss_output_name): ${paths.map(stem).join(", ")}`,
    { hint: "name one of them by its file" },
  );
}
