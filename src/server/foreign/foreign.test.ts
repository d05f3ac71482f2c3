import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { encodePng } from "../../index.js";
import { goldenPath } from "../../testing/golden.js";
import { base64Png, grey, type TestServer, testServer } from "../fixture.js";
import { decodeBase64, Foreign } from "./foreign.js";

const servers: TestServer[] = [];
const started = async (...options: Parameters<typeof testServer>): Promise<TestServer> => {
  const server = await testServer(...options);
  servers.push(server);
  return server;
};
afterEach(() => {
  for (const { parts } of servers.splice(0)) parts.foreign.dispose();
});

const storedIn = async ({ folder }: TestServer): Promise<string[]> => {
  const all = await readdir(join(folder, "images"), { recursive: true }).catch(() => []);
  return all.filter((name) => name.endsWith(".png"));
};
/** What is refused by what the headers say is not decoded. */
function forbidDecoding({ parts: { foreign } }: TestServer): void {
  const ofRequest = foreign.ofRequest.bind(foreign);
  foreign.ofRequest = () => ({ ...ofRequest(), make: () => expect.fail("a picture was decoded") });
}
const posted = (server: TestServer, body: object) =>
  server.send("POST", "/jobs", { prompt: "", steps: 2, ...body });

test("while many pictures of a request are decoded, the server answers others", async () => {
  const server = await started({ limits: { requestPixels: 2 ** 26 } });
  const images = Array<string>(8).fill(base64Png(grey(2048, 2048)));
  let answered = 0;
  let waits = true;
  const accepted = posted(server, { images, width: 64, height: 64 }).finally(() => {
    waits = false;
  });
  while (waits) {
    await server.send("GET", "/health");
    answered++;
    await nextTurn();
  }
  expect((await accepted).status).toBe(202);
  // Decoded here, one picture would hold it up at a time, and few answers come in between.
  expect(answered).toBeGreaterThan(10 * images.length);
});

test("256 pictures are refused by their number, and by their pixels together", async () => {
  const server = await started();
  const huge = base64Png(grey(2048, 2048));
  const many = await posted(server, { images: Array<string>(256).fill(huge) });
  expect([many.status, await many.json()]).toMatchObject([
    400,
    { error: { code: "TOO_LARGE", message: "256 pictures in one job are too many" } },
  ]);
  forbidDecoding(server);
  const fewer = await posted(server, { images: Array<string>(32).fill(huge), width: 64, height: 64 });
  expect([fewer.status, await fewer.json()]).toMatchObject([
    400,
    { error: { code: "TOO_LARGE", message: expect.stringContaining("pixels together") } },
  ]);
  expect(await storedIn(server)).toEqual([]);
});

test("the mask of a ControlNet counts among the pixels of a request", async () => {
  const controlDir = goldenPath("models");
  const server = await started({ controlDir, limits: { requestPixels: 1.5 * 2048 ** 2 } });
  const picture = base64Png(grey(2048, 2048));
  forbidDecoding(server);
  const control = { model: "tiny-controlnet", image: picture, mask: picture };
  const answer = await posted(server, { controlnet: [control], width: 64, height: 64 });
  expect([answer.status, await answer.json()]).toMatchObject([
    400,
    { error: { code: "TOO_LARGE", message: expect.stringContaining("pixels together") } },
  ]);
});

test("there are at most as many images as pictures", async () => {
  const server = await started();
  const answer = await posted(server, {
    images: [1, 2, 3].map((value) => base64Png(grey(64, 64, value))),
    count: 2,
  });
  expect([answer.status, await answer.json()]).toMatchObject([
    400,
    { error: { message: "3 images for 2 pictures are too many" } },
  ]);
});

test("a picture that takes too long ends its decoder, and the next one is decoded", async () => {
  const foreign = new Foreign({ imagePixels: 2 ** 26, requestPixels: 2 ** 26, pictureMs: 1500 });
  try {
    const slow = encodePng(grey(8192, 8192));
    const [late, next] = await Promise.allSettled([
      foreign.ofRequest().make("plain", slow),
      foreign.ofRequest().make("plain", encodePng(grey(4, 2))),
    ]);
    expect(late).toMatchObject({
      reason: { code: "BAD_IMAGE", message: expect.stringContaining("longer than 1.5 s") },
    });
    expect(next).toMatchObject({ value: { width: 4, height: 2 } });
  } finally {
    foreign.dispose();
  }
});

test("the process that decodes knows no secrets, and is given up when nothing is to do", async () => {
  const before = process.env.TFJS_DIFFUSION_AUTH;
  process.env.TFJS_DIFFUSION_AUTH = "somebody:secret-of-the-test";
  const foreign = new Foreign({ imagePixels: 2 ** 22, requestPixels: 2 ** 22, idleMs: 50 });
  try {
    await foreign.ofRequest().make("plain", encodePng(grey(4, 2)));
    await expect(foreign.ofRequest().make("plain", Buffer.from("no picture"))).rejects.toMatchObject({
      code: "BAD_IMAGE",
    });
    expect(foreign.surroundings).not.toHaveProperty("TFJS_DIFFUSION_AUTH");
    expect(foreign.isIdle).toBe(false);
    await expect.poll(() => foreign.isIdle).toBe(true);
  } finally {
    foreign.dispose();
    if (before === undefined) delete process.env.TFJS_DIFFUSION_AUTH;
    else process.env.TFJS_DIFFUSION_AUTH = before;
  }
});

test("base64 is read as clients write it: data: URLs of any kind, the alphabet of URLs, line breaks", () => {
  const bytes = Uint8Array.from({ length: 100 }, (_, i) => 255 - i);
  const plain = Buffer.from(bytes).toString("base64");
  const lines = plain.replace(/.{40}/g, "$&\r\n");
  for (const text of [
    ...[plain, ` ${plain}\n`, lines, plain.replace(/=+$/, ""), Buffer.from(bytes).toString("base64url")],
    ...["image/png", "image/svg+xml", "application/octet-stream", "image/png;charset=utf-8", ""].map(
      (kind) => `data:${kind};base64,${plain}`,
    ),
    `DATA:image/png;BASE64,${lines}`,
  ])
    expect([text, [...decodeBase64(text)]]).toEqual([text, [...bytes]]);
});

test.each([
  ["http://127.0.0.1/a.png", "addresses are not fetched"],
  ["file:///etc/passwd", "addresses are not fetched"],
  ["data:image/png,%89PNG", "only those in base64 are read"],
  ["data:image/png;base64,", "Invalid encoded image"],
  ["", "Invalid encoded image"],
  ["not base64!", "Invalid encoded image"],
])("%s is refused", (text, words) => {
  expect(() => decodeBase64(text)).toThrow(words);
});
