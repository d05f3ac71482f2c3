import { createServer, type IncomingMessage, type Server } from "node:http";
import {
  type AddressInfo,
  connect,
  createServer as createSocketServer,
  type Server as SocketServer,
} from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { proxyFor, request } from "./transport.js";

const open: (Server | SocketServer)[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

async function port(server: Server | SocketServer): Promise<number> {
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

async function body(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += chunk;
  return text;
}

describe("proxyFor", () => {
  const proxy = "http://proxy:3128/";
  it.each([
    ["https://hub.test/x", { HTTPS_PROXY: "http://proxy:3128" }, proxy],
    ["https://hub.test/x", { https_proxy: "proxy:3128" }, proxy],
    ["https://hub.test/x", { HTTP_PROXY: "http://proxy:3128" }, undefined],
    ["http://hub.test/x", { HTTP_PROXY: "http://proxy:3128" }, proxy],
    ["http://hub.test/x", { ALL_PROXY: "http://proxy:3128" }, proxy],
    ["https://hub.test/x", { HTTPS_PROXY: "" }, undefined],
    ["https://hub.test/x", { HTTPS_PROXY: proxy, NO_PROXY: "*" }, undefined],
    ["https://hub.test/x", { HTTPS_PROXY: proxy, NO_PROXY: "a.test, hub.test" }, undefined],
    ["https://cdn.hub.test/x", { HTTPS_PROXY: proxy, no_proxy: ".hub.test" }, undefined],
    ["https://cdn.hub.test/x", { HTTPS_PROXY: proxy, NO_PROXY: "*.HUB.test" }, undefined],
    ["https://myhub.test/x", { HTTPS_PROXY: proxy, NO_PROXY: "hub.test" }, proxy],
    ["https://hub.test:8443/x", { HTTPS_PROXY: proxy, NO_PROXY: "hub.test:443" }, proxy],
    ["https://hub.test/x", { HTTPS_PROXY: proxy, NO_PROXY: "hub.test:443" }, undefined],
    ["http://[::1]:80/x", { HTTP_PROXY: proxy, NO_PROXY: "[::1]" }, undefined],
  ])("%s with %j: %s", (url, env: NodeJS.ProcessEnv, expected) => {
    expect(proxyFor(new URL(url), env)?.href).toBe(expected);
  });

  it("refuses what it cannot speak to", () => {
    const env = { HTTPS_PROXY: "socks5://proxy:1080" };
    expect(() => proxyFor(new URL("https://hub.test"), env)).toThrow("socks5:");
  });
});

describe("request through a proxy", () => {
  const options = (at: number) => ({
    timeout: 5000,
    env: {
      HTTP_PROXY: `http://user:p%40ss@127.0.0.1:${at}`,
      HTTPS_PROXY: `http://user:p%40ss@127.0.0.1:${at}`,
    },
  });
  const authorization = `Basic ${Buffer.from("user:p@ss").toString("base64")}`;

  it("sends plain requests whole, with the host of the target", async () => {
    const proxy = createServer((req, res) =>
      res.end(
        JSON.stringify([
          req.url,
          req.headers.host,
          req.headers["proxy-authorization"],
          req.headers.authorization ?? "none",
        ]),
      ),
    );
    const response = await request(new URL("http://hub.test/a?b=c"), options(await port(proxy)));
    expect(JSON.parse(await body(response))).toEqual([
      "http://hub.test/a?b=c",
      "hub.test",
      authorization,
      "none",
    ]);
  });

  it("opens a tunnel for https, speaks TLS through it, and keeps the headers out of the proxy's sight", async () => {
    let firstByte: number | undefined;
    const target = await port(
      createSocketServer((socket) =>
        socket.once("data", (data) => {
          firstByte = data[0];
          socket.destroy();
        }),
      ),
    );
    const asked: unknown[] = [];
    const proxy = createServer().on("connect", (req, socket) => {
      asked.push(req.url, req.headers["proxy-authorization"], req.headers.authorization);
      const onward = connect(target, "127.0.0.1", () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
      socket.pipe(onward).pipe(socket);
      for (const end of [socket, onward]) end.on("error", () => undefined);
    });
    const sent = request(new URL("https://hub.test/a"), {
      ...options(await port(proxy)),
      headers: { authorization: "Bearer secret" },
    });
    await expect(sent).rejects.toThrow();
    expect(asked).toEqual(["hub.test:443", authorization, undefined]);
    expect(firstByte).toBe(0x16); // a TLS handshake record
  });

  it("says what the proxy refused", async () => {
    const proxy = createServer().on("connect", (_, socket) =>
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
    );
    await expect(request(new URL("https://hub.test/"), options(await port(proxy)))).rejects.toMatchObject({
      code: "DOWNLOAD",
      message: expect.stringMatching(/proxy 127\.0\.0\.1:\d+ answered 407 for hub\.test:443/),
    });
  });
});

describe("request", () => {
  it("does not follow redirects and gives up on silence", async () => {
    const at = await port(
      createServer((req, res) => req.url === "/r" && res.writeHead(302, { location: "/x" }).end()),
    );
    const response = await request(new URL(`http://127.0.0.1:${at}/r`), { timeout: 5000, env: {} });
    expect(response.statusCode).toBe(302);
    response.resume();
    const silent = request(new URL(`http://127.0.0.1:${at}/s`), { timeout: 50, env: {} });
    await expect(silent).rejects.toMatchObject({ code: "ETIMEDOUT" });
  });

  it("rejects with the signal's reason", async () => {
    const at = await port(createServer(() => undefined));
    const abort = new AbortController();
    const sent = request(new URL(`http://127.0.0.1:${at}/`), {
      timeout: 5000,
      env: {},
      signal: abort.signal,
    });
    setTimeout(() => abort.abort(new Error("stop")), 20);
    await expect(sent).rejects.toThrow("stop");
  });
});
