import { readdir, realpath, stat } from "node:fs/promises";
import { extname, join, parse } from "node:path";
import { Refusal } from "../refusal.js";
import type { NamedFile } from "../requests/request.js";

/** A file (or a diffusers folder) of weights that requests can name. */
export interface WeightFile {
  /** Without folder and ending: what `<lora:name:1>` says. */
  readonly name: string;
  readonly path: string;
}

const weightEndings = [".safetensors", ".ckpt", ".pt", ".bin"];
const isWeights = (name: string): boolean => weightEndings.includes(extname(name));

/** Also through a link. One that leads nowhere is nothing. */
export const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

/** Folders that hold a config.json, such as ControlNets of diffusers. */
export async function configuredFolders(folder: string | undefined): Promise<readonly WeightFile[]> {
  const found = await weightFiles(folder, { parts: true });
  return found.filter(({ path }) => !isWeights(path));
}

/** Files of weights that belong to no folder with a config.json. */
export async function looseWeights(folder: string | undefined): Promise<readonly WeightFile[]> {
  const found = await weightFiles(folder, { parts: true });
  return found.filter(({ path }) => isWeights(path));
}

/**
 * What lies in a folder of LoRAs or autoencoders, and in folders in it, as it is now.
 *
 * @param options.parts whether a folder with a config.json is one entry (a diffusers autoencoder)
 */
export async function weightFiles(
  folder: string | undefined,
  { parts = false, endings = weightEndings }: { parts?: boolean; endings?: readonly string[] } = {},
): Promise<readonly WeightFile[]> {
  if (folder === undefined) return [];
  const found: WeightFile[] = [];
  const seen = new Set<string>();
  const look = async (folder: string, depth: number): Promise<void> => {
    // A link may lead to where it stands.
    const real = await realpath(folder);
    if (seen.has(real)) return;
    seen.add(real);
    for (const entry of (await readdir(folder)).sort()) {
      const path = join(folder, entry);
      if (endings.includes(extname(entry))) found.push({ name: parse(entry).name, path });
      else if (depth > 1 || !(await isFolder(path))) continue;
      else if (parts && (await readdir(path)).includes("config.json")) found.push({ name: entry, path });
      else await look(path, depth + 1);
    }
  };
  await look(folder, 0);
  return found;
}

/** What requests can name beside a model: in words, and the flag of the folder that it is looked for in. */
export const fileKinds: Readonly<
  Record<NamedFile["kind"], { readonly what: string; readonly flag: string }>
> = {
  lora: { what: "LoRA", flag: "--lora-dir" },
  embed: { what: "learned word", flag: "--embeddings-dir" },
  vae: { what: "autoencoder", flag: "--vae-dir" },
  control: { what: "ControlNet", flag: "--control-dir" },
  "ip-adapter": { what: "IP-Adapter", flag: "--ip-adapter-dir" },
  upscaler: { what: "upscaler", flag: "--upscaler-dir" },
};

const notFoundCodes = {
  lora: "LORA_NOT_FOUND",
  embed: "EMBEDDING_NOT_FOUND",
  vae: "VAE_NOT_FOUND",
  control: "CONTROL_NOT_FOUND",
  "ip-adapter": "IP_ADAPTER_NOT_FOUND",
} as const;

/** What else may be said in place of a name. */
interface Besides {
  readonly beside?: string;
  readonly instead?: string;
}

/** @param there what its folder has; undefined where there is no folder */
export function notFound(
  kind: keyof typeof notFoundCodes,
  name: string,
  there?: readonly WeightFile[],
  { beside = "", instead = "" }: Besides = {},
): Refusal {
  const { what, flag } = fileKinds[kind];
  const names = there?.map(({ name }) => name).join(", ") || "none";
  return new Refusal(404, notFoundCodes[kind], `there is no ${what} ${name.slice(0, 100)}`, {
    hint: there
      ? `there are ${names}${beside}`
      : `start the server, and each worker of a queue, with ${flag}${instead}`,
  });
}
