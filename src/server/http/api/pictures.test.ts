import { cp, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { expect, test } from "vitest";
import { decodePng, describeLearnedWord, encodePng } from "../../../index.js";
import { goldenPath } from "../../../testing/golden.js";
import { grey, testServer } from "../../fixture.js";
import { libraryOptions } from "../../jobs/library-options.js";
import { namedFiles } from "../../jobs/named-files.js";
import { pictureKeys, type StoredGenerate } from "../../requests/request.js";
import type { GenerateView, JobView } from "../answers.js";

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

test("ControlNets, IP-Adapters and learned words come with theirs, each from its own folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), "beside-"));
  const [controlDir, ipAdapterDir, embeddingsDir] = ["controls", "adapters", "words"].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  for (const path of [join(controlDir, "edges_v1.1"), join(ipAdapterDir, "image_encoder"), embeddingsDir])
    await mkdir(path, { recursive: true });
  for (const path of [join(controlDir, "edges_v1.1"), join(ipAdapterDir, "image_encoder")])
    await writeFile(join(path, "config.json"), "{}");
  await writeFile(join(ipAdapterDir, "image_encoder", "model.safetensors"), "");
  await writeFile(join(ipAdapterDir, "style.safetensors"), "");
  await writeFile(join(embeddingsDir, "broken.pt"), "");
  await cp(goldenPath("adapters/ti-diffusers-multi.safetensors"), join(embeddingsDir, "inky.safetensors"));
  for (const path of [join(controlDir, "edges_v1.1"), join(embeddingsDir, "inky")])
    await writeFile(`${path}.png`, encodePng(grey(64, 64)));
  const { send, parts } = await testServer({ controlDir, ipAdapterDir, embeddingsDir });
  const get = async (path: string) => (await send("GET", path)).json();
  const { controls, preprocessors } = (await get("/controls")) as Record<string, unknown>;
  expect(controls).toEqual([{ name: "edges_v1.1", preview: "/previews/control/edges_v1.1.webp" }]);
  expect(preprocessors).toContain("canny");
  // The folder of its image encoder is no adapter.
  expect(await get("/ip-adapters")).toEqual({ ipAdapters: [{ name: "style" }] });
  expect(await get("/embeddings")).toEqual({
    embeddings: [{ name: "broken" }, { name: "inky", preview: "/previews/embed/inky.webp" }],
  });
  for (const [path, status] of [
    ["control/edges_v1.1", 200],
    ["embed/inky", 200],
    ["lora/inky", 404],
    ["toString/inky", 404],
  ] as const)
    expect([path, (await send("GET", `/previews/${path}.webp`)).status]).toEqual([path, status]);
  const { vectors, width } = describeLearnedWord(join(embeddingsDir, "inky.safetensors"));
  expect(await get("/sdapi/v1/embeddings")).toMatchObject({ loaded: { inky: { vectors, shape: width } } });
  const count = async (text: string) =>
    ((await (await send("POST", "/tokens", { text })).json()) as { tokens: number }).tokens;
  expect(await count("a fox, INKY")).toBe((await count("a fox,")) + vectors);
  const request = { kind: "generate", model: "m", count: 1, prompt: "<lora:broken:1> Inky fox" } as const;
  expect(await namedFiles(request, parts.models)).toEqual([
    { kind: "embed", name: "inky", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
  ]);
});

test("the holes of a ControlNet's picture are kept and shown as the picture is, and reach the library", async () => {
  const controlDir = await mkdtemp(join(tmpdir(), "controls-"));
  await cp(goldenPath("models/tiny-controlnet"), join(controlDir, "inpaint"), { recursive: true });
  const { send, parts, ran } = await testServer({ controlDir });
  const [image, mask] = [encodePng(grey(64, 64, 90)), encodePng(grey(64, 64, 255))];
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64");
  const control = { model: "inpaint", image: text(image), mask: text(mask) };
  const { id } = await read(await send("POST", "/jobs", { prompt: "a", controlnet: [control] }));
  await parts.jobs.ended(id);
  const { request } = await read(await send("GET", `/jobs/${id}`));
  const [shown] = (request as GenerateView).controlnet!;
  const whole = async ({ url }: { url: string }) =>
    decodePng(Buffer.from(await (await send("GET", url)).arrayBuffer())).image.data;
  expect(await whole(shown!.image)).toEqual(decodePng(image).image.data);
  expect(await whole(shown!.mask!)).toEqual(decodePng(mask).image.data);
  const [stored] = ran as StoredGenerate[];
  expect(pictureKeys(stored!)).toHaveLength(2);
  const options = await libraryOptions(stored!, parts.models, (key) => parts.images.get(key));
  const [given] = options.controlnet!;
  expect(decodePng(given!.mask as Buffer).image.data).toEqual(decodePng(mask).image.data);
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
