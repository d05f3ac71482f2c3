import { extractNetworks } from "../text/prompt.js";
import { wordsIn } from "../text/tokenizer.js";

/**
 * Names of the LoRAs that a prompt mentions.
 *
 * @throws DiffusionError BAD_OPTION for a mention that cannot be understood
 */
export const mentionedLoras = (prompt: string): readonly string[] =>
  extractNetworks(prompt)
    .networks.filter(({ kind }) => /^(lora|lyco)$/i.test(kind))
    .map(({ name }) => name);

/** Those of some learned words that a prompt says, outside of its mentions of LoRAs. */
export const mentionedWords = (prompt: string, words: readonly string[]): readonly string[] =>
  wordsIn(extractNetworks(prompt).text, words);
