import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { encodePng } from "../../index.js";
import { freePort } from "../../testing/redis-server.js";
import { type S3Server, s3Credentials, signatureOf, startS3 } from "../../testing/s3-server.js";
import { grey } from "../fixture.js";
import { s3Store } from "./s3.js";

let server: S3Server;
let env: NodeJS.ProcessEnv;

beforeAll(async () => {
  server = await startS3(["pictures"]);
  env = {
    AWS_ACCESS_KEY_ID: s3Credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Credentials.secretAccessKey,
    AWS_REGION: "eu-west-3",
    AWS_ENDPOINT_URL_S3: `${server.url}/`,
  };
});
afterAll(() => server.close());

test("the server of these tests signs as the example in Amazon's documentation", () => {
  const headers = {
    host: "examplebucket.s3.amazonaws.com",
    range: "bytes=0-9",
    "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "x-amz-date": "20130524T000000Z",
    authorization:
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=x",
  };
  expect(
    signatureOf({ method: "GET", url: "/test.txt", headers }, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
  ).toBe("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
});

const png = encodePng(grey(8, 8));

describe("pictures in S3", () => {
  test("are kept under the hash of their content, with or without a prefix", async () => {
    for (const url of ["s3://pictures", "s3://pictures/some/where"]) {
      const store = await s3Store(url, { env });
      const key = await store.put(png);
      expect(await store.put(png)).toBe(key);
      expect(await store.get(key)).toEqual(Uint8Array.from(png));
      await store.remove(key);
      expect(await store.get(key)).toBeUndefined();
      await store.remove(key);
    }
  });

  test("that came back changed are no pictures", async () => {
    const store = await s3Store("s3://pictures/changed", { env });
    const key = await store.put(png);
    server.objects.get(`/pictures/changed/${key.slice(0, 2)}/${key}.png`)![40]! ^= 1;
    await expect(store.get(key)).rejects.toMatchObject({ code: "DISK" });
    await store.put(png);
    expect(await store.get(key)).toEqual(Uint8Array.from(png));
  });

  test("need a bucket, credentials and an address that are right; no secret is said", async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`;
    const secret = { ...env, AWS_SECRET_ACCESS_KEY: "not-the-secret" };
    for (const [url, variables, code, words] of [
      ["s3://nowhere", env, "DISK", "NoSuchBucket"],
      ["s3://pictures", secret, "DISK", "SignatureDoesNotMatch"],
      ["s3://pictures", { ...env, AWS_ENDPOINT_URL_S3: nobody }, "DISK", "ECONNREFUSED"],
      ["s3://pictures", {}, "BAD_OPTION", "AWS_ACCESS_KEY_ID"],
      ["http://pictures", env, "BAD_OPTION", "s3://bucket"],
      ["s3://UPPER", env, "BAD_OPTION", "s3://bucket"],
    ] as const) {
      const error: unknown = await s3Store(url, { env: variables }).catch((error: unknown) => error);
      expect(error).toMatchObject({ code, message: expect.stringContaining(words) });
      expect(String(error)).not.toContain("not-the-secret");
    }
  });

  test("something else that answers is no bucket", async () => {
    const site = createServer((_, response) => void response.writeHead(404).end("<h1>Not found</h1>"));
    await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void site.close());
    const { port } = site.address() as AddressInfo;
    const other = { ...env, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}` };
    await expect(s3Store("s3://pictures", { env: other })).rejects.toMatchObject({
      code: "DISK",
      message: expect.stringContaining("is no S3"),
    });
  });

  test("names that are no hash never leave this process", async () => {
    const store = await s3Store("s3://pictures", { env });
    await expect(store.get("../../secret")).rejects.toMatchObject({ status: 404 });
  });

  test("what is refused is no matter of waiting: it fails at once, and the log says why, once", async () => {
    const lines: string[] = [];
    const store = await s3Store("s3://pictures/forbidden", { env, log: (line) => lines.push(line) });
    server.state("forbidden");
    onTestFinished(() => server.state("up"));
    for (let i = 0; i < 3; i++)
      await expect(store.put(png)).rejects.toMatchObject({
        code: "DISK",
        message: "the store of pictures answered 403 AccessDenied",
      });
    server.state("up");
    await store.put(png);
    expect(lines).toEqual([
      expect.stringMatching(
        /^pictures in s3:\/\/pictures\/forbidden .* are refused: answered 403 AccessDenied$/,
      ),
      expect.stringContaining("are not refused any more"),
    ]);
  });

  test("a server that is overloaded is asked again", async () => {
    let refusals = 2;
    const busy = createServer((_, response) => {
      if (refusals-- > 0) response.writeHead(503).end();
      else response.writeHead(404).end("<Code>NoSuchKey</Code>");
    });
    await new Promise<void>((resolve) => busy.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void busy.close());
    const { port } = busy.address() as AddressInfo;
    const store = await s3Store("s3://pictures", {
      env: { ...env, AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}` },
    });
    expect(await store.get("1".repeat(64))).toBeUndefined();
    expect(refusals).toBe(-2);
  });

  test("a client is not kept waiting as long as a job's picture is: what it brings is 503 after a moment", async () => {
    const budgets = { read: 300, write: 3_600_000 };
    const store = await s3Store("s3://pictures/brief", { env, budgets });
    onTestFinished(() => server.state("up"));
    server.state("cut off");
    await expect(store.put(png, undefined, { briefly: true })).rejects.toMatchObject({
      status: 503,
      code: "STORAGE",
      headers: { "Retry-After": "10" },
    });
    const patient = store.put(png);
    server.state("up");
    expect(await store.get(await patient)).toEqual(Uint8Array.from(png));
  });
});
