import type { AdapterFile } from "../weights/formats/tensors.js";

/** How the web UI names the tensors of embeddings that lie in a LoRA's file: the word, then a textual inversion's key. */
const bundled = /^bundle_emb\.(.+?)\.(string_to_param\..+|emb_params|clip_[lg])$/;

export const isBundled = (key: string): boolean => key.startsWith("bundle_emb.");

/**
 * The textual inversions that a LoRA's file carries ("bundle_emb"), by their words, each as a file of its own. They are
 * read from the LoRA's, which must stay open.
 */
export function bundledWords(file: AdapterFile): ReadonlyMap<string, AdapterFile> {
  const keys = new Map<string, Map<string, string>>();
  for (const key of file.tensors.keys()) {
    const [, word, name] = bundled.exec(key) ?? [];
    if (word === undefined || name === undefined) continue;
    keys.set(word, (keys.get(word) ?? new Map<string, string>()).set(name, key));
  }
  return new Map(
    [...keys].map(([word, names]): [string, AdapterFile] => [
      word,
      {
        path: file.path,
        metadata: new Map([["word", word]]),
        tensors: new Map([...names].map(([name, key]) => [name, file.tensors.get(key)!])),
        readFloat32: (name) => file.readFloat32(names.get(name)!),
      },
    ]),
  );
}
