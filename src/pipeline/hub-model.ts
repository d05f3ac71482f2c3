import { DiffusionError, demand } from "../errors.js";
import { parseHubReference } from "../hub/hub.js";
import { askModelCard, type HubModelCard } from "../hub/model-card.js";

export type { HubModelCard };

/**
 * What the hub says of a model before anything is downloaded: its licence, its tags, whether it is gated.
 *
 * @param name owner/name
 * @throws DiffusionError BAD_OPTION for what is no such name, DOWNLOAD for a model that there is not
 */
export async function describeHubModel(
  name: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<HubModelCard> {
  demand("name", name, "text");
  const reference = parseHubReference(name);
  if (reference) return askModelCard(reference.repo, options);
  throw new DiffusionError("BAD_OPTION", `${name.slice(0, 100)} is no name of the hub`, {
    hint: "models are called owner/name there",
  });
}
