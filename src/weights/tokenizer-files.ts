import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { readJsonObject } from "../disk/json.js";
import { DiffusionError, demand } from "../errors.js";
import { createTokenizer, type Tokenizer } from "../text/tokenizer.js";
import type { TokenizerFiles } from "../text/tokenizer-definition.js";
import { componentFolders } from "./shared-components.js";

const NAMES = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "tokenizer_config.json",
  "special_tokens_map.json",
] as const satisfies (keyof TokenizerFiles)[];

/**
 * The tokenizer of a tokenizer folder, or of a model folder that has one called `tokenizer`.
 *
 * @param options padToken: in place of the one that the folder names
 */
export async function loadTokenizer(folder: string, options: { padToken?: string } = {}): Promise<Tokenizer> {
  demand("folder", folder, "text");
  demand("options", options, "object");
  const { padToken } = options;
  if (!(await isFolder(folder)))
    throw new DiffusionError("FILE_MISSING", `Tokenizer: there is no folder ${folder}`, {
      hint: "Pass a folder with tokenizer.json, or with vocab.json and merges.txt.",
    });
  const inside = tokenizerOf(folder);
  const files = await readFiles((await isFolder(inside)) ? inside : folder);
  try {
    return createTokenizer(files, padToken);
  } catch (error) {
    if (!(error instanceof DiffusionError)) throw error;
    const { code, message, hint, cause } = error;
    throw new DiffusionError(code, `${message} (in ${folder})`, { ...(hint && { hint }), cause });
  }
}

/** Of a model folder, which may share it with the model beside it. */
function tokenizerOf(folder: string): string {
  const index = join(folder, "model_index.json");
  return componentFolders(folder, existsSync(index) ? readJsonObject(index) : {})("tokenizer");
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

async function readFiles(folder: string): Promise<TokenizerFiles> {
  const entries = await Promise.all(
    NAMES.map(async (name) => {
      try {
        return [[name, await readFile(join(folder, name), "utf8")]] as const;
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw new DiffusionError(
          "DISK",
          `Tokenizer: ${join(folder, name)} cannot be read: ${(cause as Error).message}`,
          { cause },
        );
      }
    }),
  );
  return Object.fromEntries(entries.flat());
}
