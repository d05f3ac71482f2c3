import { readdir } from "node:fs/promises";
import { join, parse } from "node:path";

/** A file (or a diffusers folder) of weights that requests can name. */
export interface WeightFile {
  /** Without folder and ending: what `<lora:name:1>` says. */
  readonly name: string;
  readonly path: string;
}

const isWeights = (name: string): boolean => /\.(safetensors|ckpt|pt|bin)$/.test(name);

/** Folders that hold a config.json, such as ControlNets of diffusers. */
export async function configuredFolders(folder: string | undefined): Promise<readonly WeightFile[]> {
  const found = await weightFiles(folder, { parts: true });
  return found.filter(({ path }) => !isWeights(path));
}

/**
 * What lies in a folder of LoRAs or autoencoders, and in folders in it, as it is now.
 *
 * @param parts whether a folder with a config.json is one entry (a diffusers autoencoder)
 */
export async function weightFiles(
  folder: string | undefined,
  { parts = false } = {},
): Promise<readonly WeightFile[]> {
  if (folder === undefined) return [];
  const found: WeightFile[] = [];
  const look = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true });
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (isWeights(entry.name)) found.push({ name: parse(entry.name).name, path });
      else if (!entry.isDirectory() || depth > 1) continue;
      else if (parts && (await readdir(path)).includes("config.json")) found.push({ name: entry.name, path });
      else await look(path, depth + 1);
    }
  };
  await look(folder, 0);
  return found;
}
