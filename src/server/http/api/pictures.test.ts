import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { encodePng } from "../../../index.js";
import { grey, testServer } from "../../fixture.js";
import type { JobView } from "../answers.js";

const read = async (answer: Response) => (await answer.json()) as JobView;

/** A server that has made pictures by some requests, one job each. */
async function serverWith(bodies: readonly object[]) {
  const server = await testServer();
  const jobs: JobView[] = [];
  for (const body of bodies) {
    const { id } = await read(await server.send("POST", "/jobs", { width: 64, height: 64, ...body }));
    await server.parts.jobs.ended(id);
    jobs.push(await read(await server.send("GET", `/jobs/${id}`)));
  }
  return { ...server, made: jobs };
}

test("a small WebP of a picture keeps its shape, is never larger, and may be kept for ever", async () => {
  const { send, made } = await serverWith([{ prompt: "a dog", width: 512, height: 256 }]);
  const { key } = made[0]!.result!.images[0]!;
  const small = await send("GET", `/thumbnails/128/${key}.webp`);
  expect(small.headers.get("content-type")).toBe("image/webp");
  expect(small.headers.get("cache-control")).toContain("immutable");
  const size = async (answer: Response) => {
    const { width, height, format } = await sharp(await answer.arrayBuffer()).metadata();
    return [format, width, height];
  };
  expect(await size(small)).toEqual(["webp", 128, 64]);
  const { made: tiny, send: ask } = await serverWith([{ prompt: "a dog" }]);
  const { key: other } = tiny[0]!.result!.images[0]!;
  expect(await size(await ask("GET", `/thumbnails/256/${other}.webp`))).toEqual(["webp", 64, 64]);
  expect((await send("GET", `/thumbnails/100/${key}.webp`)).status).toBe(400);
  expect((await send("GET", `/thumbnails/128/${"0".repeat(64)}.webp`)).status).toBe(404);
  expect((await send("GET", "/thumbnails/128/..%2Fsettings.webp")).status).toBe(404);
});

test("favourites are kept with the server's settings", async () => {
  const { send, made } = await serverWith([{ prompt: "a dog" }]);
  const { key } = made[0]!.result!.images[0]!;
  const keys = async () => ((await (await send("GET", "/favourites")).json()) as { keys: string[] }).keys;
  expect((await send("PUT", `/favourites/${key}`)).status).toBe(204);
  await send("PUT", `/favourites/${key}`);
  expect(await keys()).toEqual([key]);
  expect((await send("PUT", `/favourites/${"0".repeat(64)}`)).status).toBe(404);
  expect((await send("DELETE", `/favourites/${key}`)).status).toBe(204);
  expect(await keys()).toEqual([]);
});

test("jobs are found by words, model, mode and favourites, page by page", async () => {
  const { send, made } = await serverWith([
    { prompt: "a red car", seed: 1 },
    { prompt: "a dog in the snow", negativePrompt: "red", seed: 2 },
    { prompt: "a Red dog", seed: 3, width: 72 },
  ]);
  const [car, snow, dog] = made.map(({ id }) => id);
  const find = async (query: Record<string, string>) => {
    const answer = await send("GET", `/jobs?${new URLSearchParams(query)}`);
    return ((await answer.json()) as { jobs: JobView[] }).jobs.map(({ id }) => id);
  };
  expect(await find({ search: "red" })).toEqual([dog, snow, car]);
  expect(await find({ search: "DOG red" })).toEqual([dog, snow]);
  expect(await find({ search: "red", limit: "1" })).toEqual([dog]);
  expect(await find({ search: "red", limit: "1", before: dog! })).toEqual([snow]);
  expect(await find({ search: "cat" })).toEqual([]);
  expect(await find({ mode: "text" })).toEqual([dog, snow, car]);
  expect(await find({ mode: "inpaint" })).toEqual([]);
  expect(await find({ model: "emoji-diffusion-256" })).toEqual([dog, snow, car]);
  expect(await find({ model: "emoji" })).toEqual([]);
  await send("PUT", `/favourites/${made[2]!.result!.images[0]!.key}`);
  expect(await find({ favourites: "true" })).toEqual([dog]);
  expect((await send("GET", "/jobs?mode=dreams")).status).toBe(400);
});

test("LoRAs come with the picture that lies beside them, and with nothing else of the disk", async () => {
  const loraDir = await mkdtemp(join(tmpdir(), "loras-"));
  for (const name of ["toy style", "bare"]) await writeFile(join(loraDir, `${name}.safetensors`), "");
  await writeFile(join(loraDir, "toy style.preview.png"), encodePng(grey(300, 600)));
  await writeFile(join(loraDir, "secret.png"), encodePng(grey(8, 8)));
  const { send } = await testServer({ loraDir });
  const { loras } = (await (await send("GET", "/loras")).json()) as { loras: object[] };
  expect(loras).toEqual([
    { name: "bare" },
    { name: "toy style", preview: "/previews/lora/toy%20style.webp" },
  ]);
  const picture = await send("GET", "/previews/lora/toy%20style.webp");
  const { format, width, height } = await sharp(await picture.arrayBuffer()).metadata();
  expect([format, width, height]).toEqual(["webp", 256, 256]);
  for (const name of ["bare", "secret", "..%2Fsecret", "none"])
    expect((await send("GET", `/previews/lora/${name}.webp`)).status).toBe(404);
});
