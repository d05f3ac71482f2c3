import { DiffusionError } from "../errors.js";
import { extractNetworks, type NetworkMention } from "../text/prompt.js";

/** A prompt without the LoRAs that it mentions, and these. */
export interface TakenMentions {
  readonly text: string;
  readonly mentions: readonly NetworkMention[];
}

/** LoRAs that a prompt mentions, and the prompt without them. */
export function takeMentions(prompt: string): TakenMentions {
  const { text, networks } = extractNetworks(prompt);
  const mentions = networks.filter(({ kind }) => /^(lora|lyco)$/i.test(kind));
  const other = networks.find((mention) => !mentions.includes(mention));
  if (other)
    throw new DiffusionError(
      "UNSUPPORTED",
      `<${other.kind}:${other.name}>: networks of the kind ${other.kind} cannot be used`,
      {
        hint: "<lora:name:0.8> can.",
      },
    );
  return mentions.length > 0 ? { text, mentions } : { text: prompt, mentions };
}

/**
 * A LoRA acts on the whole picture, so SDXL's second prompt may repeat those of the first, and name no other, nor the same
 * in another strength.
 *
 * @throws DiffusionError BAD_OPTION
 */
export function refuseOtherMentions(second: TakenMentions, first: TakenMentions): void {
  const named = ({ name }: NetworkMention) => first.mentions.filter((known) => known.name === name);
  const stronger = second.mentions.find(
    (mention) =>
      named(mention).length > 0 &&
      named(mention).every(
        ({ weight, unetWeight }) => weight !== mention.weight || unetWeight !== mention.unetWeight,
      ),
  );
  if (stronger)
    throw new DiffusionError(
      "BAD_OPTION",
      `a LoRA acts on the whole picture, so prompt2 cannot give ${stronger.name} another strength than prompt`,
      { hint: "leave it out of prompt2" },
    );
  const other = second.mentions.find((mention) => named(mention).length === 0);
  if (!other) return;
  throw new DiffusionError(
    "BAD_OPTION",
    `a LoRA acts on the whole picture, so prompt2 cannot name ${other.name} by itself`,
    { hint: "name it in prompt" },
  );
}
