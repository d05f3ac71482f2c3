import { createHash } from "node:crypto";
import { DiffusionError } from "../../index.js";
import { Refusal } from "../refusal.js";
import { type ImageStore, isImageKey } from "./store.js";

/** What one request may take, with the library's own repetitions after 429 and 5xx. */
const ANSWER_MS = 30_000;
const REPEATS = 4;

/**
 * Keeps pictures in a bucket of Amazon S3 or of something that speaks its language (MinIO, Garage, R2, …). Keys are
 * hashes of the content, which S3 checks on the way in (x-amz-content-sha256) and we on the way out.
 *
 * @param url s3://bucket or s3://bucket/prefix
 * @param env the names of AWS' own tools: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
 *   (default us-east-1), AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL where it is not Amazon's
 * @throws DiffusionError BAD_OPTION, UNSUPPORTED when aws4fetch is not installed, DISK when the bucket is not there
 */
export async function s3Store(url: string, env: NodeJS.ProcessEnv = process.env): Promise<ImageStore> {
  const place = parsePlace(url, env);
  const { AwsClient } = await import("aws4fetch").catch(notInstalled);
  const client = new AwsClient({
    ...credentials(env),
    region: place.region,
    service: "s3",
    retries: REPEATS,
  });
  const fail = (why: string, cause?: unknown) =>
    new DiffusionError("DISK", `${url}: ${why}`, {
      cause,
      hint: `check the bucket, the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) and ${place.base}`,
    });
  const send = async (method: string, key: string, init: RequestInit = {}): Promise<Response> => {
    if (!isImageKey(key)) throw new Refusal(404, "NOT_FOUND", "there is no such picture");
    const signal = AbortSignal.timeout(ANSWER_MS);
    try {
      return await client.fetch(`${place.base}${key.slice(0, 2)}/${key}.png`, { ...init, method, signal });
    } catch (cause) {
      throw fail(signal.aborted ? `no answer in ${ANSWER_MS / 1000} s` : reasonOf(cause), cause);
    }
  };
  const refused = async (answer: Response) => {
    const text = await answer.text().catch(() => "");
    const [, code = ""] = /<Code>(\w+)<\/Code>/.exec(text) ?? [];
    return { code, error: fail(`answered ${answer.status}${code && ` ${code}`}`) };
  };

  const get = async (key: string): Promise<Uint8Array | undefined> => {
    const answer = await send("GET", key);
    if (!answer.ok) {
      const { code, error } = await refused(answer);
      if (answer.status === 404 && code !== "NoSuchBucket") return undefined;
      throw error;
    }
    const png = new Uint8Array(await answer.arrayBuffer());
    if (hash(png) !== key) throw fail(`picture ${key} came back changed`);
    return png;
  };

  // Found out now rather than by the first job: no picture has this hash.
  await get("0".repeat(64));
  return {
    async put(png) {
      const key = hash(png);
      const headers = { "Content-Type": "image/png", "X-Amz-Content-Sha256": key };
      const answer = await send("PUT", key, { body: Uint8Array.from(png), headers });
      if (!answer.ok) throw (await refused(answer)).error;
      await answer.arrayBuffer();
      return key;
    },
    get,
    async remove(key) {
      const answer = await send("DELETE", key);
      if (!answer.ok && answer.status !== 404) throw (await refused(answer)).error;
    },
  };
}

const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

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
