import { extractNetworks, keepNetworks } from "../text/prompt.js";
import { wordsIn } from "../text/tokenizer.js";

const isLora = (kind: string): boolean => /^(lora|lyco)$/i.test(kind);

/**
 * Names of the LoRAs that a prompt mentions.
 *
 * @throws DiffusionError BAD_OPTION for a mention that cannot be understood
 */
export const mentionedLoras = (prompt: string): readonly string[] =>
  extractNetworks(prompt)
    .networks.filter(({ kind }) => isLora(kind))
    .map(({ name }) => name);

/** A prompt without its mentions of LoRAs that there are not. @returns also their names */
export function withoutLoras(
  prompt: string,
  isThere: (name: string) => boolean,
): { readonly text: string; readonly missing: readonly string[] } {
  const missing = new Set<string>();
  const text = keepNetworks(prompt, ({ kind, name }) => {
    if (!isLora(kind) || isThere(name)) return true;
    missing.add(name);
    return false;
  });
  return { text, missing: [...missing] };
}

/** Those of some learned words that a prompt says, outside of its mentions of LoRAs. */
export const mentionedWords = (prompt: string, words: readonly string[]): readonly string[] =>
  wordsIn(extractNetworks(prompt).text, words);
