import { mkdtemp, readFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { decodePng, encodePng, generate, readImage } from "../../index.js";
import { goldenExtra, goldenPath } from "../../testing/golden.js";
import { base64Png, grey } from "../fixture.js";
import type { GenerateView, JobView } from "../http/answers.js";
import { type RunningServer, serve } from "../main.js";

// Real models on a machine that may be busy.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 60_000 });

/** The whole server with the default models, through a socket. */
let server: RunningServer;
let dataDir: string;
const start = () => serve({ port: 0, dataDir, graceMs: 0 });
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "serve-"));
  server = await start();
});
afterAll(() => server.close());

const body = { prompt: "a dog", width: 64, height: 64, steps: 2, seed: 5 };
const post = (path: string, request: object) =>
  fetch(`${server.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  });
const dog = () => generate({ ...body, guidance: 7, scheduler: { sampler: "Euler" } });

test("AUTOMATIC1111: the picture of the library, pixel by pixel, with its parameters", async () => {
  const answer = await post("/sdapi/v1/txt2img", { ...body, sampler_name: "Euler", cfg_scale: 7 });
  const { images } = (await answer.json()) as { images: string[] };
  const { image, text } = decodePng(Buffer.from(images[0]!, "base64"));
  const expected = (await dog()).images[0]!;
  expect(Buffer.from(image.data).equals(Buffer.from(expected.data))).toBe(true);
  expect(text.parameters).toMatch(
    /^a dog\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 5, Size: 64x64, Model: emoji-diffusion-256, RNG: CPU/,
  );
});

test("a LoRA that there is not: AUTOMATIC1111's API draws without it and says so, the others refuse it by its name", async () => {
  const prompt = "a dog <lora:nonsense:1>";
  const asked = { ...body, prompt, sampler_name: "Euler", cfg_scale: 7 };
  const answer = await post("/sdapi/v1/txt2img", asked);
  const { images, info } = (await answer.json()) as { images: string[]; info: string };
  const { image, text } = decodePng(Buffer.from(images[0]!, "base64"));
  const without = await generate({ ...body, prompt: "a dog ", guidance: 7, scheduler: { sampler: "Euler" } });
  expect(Buffer.from(image.data).equals(Buffer.from(without.images[0]!.data))).toBe(true);
  expect(text.parameters).toMatch(/^a dog <lora:nonsense:1>\nSteps: 2,/);
  expect(JSON.parse(info)).toMatchObject({
    prompt,
    all_prompts: [prompt],
    infotexts: [text.parameters],
    comments: ["Networks not found: nonsense"],
  });
  const refused = await post("/v1/images/generations", { prompt, size: "64x64", steps: 1 });
  expect([refused.status, await refused.json()]).toEqual([
    400,
    { error: expect.objectContaining({ message: expect.stringContaining("there is no LoRA nonsense") }) },
  ]);
  const { id } = (await (await post("/jobs", { ...body, prompt })).json()) as JobView;
  await (await fetch(`${server.url}/jobs/${id}/events`)).text();
  const job = (await (await fetch(`${server.url}/jobs/${id}`)).json()) as JobView;
  expect(job).toMatchObject({ status: "failed", error: { message: "there is no LoRA nonsense" } });
});

test("AUTOMATIC1111: inpainting keeps what is not masked", async () => {
  const [image, mask] = [grey(64, 64, 200), grey(64, 64, 0)];
  mask.data.fill(255, 0, 64 * 32 * 3);
  const answer = await post("/sdapi/v1/img2img", {
    ...body,
    init_images: [base64Png(image)],
    mask: base64Png(mask),
    mask_blur: 0,
    inpainting_fill: 1,
    inpaint_full_res: false,
    sampler_name: "DDIM",
  });
  const { images, error } = (await answer.json()) as { images: string[]; error?: string };
  expect(error).toBeUndefined();
  const result = await readImage(Buffer.from(images[0]!, "base64"));
  const kept = result.data.subarray(64 * 32 * 3);
  expect(kept.every((value) => value === 200)).toBe(true);
  expect(result.data.subarray(0, 64 * 32 * 3).some((value) => value !== 200)).toBe(true);
});

test("AUTOMATIC1111: on a picture, half of four steps are three, and the parameters say half", async () => {
  const image = grey(64, 64, 200);
  const some = { ...body, steps: 4, sampler_name: "Euler", cfg_scale: 7, denoising_strength: 0.5 };
  const answer = await post("/sdapi/v1/img2img", { ...some, init_images: [base64Png(image)] });
  const { images } = (await answer.json()) as { images: string[] };
  const { image: made, text } = decodePng(Buffer.from(images[0]!, "base64"));
  const options = { ...body, steps: 4, guidance: 7, scheduler: { sampler: "Euler" } } as const;
  const expected = await generate({ ...options, image, strength: 0.75 });
  expect(Buffer.from(made.data).equals(Buffer.from(expected.images[0]!.data))).toBe(true);
  expect(text.parameters).toContain("Denoising strength: 0.5,");
});

interface WebuiClient {
  readonly SamplingMethod: Record<string, string>;
  default(options: { apiUrl: string }): Record<"txt2img" | "img2img", Call<{ images: string[] }>> & {
    readonly pngInfo: Call<object>;
  };
}
type Call<T> = (options: object) => Promise<T>;

test("a published client for the web UI works unchanged, as its own examples show", async () => {
  // Its package does not lead TypeScript to its types.
  const name: string = "node-sd-webui";
  const { default: connect, SamplingMethod } = (await import(name)) as WebuiClient;
  const client = connect({ apiUrl: server.url });
  const { images } = await client.txt2img({
    prompt: "a dog",
    negativePrompt: "blurry, cartoon, drawing, illustration",
    samplingMethod: SamplingMethod.Euler_A!,
    width: 64,
    height: 64,
    steps: 2,
    seed: 5,
    batchSize: 2,
    variationSeed: 6,
    variationSeedStrength: 0.1,
    restoreFaces: false,
  });
  expect(images).toHaveLength(2);
  const larger = await client.txt2img({
    prompt: "a dog",
    width: 64,
    height: 64,
    steps: 2,
    hires: { denoisingStrength: 0.6, upscaler: "Latent", upscaleBy: 2, steps: 2 },
  });
  expect(await readImage(Buffer.from(larger.images[0]!, "base64"))).toMatchObject({ width: 128 });
  const again = await client
    .img2img({ imageData: images, prompt: "a cat", width: 64, height: 64, steps: 2 })
    .catch((error: Error) => error.message);
  expect(again).toBe("Unprocessable Entity"); // one picture at a time is what there is
  const [first] = images;
  const varied = await client.img2img({
    imageData: [first!],
    prompt: "a cat",
    width: 64,
    height: 64,
    steps: 4,
  });
  expect(await readImage(Buffer.from(varied.images[0]!, "base64"))).toMatchObject({ width: 64, height: 64 });
  expect(await client.pngInfo({ imageData: first! })).toMatchObject({
    prompt: "a dog",
    negativePrompt: "blurry, cartoon, drawing, illustration",
    samplingMethod: "Euler a",
    steps: 2,
    seed: 5,
    width: 64,
    height: 64,
  });
});

test("OpenAI's own client works unchanged: generations, streaming, edits", async () => {
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused" });
  const generated = await client.images.generate({
    model: "gpt-image-1",
    prompt: "a dog",
    size: "256x256",
    quality: "low",
  });
  const picture = Buffer.from(generated.data![0]!.b64_json!, "base64");
  expect(await readImage(picture)).toMatchObject({ width: 256, height: 256 });
  const stream = await client.images.generate({
    model: "gpt-image-1",
    prompt: "a dog",
    size: "256x256",
    quality: "low",
    stream: true,
    partial_images: 2,
  });
  const types: string[] = [];
  for await (const event of stream) types.push(event.type);
  expect(types).toEqual([
    "image_generation.partial_image",
    "image_generation.partial_image",
    "image_generation.completed",
  ]);
  const edited = await client.images.edit({
    model: "gpt-image-1",
    prompt: "a cat",
    quality: "low",
    image: await toFile(encodePng(grey(64, 64)), "dog.png", { type: "image/png" }),
  });
  expect(edited.data).toHaveLength(1);
  await expect(client.images.generate({ model: "nobody", prompt: "x" })).rejects.toMatchObject({
    status: 404,
    code: "model_not_found",
  });
});

test("native jobs: a grid, outpainting, unconditional and upscaling, kept over a restart", async () => {
  const wait = async (request: object) => {
    const { id } = (await (await post("/jobs", request)).json()) as { id: string };
    for (;;) {
      const job = (await (await fetch(`${server.url}/jobs/${id}`)).json()) as {
        status: string;
        error?: object;
        result?: { images: { url: string; key: string; seed: string }[] };
      };
      if (!["queued", "running"].includes(job.status)) return { id, ...job };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const image = base64Png(grey(64, 64));
  const grid = { x: { option: "guidance", values: [1, 5] }, y: { option: "steps", values: [1, 2] } };
  const cells = await wait({ ...body, seed: undefined, grid });
  expect(cells).toMatchObject({ status: "completed" });
  const [, , , last] = cells.result!.images;
  const alone = await wait({ ...body, guidance: 5, steps: 2, seed: last!.seed });
  expect(alone.result!.images[0]!.key).toBe(last!.key);
  expect(new Set(cells.result!.images.map(({ seed }) => seed)).size).toBe(1);
  expect(new Set(cells.result!.images.map(({ key }) => key)).size).toBe(4);
  const grown = await wait({ prompt: "grass", image, expand: { left: 32 }, steps: 2 });
  expect(grown).toMatchObject({ status: "completed", result: { width: 96, height: 64 } });
  const butterfly = await wait({ model: "butterflies-64", steps: 2, scheduler: "ddim", count: 2 });
  expect(butterfly).toMatchObject({ status: "completed", result: { width: 64, height: 64 } });
  const large = await wait({ kind: "upscale", image, scale: 2 });
  expect(large).toMatchObject({ status: "completed", result: { width: 128, height: 128 } });
  const refused = await post("/jobs", { ...body, width: 60 });
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({ error: { code: "BAD_OPTION", hint: expect.any(String) } });

  await server.close();
  server = await start();
  const { jobs } = (await (await fetch(`${server.url}/jobs`)).json()) as {
    jobs: { id: string; status: string }[];
  };
  expect(jobs.slice(0, 3).map(({ id, status }) => [id, status])).toEqual([
    [large.id, "completed"],
    [butterfly.id, "completed"],
    [grown.id, "completed"],
  ]);
  const again = await fetch(`${server.url}${large.result!.images[0]!.url}`);
  expect(await readImage(new Uint8Array(await again.arrayBuffer()))).toMatchObject({ width: 128 });
});

test("AUTOMATIC1111: interrupt and skip give what there is by then", async () => {
  const long = { ...body, width: 256, height: 256, steps: 900, batch_size: 2 };
  const waiting = post("/sdapi/v1/txt2img", long);
  const state = async () => {
    const answer = await fetch(`${server.url}/sdapi/v1/progress?skip_current_image=true`);
    return ((await answer.json()) as { state: Record<string, number | boolean> }).state;
  };
  const running = (image: number) =>
    expect
      .poll(state, { timeout: 60_000 })
      .toSatisfy(
        ({ job_no, sampling_step }: Record<string, number>) => job_no === image && sampling_step! > 1,
      );
  await running(0);
  await post("/sdapi/v1/skip", {});
  await running(1);
  expect(await state()).toMatchObject({ interrupted: false });
  await post("/sdapi/v1/interrupt", {});
  const { images, info } = (await (await waiting).json()) as { images: string[]; info: string };
  expect(await state()).toMatchObject({ interrupted: true });
  const made = images.map((image) => decodePng(Buffer.from(image, "base64")).image);
  expect(made).toMatchObject([{ width: 256 }, { width: 256 }]);
  for (const { data } of made) expect(new Set(data).size).toBeGreaterThan(50);
  const { infotexts } = JSON.parse(info) as { infotexts: string[] };
  for (const text of infotexts) expect(text).toContain("Interrupted: true");
});

test("a client that hangs up stops its generation", async () => {
  const leave = new AbortController();
  const waiting = fetch(`${server.url}/sdapi/v1/txt2img`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, width: 256, height: 256, steps: 900 }),
    signal: leave.signal,
  });
  waiting.catch(() => {});
  const first = async () => {
    const answer = await fetch(`${server.url}/jobs?limit=1`);
    return ((await answer.json()) as { jobs: { status: string; progress?: { step: number } }[] }).jobs[0]!;
  };
  while (!((await first()).progress?.step ?? 0)) await new Promise((resolve) => setTimeout(resolve, 20));
  leave.abort();
  while ((await first()).status === "running") await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await first()).status).toBe("cancelled");
});

test("a Host header of another name is refused on the socket, too", async () => {
  const status = await new Promise<number>((resolve, reject) => {
    const { port } = new URL(server.url);
    request(
      { host: "127.0.0.1", port, path: "/jobs", headers: { host: `rebound.example:${port}` } },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    )
      .on("error", reject)
      .end();
  });
  expect(status).toBe(403);
});

test("requests without a body, and bodies that do not say their length", async () => {
  expect((await fetch(`${server.url}/jobs/nobody`, { method: "DELETE" })).status).toBe(404);
  const chunked = (text: string) =>
    fetch(`${server.url}/tokens`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: new Blob([text]).stream(),
      duplex: "half",
    } as RequestInit);
  expect((await chunked(JSON.stringify({ text: "a dog" }))).status).toBe(200);
  const endless = await chunked(" ".repeat(60 * 2 ** 20)).catch(() => ({ status: 413 }));
  expect(endless.status).toBeGreaterThanOrEqual(400);
  expect(endless.status).toBeLessThan(500);
});

test("listening to others without a secret is refused at the start", async () => {
  for (const listen of ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
    await expect(serve({ port: 0, dataDir, listen })).rejects.toMatchObject({ code: "BAD_OPTION" });
  await expect(serve({ port: 0, dataDir, auth: "short" })).rejects.toMatchObject({ code: "BAD_OPTION" });
});

test("a model prepared in another precision appears on the list and stays there", async () => {
  const started = await post("/models/prepare", { model: "butterflies-64", precision: "fp16" });
  const { id } = (await started.json()) as { id: string };
  let state = { status: "running", log: [] as string[], label: "" };
  while (state.status === "running") {
    await new Promise((resolve) => setTimeout(resolve, 50));
    state = (await (await fetch(`${server.url}/models/prepare/${id}`)).json()) as typeof state;
  }
  expect(state).toMatchObject({ status: "done", label: "butterflies-64 CPU FP16" });
  await server.close();
  server = await start();
  const { models } = (await (await fetch(`${server.url}/models`)).json()) as { models: { label: string }[] };
  expect(models.map(({ label }) => label)).toContain("butterflies-64 CPU FP16");
  const answer = await post("/jobs", { model: "butterflies-64 CPU FP16", steps: 1, scheduler: "ddim" });
  expect(answer.status).toBe(202);
});

test("POST /jobs: pictures of an IP-Adapter act as in the library, and its picture says so", async () => {
  const folder = await mkdtemp(join(tmpdir(), "serve-ip-"));
  const own = await serve({
    ...{ port: 0, graceMs: 0, dataDir: join(folder, "data"), model: goldenPath("models/tiny-sd1") },
    ipAdapterDir: goldenExtra("ip-adapter"),
  });
  try {
    const images = ["wide.png", "tall.png"].map((name) => goldenExtra(`ip-adapter/${name}`));
    const base = { prompt: "a dog", width: 32, height: 32, steps: 2, seed: 5 };
    const seen = { scale: 0.7, end: 0.5 };
    const base64 = await Promise.all(images.map((path) => readFile(path, "base64")));
    const make = async (more: object) => {
      const answer = await fetch(`${own.url}/jobs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...base, ...more }),
      });
      const { id } = (await answer.json()) as { id: string };
      await (await fetch(`${own.url}/jobs/${id}/events`)).text();
      const job = (await (await fetch(`${own.url}/jobs/${id}`)).json()) as JobView;
      expect(job.error).toBeUndefined();
      return {
        job,
        ...decodePng(new Uint8Array(await (await fetch(own.url + job.result!.images[0]!.url)).arrayBuffer())),
      };
    };
    const made = await make({ ipAdapter: [{ model: "plus", image: base64, ...seen }] });
    expect(made.text.parameters).toContain(
      'IP-Adapter 0: "Model: plus.safetensors, Weight: 0.7, Guidance Start: 0, Guidance End: 0.5"',
    );
    const [shown] = (made.job.request as GenerateView).ipAdapter!;
    for (const { url } of shown!.image) expect((await fetch(own.url + url)).status).toBe(200);
    const model = goldenPath("models/tiny-sd1");
    const ipAdapter = { model: goldenExtra("ip-adapter/plus.safetensors"), image: images, ...seen };
    const expected = (await generate({ ...base, model, rng: "torch", ipAdapter })).images[0]!;
    expect(Buffer.from(made.image.data).equals(Buffer.from(expected.data))).toBe(true);
    expect((await make({})).image.data).not.toEqual(made.image.data);
  } finally {
    await own.close();
  }
});
