import { withoutLoras } from "../../options/mentions.js";
import { drawnPrompt } from "../../options/resolve.js";
import type { StoredGenerate } from "../requests/request.js";
import type { Models } from "./models.js";

/** The request of one picture as it can be made here. */
interface Makeable {
  readonly request: StoredGenerate;
  /** The prompt as it was sent, with what wildcards have drawn. */
  readonly sent?: string;
  readonly notes: readonly string[];
}

/**
 * Leaves out the LoRAs that a request may do without and that are not here, as the web UI does, and says so in its words.
 * What wildcards draw may name some, too: so they are drawn first.
 *
 * @param seed of the picture
 */
export function withoutMissingLoras(
  request: StoredGenerate,
  seed: number | bigint,
  models: Models,
): Makeable {
  const { missingLoras, wildcards, prompt } = request;
  if (missingLoras !== "ignore" || prompt === undefined) return { request, notes: [] };
  const sent = wildcards ? drawnPrompt(prompt, seed, wildcards) : prompt;
  const { text, missing } = withoutLoras(sent, (name) => models.files.findLora(name) !== undefined);
  if (missing.length === 0) return { request, notes: [] };
  // What was drawn is drawn no more: a prompt without wildcards is the same with any lists.
  return {
    request: { ...request, prompt: text },
    sent,
    notes: [`Networks not found: ${missing.map((name) => name.slice(0, 100)).join(", ")}`],
  };
}
