import { refuseOtherMentions, takeMentions } from "../adapters/mentions.js";
import { DiffusionError } from "../errors.js";
import type { Conditioning } from "../options/conditioning.js";
import type { NetworkMention, PromptSyntax } from "../text/prompt.js";
import type { Loaded } from "./loaded.js";
import { createEmbedder, mostChunks } from "./prompt-embedding.js";

export interface EncodeOptions {
  /** SDXL: for the second text encoder. Default: the same. */
  readonly prompt2?: string;
  /** Default "plain". */
  readonly promptSyntax?: PromptSyntax;
  readonly clipSkip?: number;
}

/**
 * One prompt as `promptEmbeds` takes it.
 *
 * @param adapted the model with the LoRAs that a prompt mentions
 * @throws DiffusionError BAD_OPTION for several prompts that AND combines
 */
export async function encodePrompt(
  adapted: (mentions: readonly NetworkMention[]) => Loaded,
  prompt: string,
  { prompt2 = prompt, promptSyntax = "plain", clipSkip = 0 }: EncodeOptions,
): Promise<Conditioning> {
  const [first, second] = [takeMentions(prompt), takeMentions(prompt2)];
  refuseOtherMentions(second, first);
  const embedder = createEmbedder(adapted(first.mentions), promptSyntax);
  const parts = embedder.read([first.text, second.text]).map((part) => part.over(1));
  const [part] = parts;
  if (!part || parts.length > 1)
    throw new DiffusionError(
      "BAD_OPTION",
      `prompts that AND combines have ${parts.length} embeddings, not one`,
    );
  return embedder.embed(part, 0, { chunks: mostChunks(parts), skip: clipSkip });
}
