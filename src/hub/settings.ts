import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { DiffusionError } from "../errors.js";

/** Where models come from unless HF_ENDPOINT names a mirror. */
const DEFAULT_ENDPOINT = "https://huggingface.co";

/** What a call to the hub works with: options first, then the environment that all Hugging Face tools share. */
export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** The folder with `models--owner--name` in it. */
  readonly cacheDir: string;
  readonly token?: { readonly value: string; readonly from: string };
  /** Where a token was found that is not sent, as the endpoint is not encrypted. */
  readonly withheld?: string;
  readonly offline: boolean;
  /** Copy files into snapshots instead of linking to them. */
  readonly copies: boolean;
  /** Milliseconds without an answer, and without a byte. */
  readonly answerTimeout: number;
  readonly downloadTimeout: number;
  /** Milliseconds before the first retry; doubled each time. */
  readonly retryDelay: number;
  readonly env: NodeJS.ProcessEnv;
}

export interface HubSettingsOptions {
  readonly token?: string;
  readonly offline?: boolean;
  readonly cacheDir?: string;
  readonly retryDelay?: number;
  /** Default: process.env, read now. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Reads the environment at the time of the call: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME;
 * HF_TOKEN, HF_TOKEN_PATH; HF_ENDPOINT; HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE; HF_HUB_DISABLE_IMPLICIT_TOKEN (only the token option is used); HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT (seconds);
 * HF_HUB_DISABLE_SYMLINKS; TFJS_DIFFUSION_TOKEN_OVER_HTTP (a token is sent to an http:// endpoint elsewhere, too).
 * @throws DiffusionError BAD_OPTION for an endpoint that is no URL or a token that cannot be one.
 */
export function hubSettings(options: HubSettingsOptions = {}): HubSettings {
  const env = options.env ?? process.env;
  const home = expand(env, env.HF_HOME) ?? join(cacheHome(env), "huggingface");
  const endpoint = readEndpoint(env);
  const found = findToken(options.token, env, home);
  // Whoever stands between could read it.
  const isPrivate = isEncryptedOrLocal(endpoint) || isTrue(env.TFJS_DIFFUSION_TOKEN_OVER_HTTP);
  const token = isPrivate ? found : undefined;
  return {
    endpoint,
    cacheDir:
      options.cacheDir ??
      expand(env, env.HF_HUB_CACHE) ??
      expand(env, env.HUGGINGFACE_HUB_CACHE) ??
      join(home, "hub"),
    ...(token && { token }),
    ...(found && !token && { withheld: found.from }),
    offline: options.offline ?? (isTrue(env.HF_HUB_OFFLINE) || isTrue(env.TRANSFORMERS_OFFLINE)),
    copies: isTrue(env.HF_HUB_DISABLE_SYMLINKS),
    answerTimeout: seconds(env.HF_HUB_ETAG_TIMEOUT, 10),
    downloadTimeout: seconds(env.HF_HUB_DOWNLOAD_TIMEOUT, 30),
    retryDelay: options.retryDelay ?? 1000,
    env,
  };
}

const userHome = (env: NodeJS.ProcessEnv): string => env.HOME || homedir();
const cacheHome = (env: NodeJS.ProcessEnv): string =>
  expand(env, env.XDG_CACHE_HOME) ?? join(userHome(env), ".cache");

/** Empty is as good as absent; `~` is the user's home. */
const expand = (env: NodeJS.ProcessEnv, path: string | undefined): string | undefined =>
  path?.replace(/^~(?=$|[/\\])/, () => userHome(env)) || undefined;

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value?.trim() ?? "");

const seconds = (value: string | undefined, fallback: number): number => {
  const parsed = Number(value);
  return 1000 * (value?.trim() && parsed > 0 && Number.isFinite(parsed) ? parsed : fallback);
};

function readEndpoint(env: NodeJS.ProcessEnv): string {
  const text = env.HF_ENDPOINT?.trim() || DEFAULT_ENDPOINT;
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
    throw new DiffusionError("BAD_OPTION", `HF_ENDPOINT is ${JSON.stringify(text)}, expected an http(s) URL`);
  return text.replace(/\/+$/, "");
}

function isEncryptedOrLocal(endpoint: string): boolean {
  const { protocol, hostname } = new URL(endpoint);
  return protocol === "https:" || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

function findToken(
  option: string | undefined,
  env: NodeJS.ProcessEnv,
  home: string,
): HubSettings["token"] | undefined {
  const path = expand(env, env.HF_TOKEN_PATH) ?? join(home, "token");
  const isImplicit = !isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN);
  const candidates: [value: string | undefined, from: string][] = [
    [option, "the token option"],
    [env.HF_TOKEN, "HF_TOKEN"],
    [env.HUGGING_FACE_HUB_TOKEN, "HUGGING_FACE_HUB_TOKEN"],
    [readIfThere(path), path],
  ];
  for (const [text, from] of isImplicit ? candidates : candidates.slice(0, 1)) {
    const value = text?.trim();
    if (!value) continue;
    if (!/^[\x21-\x7e]+$/.test(value))
      throw new DiffusionError("BAD_OPTION", `${from} holds no token: expected one word of ASCII characters`);
    return { value, from };
  }
  return undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no token is no error: most models are public
  }
}
