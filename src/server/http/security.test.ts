import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import { encodePng } from "../../index.js";
import { base64Png, grey, host, type TestServer, testServer } from "../fixture.js";

let server: TestServer;
beforeAll(async () => {
  server = await testServer({ limits: { body: 200_000, imagePixels: 10_000 } });
});

const body = { prompt: "a dog", width: 64, height: 64 };

test("every answer carries the protective headers, errors too", async () => {
  for (const path of ["/health", "/nothing", "/images/x.png"]) {
    const { headers } = await server.send("GET", path);
    expect(headers.get("content-security-policy")).toContain("default-src 'none'; script-src 'self'");
    expect(headers.get("content-security-policy")).not.toContain("unsafe");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("cross-origin-resource-policy")).toBe("same-origin");
    expect(headers.get("access-control-allow-origin")).toBeNull();
  }
});

test("a name that was rebound to this machine is refused, for reading and for writing", async () => {
  for (const bad of [
    "evil.example:7860",
    "127.0.0.1",
    "127.0.0.1:7861",
    `${host}.evil.example`,
    "0.0.0.0:7860",
  ])
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", "/jobs"],
      ["GET", "/health"],
      ["POST", "/jobs"],
    ] as const) {
      const answer = await server.send(method, path, undefined, { host: bad });
      expect([bad, answer.status]).toEqual([bad, 403]);
    }
  const missing = await server.app.request("http://127.0.0.1:7860/health");
  expect(missing.status).toBe(403);
});

test("posts of other sites are refused, those of the page and of programs are not", async () => {
  const post = (headers: Record<string, string>) =>
    server.send("POST", "/sdapi/v1/interrupt", undefined, headers);
  for (const origin of [
    "null",
    "https://evil.example",
    "http://127.0.0.1:7860.evil.example",
    "http://127.0.0.1:7861",
    "http://127.0.0.1:7860/",
    "ftp://127.0.0.1:7860",
    "http://x@127.0.0.1:7860",
    "",
  ])
    expect([origin, (await post({ origin })).status]).toEqual([origin, 403]);
  expect((await post({ "sec-fetch-site": "cross-site" })).status).toBe(403);
  expect((await post({ "sec-fetch-site": "same-site" })).status).toBe(403);
  expect((await post({ origin: `http://${host}`, "sec-fetch-site": "same-origin" })).status).toBe(200);
  expect((await post({})).status).toBe(200);
  // A link from elsewhere that opens the page is no attack.
  expect((await server.send("GET", "/health", undefined, { "sec-fetch-site": "cross-site" })).status).toBe(
    200,
  );
});

test("bodies are JSON: what a form of another site can send is refused", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
    const answer = await server.send("POST", "/jobs", body, { "content-type": type });
    expect([type, answer.status]).toEqual([type, 415]);
  }
});

test("with a secret, nobody gets in without it; only /health is open", async () => {
  const guarded = await testServer({ secret: "me:long enough" });
  const get = (authorization?: string, path = "/jobs") =>
    guarded.send("GET", path, undefined, authorization ? { authorization } : {});
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  const refused = await get();
  expect(refused.status).toBe(401);
  expect(refused.headers.get("www-authenticate")).toContain("Basic");
  for (const bad of [
    basic("me:wrong"),
    basic("me"),
    "Bearer me",
    "Bearer",
    basic("me:long enoug"),
    "Basic %%%",
  ])
    expect([bad, (await get(bad)).status]).toEqual([bad, 401]);
  expect((await get(basic("me:long enough"))).status).toBe(200);
  expect((await get(`Bearer ${"long enough"}`)).status).toBe(401); // a token has no spaces
  const token = await testServer({ secret: "me:tokentoken" });
  expect((await token.send("GET", "/jobs", undefined, { authorization: "Bearer tokentoken" })).status).toBe(
    200,
  );
  expect((await get(undefined, "/health")).status).toBe(200);
  expect((await get(undefined, "/metrics")).status).toBe(401);
  for (const path of ["/", "/v1/models", "/sdapi/v1/options", "/openapi.json"])
    expect([path, (await get(undefined, path)).status]).toEqual([path, 401]);
});

test("what stands behind a login is refused, and guesses are logged without what was guessed", async () => {
  const guarded = await testServer({ secret: "me:tokentoken" });
  const get = (authorization: string) => guarded.send("GET", "/jobs", undefined, { authorization });
  for (const bad of ["Bearer tokentoken b", "Bearer  ", "Basic", "tokentoken", "Bearer,tokentoken"])
    expect([bad, (await get(bad)).status]).toEqual([bad, 401]);
  expect((await get("Bearer tokentoken")).status).toBe(200);
  expect(guarded.log.filter((line) => line.includes("login failed"))).toEqual([
    "login failed: 1 in a row from 127.0.0.1",
    "login failed: 2 in a row from 127.0.0.1",
    "login failed: 4 in a row from 127.0.0.1",
  ]);
  expect(guarded.log.join()).not.toContain("tokentoken");
});

test("with a token, the URL lets a browser in, programs send it, and nobody else gets in", async () => {
  const token = "a-token-of-the-test";
  const guarded = await testServer({ token });
  const get = (path: string, headers: Record<string, string> = {}) =>
    guarded.send("GET", path, undefined, headers);
  for (const path of ["/", "/jobs", "/?token=another-token-here", "/v1/models"])
    expect([path, (await get(path)).status]).toEqual([path, 401]);
  expect((await get("/health")).status).toBe(200);
  const opened = await get(`/?token=${token}`);
  expect([opened.status, opened.headers.get("location")]).toEqual([303, "/"]);
  const cookie = opened.headers.get("set-cookie")!;
  expect(cookie).toMatch(/^tfjs-diffusion-7860=a-token-of-the-test; .*HttpOnly; SameSite=Strict$/);
  expect((await get("/jobs", { cookie: `other=1; ${cookie.split(";")[0]}` })).status).toBe(200);
  expect((await get("/jobs", { cookie: "tfjs-diffusion-7860=wrong" })).status).toBe(401);
  expect((await get("/jobs", { cookie: `tfjs-diffusion-7861=${token}` })).status).toBe(401);
  expect((await get("/jobs", { authorization: `Bearer ${token}` })).status).toBe(200);
  const basic = Buffer.from(`anybody:${token}`).toString("base64");
  expect((await get("/jobs", { authorization: `Basic ${basic}` })).status).toBe(200);
  // A cookie alone must not let other sites write.
  const post = { cookie: cookie.split(";")[0]!, origin: "http://127.0.0.1:7861" };
  expect((await guarded.send("POST", "/sdapi/v1/interrupt", undefined, post)).status).toBe(403);
});

test("the usual port goes without saying in an origin", async () => {
  const proxied = await testServer({ hosts: ["pictures.example:443", "plain.example"] });
  const post = async (origin: string) =>
    (await proxied.send("POST", "/sdapi/v1/interrupt", undefined, { origin })).status;
  for (const origin of [
    "https://pictures.example",
    "https://pictures.example:443",
    "http://plain.example",
    "http://plain.example:80",
  ])
    expect([origin, await post(origin)]).toEqual([origin, 200]);
  for (const origin of [
    "http://pictures.example",
    "https://pictures.example:444",
    "https://pictures.example:443/",
    "http://plain.example:8080",
  ])
    expect([origin, await post(origin)]).toEqual([origin, 403]);
});

test("a request that names two hosts is refused everywhere", async () => {
  const { listener } = server;
  const http = createServer(listener);
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  const status = (head: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(`${head}\r\nConnection: close\r\n\r\n`));
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      socket.on("end", () => resolve(text.slice(9, 12)));
      socket.on("error", reject);
    });
  try {
    expect(await status(`GET /health HTTP/1.1\r\nHost: ${host}`)).toBe("200");
    for (const path of ["/health", "/", "/jobs", "/v1/models", "/sdapi/v1/options"])
      for (const second of [host, "evil.example"])
        expect([path, await status(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nHOST: ${second}`)]).toEqual([
          path,
          "400",
        ]);
  } finally {
    http.close();
  }
});

test("bodies beyond the limit are refused, whether they say their length or not", async () => {
  const large = { ...body, prompt: "x".repeat(300_000) };
  const said = await server.send("POST", "/jobs", large, { "content-length": "300100" });
  expect(said.status).toBe(413);
  const unsaid = await server.send("POST", "/jobs", large);
  expect(unsaid.status).toBeGreaterThanOrEqual(400);
  expect(unsaid.status).toBeLessThan(500);
});

test("pictures are taken as base64 only; nothing is fetched", async () => {
  for (const image of [
    "http://127.0.0.1:1/x.png",
    "https://evil.example/x.png",
    "file:///etc/passwd",
    "/etc/passwd",
    "data:text/html;base64,PGI+",
    "../../secret.png",
    "",
  ]) {
    const answer = await server.send("POST", "/jobs", { ...body, image });
    expect([image, answer.status]).toEqual([image, 400]);
    const a1111 = await server.send("POST", "/sdapi/v1/img2img", { ...body, init_images: [image] });
    expect([image, a1111.status]).toEqual([image, image === "" ? 404 : 500]);
  }
});

test("pictures that are hostile are refused before they are decoded", async () => {
  const picture = encodePng(grey(8, 8));
  const claims = (width: number) => {
    const bytes = Uint8Array.from(picture);
    new DataView(bytes.buffer).setUint32(16, width);
    return bytes;
  };
  const hostile = {
    "too many pixels": encodePng(grey(200, 200)),
    "a header that lies": claims(100_000),
    "a short body behind a large header": claims(90),
    "a cut file": picture.subarray(0, picture.length - 20),
    "a bomb of zeroes": new Uint8Array(deflateSync(new Uint8Array(1_000_000))),
    "an SVG": Buffer.from("<svg onload='alert(1)'/>"),
    "an archive": Buffer.from("PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
  };
  for (const [name, bytes] of Object.entries(hostile)) {
    const image = Buffer.from(bytes).toString("base64");
    expect([name, (await server.send("POST", "/jobs", { ...body, image })).status]).toEqual([name, 400]);
    const info = await server.send("POST", "/sdapi/v1/png-info", { image });
    expect([name, info.status]).toEqual([name, 500]);
  }
});

test("what is served is our own PNG, whatever was sent", async () => {
  const smuggled = encodePng(grey(8, 8), { comment: "<script>alert(1)</script>" });
  const answer = await server.send("POST", "/jobs", {
    ...body,
    image: Buffer.from(smuggled).toString("base64"),
  });
  const { request } = (await answer.json()) as { request: { image: { url: string } } };
  const picture = await server.send("GET", request.image.url);
  expect(picture.headers.get("content-type")).toBe("image/png");
  expect(Buffer.from(await picture.arrayBuffer()).includes("script")).toBe(false);
});

test("names of pictures and models are never paths", async () => {
  for (const name of [
    "../journal.jsonl",
    "..%2F..%2Fjournal.jsonl",
    `${"a".repeat(64)}.png`,
    "settings.json",
    "%2e%2e%2fsettings.json",
    `../${"a".repeat(61)}.png`,
  ])
    expect([name, (await server.send("GET", `/images/${name}`)).status]).toEqual([name, 404]);
  for (const file of ["/../package.json", "/page.js/../../package.json", "/dist/index.js"])
    expect([file, (await server.send("GET", file)).status]).toEqual([file, 404]);
  for (const model of ["/etc", "../weights", "weights/emoji-diffusion-256", "__proto__", "constructor"]) {
    expect([model, (await server.send("POST", "/jobs", { ...body, model })).status]).toEqual([model, 404]);
    const override_settings = { sd_model_checkpoint: model };
    const a1111 = await server.send("POST", "/sdapi/v1/txt2img", { ...body, override_settings });
    expect([model, a1111.status]).toEqual([model, 404]);
  }
});

test("where paths may be prepared, no answer says what lies there; the log does", async () => {
  const open = await testServer({ paths: true });
  const secret = join(open.folder, "secret.safetensors");
  await writeFile(secret, "first bytes of something secret");
  for (const model of [secret, "/etc/passwd", join(open.folder, "absent"), "/etc"]) {
    const started = await open.send("POST", "/models/prepare", { model, precision: "fp32" });
    expect([model, started.status]).toEqual([model, 202]);
    const { id } = (await started.json()) as { id: string };
    let text = "";
    await expect
      .poll(async () => {
        text = await (await open.send("GET", `/models/prepare/${id}`)).text();
        return text;
      })
      .toContain('"failed"');
    const { log } = JSON.parse(text) as { log: string[] };
    expect(log).toEqual([`Looking for ${model}`, "This model cannot be used; the server's log says why"]);
    expect(await (await open.send("GET", "/models")).text()).not.toMatch(/first bytes|root:/);
  }
  expect(open.log.join("\n")).toContain("secret.safetensors");
});

test("without the operator's word paths cannot be prepared", async () => {
  for (const model of ["/etc", "../weights", "a/../../etc", "src/server", "./x/y", "C:\\models"]) {
    const answer = await server.send("POST", "/models/prepare", { model, precision: "fp32" });
    expect([model, answer.status]).toEqual([model, 403]);
  }
});

test("jobs beyond the limits are refused with the reason", async () => {
  const small = await testServer({
    limits: { resultPixels: 4096, work: 100_000, count: 4, promptLength: 10 },
  });
  for (const [changes, word] of [
    [{ width: 128 }, "pixels"],
    [{ steps: 100 }, "long"],
    [{ count: 5 }, "pictures"],
    [{ prompt: "x".repeat(11) }, "prompt"],
    [{ image: base64Png(grey(64, 64)), expand: { left: 64 }, width: undefined, height: undefined }, "pixels"],
    [{ hires: { scale: 4 } }, "pixels"],
  ] as const) {
    const answer = await small.send("POST", "/jobs", { ...body, ...changes });
    expect(answer.status).toBe(400);
    expect(JSON.stringify(await answer.json())).toContain(word);
  }
  expect((await small.send("POST", "/jobs", { ...body, steps: 2 })).status).toBe(202);
});

test("the log holds neither prompts nor secrets, and clients see no stack", async () => {
  const broken = await testServer({
    secret: "me:swordfish12",
    work: async () => {
      throw new TypeError("internals");
    },
  });
  const authorization = "Bearer swordfish12";
  const answer = await broken.send(
    "POST",
    "/sdapi/v1/txt2img",
    { ...body, prompt: "my secret" },
    { authorization },
  );
  const text = JSON.stringify(await answer.json());
  expect(answer.status).toBe(500);
  expect(text).not.toMatch(/internals|\.ts/);
  expect(broken.log.join()).toContain("internals");
  expect(broken.log.join()).not.toMatch(/my secret|swordfish/);
});

test("an API's refusals come in its own envelope", async () => {
  const image = base64Png(grey(200, 200));
  const openai = await server.send("POST", "/v1/images/generations", { prompt: "x", model: "nobody" });
  expect(openai.status).toBe(404);
  expect(await openai.json()).toEqual({
    error: {
      message: expect.any(String),
      type: "invalid_request_error",
      param: null,
      code: "model_not_found",
    },
  });
  const a1111 = await server.send("POST", "/sdapi/v1/img2img", { init_images: [image] });
  expect(await a1111.json()).toEqual({
    error: "HTTPException",
    detail: expect.stringMatching(/^Invalid encoded image: .*pixels/),
    body: "",
    errors: expect.stringContaining("pixels"),
  });
});
