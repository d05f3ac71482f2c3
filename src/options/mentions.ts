import { extractNetworks } from "../text/prompt.js";

/**
 * Names of the LoRAs that a prompt mentions.
 *
 * @throws DiffusionError BAD_OPTION for a mention that cannot be understood
 */
export const mentionedLoras = (prompt: string): readonly string[] =>
  extractNetworks(prompt)
    .networks.filter(({ kind }) => /^(lora|lyco)$/i.test(kind))
    .map(({ name }) => name);
