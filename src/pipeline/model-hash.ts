import { createHash } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { DiffusionError, demand } from "../errors.js";
import { cacheRoot } from "../weights/cache-root.js";
import { type FoundFile, foundFile, readShardIndex } from "../weights/checkpoint.js";
import { contentLater } from "../weights/content-key.js";
import { openComponentFolder } from "../weights/folder.js";
import { openTensorFile } from "../weights/formats/tensor-file.js";
import { openModel } from "../weights/model.js";
import { isShardIndex } from "../weights/weight-names.js";
import { clipTokenizerFolder } from "./model-source.js";

/**
 * SHA-256 of weights, in hex: of a single file as `sha256sum` gives it, of a folder with several files over those of
 * its files. It is read once in pieces, and kept in the cache until the file changes.
 *
 * @param path a model's or component's file or folder
 * @throws DiffusionError as `describeModel`, and the signal's reason
 */
export async function hashWeights(
  path: string,
  options: { readonly cacheDir?: string; readonly signal?: AbortSignal } = {},
): Promise<string> {
  demand("path", path, "text");
  demand("options", options, "object");
  const { cacheDir, signal } = options;
  const root = cacheRoot(cacheDir);
  const contents = new Set<string>();
  for (const file of filesOf(path)) {
    contents.add(await contentLater(root, asFound(file), signal));
  }
  const [first] = contents;
  if (first === undefined)
    throw new DiffusionError("FILE_MISSING", `${path} holds no weights`, {
      hint: "give a file of weights, or a folder as diffusers has it",
    });
  return contents.size === 1
    ? first
    : createHash("sha256")
        .update([...contents].sort().join("\n"))
        .digest("hex");
}

function asFound(path: string): FoundFile {
  const tensors = openTensorFile(path);
  try {
    return foundFile(tensors);
  } finally {
    tensors.close();
  }
}

/** The files that are read when it is loaded. */
function filesOf(path: string): string[] {
  if (statSync(path, { throwIfNoEntry: false })?.isFile()) return [path];
  const isModel = existsSync(join(path, "model_index.json"));
  const { unet, vae, textEncoders } = isModel
    ? openModel(path, { tokenizer: clipTokenizerFolder() })
    : { unet: openComponentFolder(path, {}), vae: undefined, textEncoders: [] };
  return [unet, vae, ...textEncoders].flatMap((component) =>
    component ? partsOf(component.weights.path) : [],
  );
}

const partsOf = (path: string): string[] =>
  isShardIndex(path)
    ? [...new Set(readShardIndex(path).values())].map((shard) => join(dirname(path), shard))
    : [path];
