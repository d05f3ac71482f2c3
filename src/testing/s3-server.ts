import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type S3State = "up" | "cut off" | "busy" | "forbidden" | "slow" | "stopped";

/** How much later an answer comes that is slow. */
const SLOW_MS = 700;

export interface S3Server {
  readonly url: string;
  /** Objects by path: /bucket/key. */
  readonly objects: Map<string, Buffer>;
  /**
   * "cut off" ends connections without an answer, "busy" refuses with 503, "forbidden" with 403, "slow" answers late,
   * "stopped" does not listen.
   */
  state(state: S3State): void;
  /** Requests that came since the state was set. */
  readonly met: number;
  close(): void;
}

export const s3Credentials = { accessKeyId: "AKIATEST", secretAccessKey: "a-secret/for+tests" };

/**
 * As much of S3 as a store of objects needs: PUT, GET and DELETE in buckets that exist, signatures (version 4) and
 * hashes of content checked, errors as XML.
 */
export async function startS3(buckets: readonly string[]): Promise<S3Server> {
  const objects = new Map<string, Buffer>();
  let state: S3State = "up";
  let met = 0;
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    const path = request.url!;
    met++;
    if (state === "slow") await sleep(SLOW_MS);
    if (state === "cut off") return request.socket.destroy();
    const refuse = (status: number, code: string) =>
      response
        .writeHead(status, { "Content-Type": "application/xml" })
        .end(`<Error><Code>${code}</Code></Error>`);
    const sent = String(request.headers["x-amz-content-sha256"]);
    if (state === "busy") return refuse(503, "SlowDown");
    if (state === "forbidden") return refuse(403, "AccessDenied");
    if (signatureOf(request, s3Credentials.secretAccessKey) !== givenSignature(request))
      return refuse(403, "SignatureDoesNotMatch");
    if (sent !== "UNSIGNED-PAYLOAD" && sent !== sha256(body)) return refuse(400, "XAmzContentSHA256Mismatch");
    if (!buckets.includes(path.split("/")[1]!)) return refuse(404, "NoSuchBucket");
    if (request.method === "PUT") objects.set(path, body);
    else if (request.method === "DELETE") objects.delete(path);
    else if (!objects.has(path)) return refuse(404, "NoSuchKey");
    else return response.end(objects.get(path));
    return response.writeHead(request.method === "DELETE" ? 204 : 200).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  // Somebody's connection may have got the port in the meantime.
  server.on("error", () => setTimeout(() => server.listen(port, "127.0.0.1"), 50));
  return {
    url: `http://127.0.0.1:${port}`,
    objects,
    get met() {
      return met;
    },
    state(next) {
      if (next === "stopped") {
        server.close();
        server.closeAllConnections();
      } else if (state === "stopped") server.listen(port, "127.0.0.1");
      state = next;
      met = 0;
    },
    close: () => void server.close(),
  };
}

type Signed = Pick<IncomingMessage, "method" | "url" | "headers">;

const credential =
  /Credential=[^/]+\/(\d{8})\/([\w-]+)\/s3\/aws4_request, ?SignedHeaders=([\w;-]+), ?Signature=(\w+)/;
const givenSignature = ({ headers }: Signed) => credential.exec(headers.authorization ?? "")?.[4];

/** "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)", Amazon S3 API reference. */
export function signatureOf({ method, url, headers }: Signed, secret: string): string {
  const [, day = "", region = "", signed = ""] = credential.exec(headers.authorization ?? "") ?? [];
  const [path = "", query = ""] = url!.split("?");
  const canonical = [
    method,
    path,
    query.split("&").sort().join("&"),
    ...signed.split(";").map((name) => `${name}:${String(headers[name]).trim()}`),
    "",
    signed,
    headers["x-amz-content-sha256"],
  ].join("\n");
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, sha256(canonical)].join("\n");
  const key = [day, region, "s3", "aws4_request"].reduce<string | Buffer>(hmac, `AWS4${secret}`);
  return hmac(key, text).toString("hex");
}

const sha256 = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex");
const hmac = (key: string | Buffer, data: string): Buffer => createHmac("sha256", key).update(data).digest();
