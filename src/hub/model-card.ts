import { z } from "zod";
import { DiffusionError } from "../errors.js";
import { askModel } from "./api.js";
import { hubSettings } from "./settings.js";

/** What the hub says of a model before anything is downloaded. */
export interface HubModelCard {
  readonly repo: string;
  /** As its author names it: "creativeml-openrail-m"; absent where nothing is said. */
  readonly licence?: string;
  /** Address of the licence's text, where it is the author's own. */
  readonly licenceLink?: string;
  /** What it is for and made with: "text-to-image", "diffusers". Without those that only repeat other fields. */
  readonly tags: readonly string[];
  /** Its conditions have to be accepted on the hub first. */
  readonly gated: boolean;
}

const text = z.string().max(500);
const card = z.object({
  tags: z.array(z.string()).optional(),
  gated: z.union([z.boolean(), z.string()]).optional(),
  cardData: z
    .object({
      license: z.union([text, z.array(text)]).optional(),
      license_name: text.optional(),
      license_link: z
        .url({ protocol: /^https$/ })
        .optional()
        .catch(undefined),
    })
    .nullish(),
});

/** "license:mit", "arxiv:2112.10752", "region:us" and the like are no words for readers. */
const isWord = (tag: string): boolean => tag.length <= 60 && !/^[\w-]+:/.test(tag);

/**
 * Asks the hub about a model. No token of this machine is sent: what is asked is what everybody may know.
 *
 * @param repo owner/name
 * @throws DiffusionError DOWNLOAD for one that there is not, or a hub that does not answer
 */
export async function askModelCard(
  repo: string,
  { signal, env = process.env }: { readonly signal?: AbortSignal; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<HubModelCard> {
  const settings = hubSettings({ env: { ...env, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" } });
  if (settings.offline)
    throw new DiffusionError("DOWNLOAD", `the hub is not asked about ${repo}: HF_HUB_OFFLINE is set`);
  const found = card.safeParse(await askModel({ repo, revision: "main", settings, signal }));
  const { tags = [], gated = false, cardData } = found.success ? found.data : {};
  const { license = [], license_name: own, license_link: link } = cardData ?? {};
  const named = [license].flat().filter((name) => name !== "other" || own === undefined);
  const tagged = tags.flatMap((tag) => /^license:(.+)$/.exec(tag)?.[1] ?? []);
  const licence = [own, ...named].filter(Boolean).join(", ") || tagged.join(", ");
  return {
    repo,
    ...(licence && { licence }),
    ...(link && { licenceLink: link }),
    tags: tags.filter(isWord).slice(0, 20),
    gated: gated !== false,
  };
}
