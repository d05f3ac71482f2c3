import { setTimeout as sleep } from "node:timers/promises";
import { DiffusionError } from "../../index.js";
import { type Log, tellChanges } from "../log.js";
import { Refusal } from "../refusal.js";
import { type ImageStore, imageKey, isImageKey, storageAway } from "./store.js";

/**
 * What all attempts at one thing may take together, in milliseconds: as long as somebody waits for it, `read`, and longer
 * for what a job has made.
 */
const budgets = { start: 4000, read: 10_000, write: 60_000 };
/** What one attempt may take. */
const ANSWER_MS = 30_000;
/** Pauses between attempts: doubled each time, up to the longest, less up to half by chance. */
const pauses = { first: 200, longest: 5000 };

export interface S3Options {
  /** The names of AWS' own tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION (default
   *  us-east-1), AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL where it is not Amazon's. */
  readonly env?: NodeJS.ProcessEnv;
  /** For the operator: once when the bucket stops answering, once when it is back. */
  readonly log?: Log;
  readonly budgets?: Partial<typeof budgets>;
}

/**
 * Keeps pictures in a bucket of Amazon S3 or of something that speaks its language (MinIO, Garage, R2, …). Keys are
 * hashes of the content, which S3 checks on the way in (x-amz-content-sha256) and we on the way out. What fails for
 * now (no connection, 429, 5xx) is tried again, with growing pauses, until a bound; then it is a refusal 503. Neither
 * that nor what S3 refuses tells a client where the bucket is; the log does.
 *
 * @param url s3://bucket or s3://bucket/prefix
 * @throws DiffusionError BAD_OPTION, UNSUPPORTED when aws4fetch is not installed, DISK when the bucket is not there
 */
export async function s3Store(url: string, options: S3Options = {}): Promise<ImageStore> {
  const { env = process.env, log = () => {} } = options;
  const most = { ...budgets, ...options.budgets };
  const place = parsePlace(url, env);
  const { AwsClient } = await import("aws4fetch").catch(notInstalled);
  const client = new AwsClient({ ...credentials(env), region: place.region, service: "s3", retries: 0 });
  let started = false; // until then the error says it
  let away = false;
  const told = tellChanges((line, fields) => started && log(line, fields), {
    away: (problem) => `pictures in ${url} (${place.base}) cannot be reached: ${problem}; it is tried again`,
    back: `pictures in ${url} can be reached again`,
  });
  const tell = (problem: string | undefined) => {
    told(started ? problem : undefined);
    away = problem !== undefined;
  };
  const tellRefusal = tellChanges((line, fields) => started && log(line, fields), {
    away: (problem) => `pictures in ${url} (${place.base}) are refused: ${problem}`,
    back: `pictures in ${url} are not refused any more`,
  });
  const once = async (method: string, key: string, init: RequestInit, ms: number): Promise<Answer> => {
    const signal = AbortSignal.timeout(ms);
    const path = `${key.slice(0, 2)}/${key}.png`;
    const response = await client.fetch(place.base + path, { ...init, method, signal });
    // As part of the attempt: a connection may break in the middle of a picture.
    return { status: response.status, body: new Uint8Array(await response.arrayBuffer()) };
  };
  const send = async (method: string, key: string, budgetMs: number, init: RequestInit = {}) => {
    if (!isImageKey(key)) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    const end = performance.now() + budgetMs;
    for (let pause = pauses.first; ; pause = Math.min(2 * pause, pauses.longest)) {
      const left = Math.max(1, Math.round(end - performance.now()));
      const ms = Math.min(ANSWER_MS, left);
      const answer = await once(method, key, init, ms).catch((cause: Error) => cause);
      const problem = problemOf(answer);
      tell(problem);
      if (problem === undefined) return answer as Answer;
      const wait = pause * (0.5 + Math.random() / 2);
      if (performance.now() + wait >= end) throw new Unreachable(problem, answer);
      await sleep(wait);
    }
  };
  const refused = ({ status, body }: Answer) => {
    const why = `answered ${status}${codeOf(body) && ` ${codeOf(body)}`}`;
    tellRefusal(why);
    return new Refusal(500, "DISK", `the store of pictures ${why}`);
  };

  const get = async (key: string, budgetMs = most.read): Promise<Uint8Array | undefined> => {
    const answer = await send("GET", key, budgetMs);
    const isMissing = answer.status === 404 && codeOf(answer.body) !== "NoSuchBucket";
    // Whatever else stands at a wrong address knows nothing of keys.
    if (isMissing && !started && codeOf(answer.body) !== "NoSuchKey")
      throw new Refusal(500, "DISK", "what answers there (404) is no S3");
    if (isMissing) return undefined;
    if (!isOk(answer)) throw refused(answer);
    tellRefusal(undefined);
    const { body: png } = answer;
    if (imageKey(png) !== key)
      throw new Refusal(500, "DISK", `picture ${key} came back changed from the store of pictures`);
    return png;
  };

  // Found out now rather than by the first job.
  await get(nothing, most.start).catch((cause: Error) => {
    const why = cause instanceof Unreachable ? cause.problem : cause.message;
    throw new DiffusionError("DISK", `${url}: ${why}`, {
      cause,
      hint: `check the bucket, the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and ${place.base}`,
    });
  });
  started = true;
  return {
    async put(png, key = imageKey(png), { briefly = false } = {}) {
      const headers = { "Content-Type": "image/png", "X-Amz-Content-Sha256": key };
      const answer = await send("PUT", key, briefly ? most.read : most.write, {
        body: Uint8Array.from(png),
        headers,
      });
      if (!isOk(answer)) throw refused(answer);
      tellRefusal(undefined);
      return key;
    },
    get: (key) => get(key),
    async remove(key) {
      const answer = await send("DELETE", key, most.read);
      if (!isOk(answer) && answer.status !== 404) throw refused(answer);
    },
    async reachable(signal) {
      while (away && !signal.aborted)
        await get(nothing, most.start).catch(() =>
          sleep(pauses.longest, undefined, { signal }).catch(() => {}),
        );
    },
  };
}

/** No picture has this hash. */
const nothing = "0".repeat(64);

interface Answer {
  readonly status: number;
  readonly body: Uint8Array;
}
const isOk = ({ status }: Answer): boolean => status >= 200 && status < 300;
/** What S3 calls its reason. */
const codeOf = (body: Uint8Array): string =>
  /<Code>(\w+)<\/Code>/.exec(Buffer.from(body).toString("latin1").slice(0, 2000))?.[1] ?? "";

/** The store did not answer within the bound. */
class Unreachable extends Refusal {
  readonly problem: string;
  constructor(problem: string, cause: unknown) {
    super(503, storageAway, "the store of pictures does not answer", {
      cause,
      hint: "try again in a moment",
      headers: { "Retry-After": "10" },
    });
    this.problem = problem;
  }
}

/** What may be over in a moment; undefined for an answer, be it a refusal. */
function problemOf(answer: Answer | Error): string | undefined {
  if (!(answer instanceof Error))
    return answer.status === 429 || answer.status >= 500 ? `answered ${answer.status}` : undefined;
  return answer.name === "TimeoutError" ? "no answer" : reasonOf(answer);
}

/** `fetch failed` says nothing; what it was caused by does. */
const reasonOf = (error: unknown): string => {
  const { message, cause } = error as Error;
  return cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code) : message;
};

function parsePlace(url: string, env: NodeJS.ProcessEnv): { base: string; region: string } {
  const [, bucket, path = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(\/[\w./-]*)?$/.exec(url) ?? [];
  if (!bucket)
    throw new DiffusionError("BAD_OPTION", `expected s3://bucket or s3://bucket/prefix, got ${url}`);
  const prefix = path.split("/").filter(Boolean).join("/");
  const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? "us-east-1";
  const endpoint = env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
  // Others than Amazon seldom have a name in the DNS for each bucket.
  const host = endpoint
    ? `${endpoint.replace(/\/+$/, "")}/${bucket}`
    : `https://${bucket}.s3.${region}.amazonaws.com`;
  return { base: prefix ? `${host}/${prefix}/` : `${host}/`, region };
}

function credentials({ AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN }: NodeJS.ProcessEnv) {
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY)
    throw new DiffusionError(
      "BAD_OPTION",
      "pictures in S3 need AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
      {
        hint: "set both in the environment; on a machine of Amazon's, take them from its role",
      },
    );
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    ...(AWS_SESSION_TOKEN && { sessionToken: AWS_SESSION_TOKEN }),
  };
}

function notInstalled(cause: unknown): never {
  throw new DiffusionError("UNSUPPORTED", "pictures in S3 need the package aws4fetch", {
    cause,
    hint: "npm install aws4fetch@1",
  });
}
