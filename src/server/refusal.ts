import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import { DiffusionError } from "../errors.js";

/** A request that is answered with an HTTP error; each API puts it into its own envelope. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint?: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    { hint, headers = {}, cause }: { hint?: string; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "Refusal";
    this.status = status;
    this.code = code;
    this.headers = headers;
    if (hint !== undefined) this.hint = hint;
  }
}

const statuses: Partial<Record<string, number>> = {
  BAD_OPTION: 400,
  BAD_IMAGE: 400,
  MODEL_KIND: 400,
  FILE_MISSING: 404,
  UNSUPPORTED: 501,
  DOWNLOAD: 502,
  WORKER: 503,
  NATIVE_MISSING: 503,
  DISK: 507,
};

const ofRequests = ["BAD_OPTION", "BAD_IMAGE", "MODEL_KIND", "TOO_LARGE", "UNSUPPORTED", "WEIGHT_SHAPE"];

/** Whether a job has failed by what its request asks for, so that it would fail again; of other failures clients may try again. */
export const isOfRequest = (code: string): boolean =>
  ofRequests.includes(code) || code.endsWith("_NOT_FOUND");

/** Any error as an answer. What is our mistake says no more than that. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof DiffusionError) {
    const { code, message, hint } = error;
    return new Refusal(statuses[code] ?? 500, code, message, { ...(hint && { hint }), cause: error });
  }
  return new Refusal(500, "INTERNAL", "internal: the server failed; its log says more", { cause: error });
}

/** An error as a job keeps it and as events tell it: words, no stack. */
export function errorOf(error: unknown): { code: string; message: string; hint?: string } {
  const { code, message, hint } = refusalOf(error);
  return { code, message, ...(hint && { hint }) };
}

/** The same for whoever asks over HTTP: of a file its name, and not where on this machine it lies. */
export function publicErrorOf(error: unknown): ReturnType<typeof errorOf> {
  const { code, message, hint } = errorOf(error);
  return {
    code,
    message: withoutFolders(message),
    ...(hint !== undefined && { hint: withoutFolders(hint) }),
  };
}

/**
 * The same as an answer to a request. A client's own words are left as they are: what became of them would tell which
 * folders there are.
 */
export function publicRefusalOf(error: unknown): Refusal {
  const refusal = refusalOf(error);
  if (!(error instanceof DiffusionError) || error.code === "BAD_OPTION") return refusal;
  const { code, message, hint } = publicErrorOf(error);
  return new Refusal(refusal.status, code, message, { ...(hint !== undefined && { hint }), cause: error });
}

/** Paths of folders that are here, also where they begin the path of a file; addresses, routes and owner/name stay. */
export const withoutFolders = (text: string): string =>
  text.replaceAll(/(?<![\w:/.~-]|(?:GET|POST|PUT|DELETE) )(?:[A-Za-z]:)?[\\/][^\s"'`:,;()]+/g, (path) =>
    existsSync(dirname(path)) && dirname(path) !== "/" ? basename(path) : path,
  );
