import type { IncomingMessage } from "node:http";
import { DiffusionError } from "../errors.js";
import type { HubSettings } from "./settings.js";

/** What was asked for when the hub refused. */
export interface Asked {
  readonly repo: string;
  readonly revision: string;
  readonly file?: string;
  readonly settings: HubSettings;
  /** The closest name that exists, where one was found. */
  readonly guess?: string | undefined;
}

/** Repositories that moved without a redirect. */
export const moved = new Map([
  ["runwayml/stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"],
  ["runwayml/stable-diffusion-inpainting", "stable-diffusion-v1-5/stable-diffusion-inpainting"],
]);

/** What the hub's answer says that it lacks. Without a token it answers 401 for what does not exist, too. */
export function refusalKind(
  response: IncomingMessage,
  file?: string,
): "gated" | "no-file" | "no-revision" | "no-repo" | "other" {
  const code = String(response.headers["x-error-code"] ?? "");
  const message = String(response.headers["x-error-message"] ?? "");
  const status = response.statusCode;
  if (code === "GatedRepo" || /gated|restricted/i.test(message)) return "gated";
  if (code === "EntryNotFound") return "no-file";
  if (code === "RevisionNotFound") return "no-revision";
  if (code === "RepoNotFound" || status === 401) return "no-repo";
  if (status === 403) return "gated";
  if (status !== 404) return "other";
  return file === undefined ? "no-repo" : "no-file";
}

/** A refusal in words: what to accept, which token was used, what was probably meant. */
export function refusal(response: IncomingMessage, asked: Asked): DiffusionError {
  const { repo, revision, file, settings, guess } = asked;
  const said = String(response.headers["x-error-message"] ?? "");
  const page = `${settings.endpoint}/${repo}`;
  const error = (message: string, hint: string) =>
    new DiffusionError("DOWNLOAD", said ? `${message} (the hub says: ${said})` : message, { hint });
  const withheld = settings.withheld
    ? `The token from ${settings.withheld} was not sent, as ${settings.endpoint} is not encrypted: use https://, or set TFJS_DIFFUSION_TOKEN_OVER_HTTP=1. `
    : "";
  const meant = guess === undefined ? "" : `Did you mean ${guess}? `;
  switch (refusalKind(response, file)) {
    case "gated":
      return settings.token
        ? error(
            `the token from ${settings.token.from} may not read ${repo}, a gated repository`,
            `Open ${page}, accept its conditions with the account of that token, and see that the token may read gated repositories (${settings.endpoint}/settings/tokens).`,
          )
        : error(
            `${repo} is gated: its authors ask you to accept their conditions first`,
            `${withheld}Open ${page}, accept them, make a token at ${settings.endpoint}/settings/tokens and set HF_TOKEN to it.`,
          );
    case "no-file":
      return error(
        `${repo} has no file ${file ?? ""} at ${revision}`,
        meant || `See ${page}/tree/${revision}`,
      );
    case "no-revision":
      return error(`${repo} has no revision ${revision}`, meant || `See ${page}/tree/main`);
    case "no-repo":
      return error(
        `there is no repository ${repo}, or it is private`,
        `${meant}${settings.token ? `It was asked for with the token from ${settings.token.from}.` : withheld || "For a private one, set HF_TOKEN."} A local folder is written ./${repo}.`,
      );
    case "other":
      return error(`the hub answered ${response.statusCode} for ${file ?? repo}`, `See ${page}`);
  }
}
