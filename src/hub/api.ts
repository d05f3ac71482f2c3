import type { IncomingMessage } from "node:http";
import { z } from "zod";
import { DiffusionError, nearest } from "../errors.js";
import { firstProblem, inWords } from "../expectations.js";
import { cachedRepositories, isSafePath } from "./cache.js";
import { etagOf, isHash, type RemoteFile } from "./download.js";
import { moved, refusal, refusalKind } from "./errors.js";
import { discard, hubRequest, readText, withRetries } from "./http.js";
import type { HubSettings } from "./settings.js";

/** Which repository at which revision is asked about, and how. */
export interface HubQuestion {
  readonly repo: string;
  readonly revision: string;
  readonly settings: HubSettings;
  readonly signal: AbortSignal | undefined;
}

const Revision = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(z.object({ rfilename: z.string() })),
});

/** The commit that a revision stands for now, and the names of its files. */
export async function askRevision(question: HubQuestion): Promise<{ commit: string; available: string[] }> {
  const answer = await askModel(question);
  const parsed = Revision.safeParse(answer);
  if (!parsed.success)
    throw new DiffusionError(
      "DOWNLOAD",
      `${addressOf(question)} did not answer as the hub does: ${inWords(firstProblem(parsed.error, answer), "its JSON")}`,
      {
        hint: "Is HF_ENDPOINT the address of a Hugging Face mirror?",
      },
    );
  const { sha, siblings } = parsed.data;
  return { commit: sha, available: siblings.map(({ rfilename }) => rfilename).filter(isSafePath) };
}

const addressOf = ({ repo, revision, settings }: HubQuestion): string =>
  `${settings.endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`;

/** All that the hub says of a model at a revision; undefined for what is no JSON. */
export async function askModel(question: HubQuestion): Promise<unknown> {
  const { repo, revision, settings, signal } = question;
  const address = addressOf(question);
  const ask = async () => {
    const response = await hubRequest(settings, address, { timeout: settings.answerTimeout, signal });
    if (response.statusCode === 200) return readText(response, signal);
    discard(response);
    throw refusal(response, { repo, revision, settings, guess: await guess(question, response) });
  };
  return parseOrUndefined(await withRetries(settings, signal, ask, { impatient: true }));
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The closest repository or revision that exists. Nobody waits for it: one try, no error. */
async function guess(question: HubQuestion, response: IncomingMessage): Promise<string | undefined> {
  const { repo, revision, settings } = question;
  const kind = refusalKind(response);
  if (kind === "no-revision") {
    const refs = z.object({
      branches: z.array(z.object({ name: z.string() })),
      tags: z.array(z.object({ name: z.string() })),
    });
    const found = refs.safeParse(await askQuietly(question, `/api/models/${repo}/refs`));
    const names = found.success ? [...found.data.branches, ...found.data.tags].map(({ name }) => name) : [];
    return nearest(revision, names) ?? (names.slice(0, 8).join(", ") || undefined);
  }
  if (kind !== "no-repo") return undefined;
  const known = moved.get(repo);
  if (known) return known;
  const name = repo.slice(repo.indexOf("/") + 1);
  const models = z.array(z.object({ id: z.string() }));
  const found = models.safeParse(
    await askQuietly(question, `/api/models?search=${encodeURIComponent(name)}&limit=20`),
  );
  const ids = found.success ? found.data.map(({ id }) => id) : [];
  return nearest(repo, [...ids, ...moved.values(), ...(await cachedRepositories(settings.cacheDir))]);
}

async function askQuietly({ settings, signal }: HubQuestion, path: string): Promise<unknown> {
  try {
    const response = await hubRequest(settings, settings.endpoint + path, {
      timeout: settings.answerTimeout,
      signal,
    });
    return parseOrUndefined(await readText(response, signal));
  } catch {
    return undefined;
  }
}

/** Name and size of a file's contents, as the hub gives them before it redirects to where the bytes are. */
export async function describe(question: HubQuestion, commit: string, file: string): Promise<RemoteFile> {
  const { repo, revision, settings, signal } = question;
  const path = file.split("/").map(encodeURIComponent).join("/");
  const url = `${settings.endpoint}/${repo}/resolve/${commit}/${path}`;
  const response = await withRetries(settings, signal, () =>
    hubRequest(settings, url, { method: "HEAD", timeout: settings.answerTimeout, signal, stayOnHost: true }),
  );
  discard(response);
  if ((response.statusCode ?? 0) >= 400) throw refusal(response, { repo, revision, file, settings });
  const etag = etagOf(response);
  const length = response.headers["x-linked-size"] ?? response.headers["content-length"];
  const size = typeof length === "string" && /^\d+$/.test(length) ? Number(length) : Number.NaN;
  // The etag becomes a file name. Where it is no hash, that nothing came cannot be told from an empty file.
  const isNamed = etag !== undefined && /^\w[\w.-]{0,199}$/.test(etag);
  if (!isNamed || !Number.isSafeInteger(size) || (size === 0 && !isHash(etag)))
    throw new DiffusionError(
      "DOWNLOAD",
      `${url} came without its hash or size (etag ${etag}, length ${length})`,
      {
        hint: "A proxy or mirror (HF_ENDPOINT) may have removed them.",
      },
    );
  return { repo, commit, file, url, etag, size };
}
