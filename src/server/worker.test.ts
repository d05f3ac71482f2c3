import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { decodePng, encodePng, StableDiffusion } from "../index.js";
import { goldenPath } from "../testing/golden.js";
import { hasRedis, type RedisServer, startRedis } from "../testing/redis-server.js";
import { base64Png, grey } from "./fixture.js";
import type { JobView } from "./http/answers.js";
import { type RunningServer, serve } from "./main.js";
import { startWorker } from "./worker.js";

// Real (tiny) models on a machine that may be busy.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 60_000 });
if (!hasRedis) console.warn("skipped: redis-server is not installed (apt-get install redis-server)");

const source = goldenPath("models/tiny-sd1");
const folders = { loraDir: goldenPath("adapters"), vaeDir: otherAutoencoder() };
const request = { prompt: "a cat", seed: 1, steps: 2, promptSyntax: "a1111" } as const;

/** A folder with the model's autoencoder under the name "vae", made for latents of another scale. */
function otherAutoencoder(): string {
  const folder = mkdtempSync(join(tmpdir(), "autoencoders-"));
  cpSync(join(source, "vae"), join(folder, "vae"), { recursive: true });
  const path = join(folder, "vae", "config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...config, scaling_factor: config.scaling_factor / 2 }));
  return folder;
}

describe.skipIf(!hasRedis)("LoRAs and autoencoders on a shared queue", () => {
  let redis: RedisServer;
  let server: RunningServer;
  let shared: { queue: string; dataDir: string; models: string };
  beforeAll(async () => {
    redis = await startRedis();
    const dataDir = await mkdtemp(join(tmpdir(), "worker-"));
    shared = { queue: redis.url, dataDir, models: goldenPath("models") };
    server = await serve({ port: 0, graceMs: 0, ...shared, ...folders });
  });
  afterAll(async () => {
    await server?.close();
    await redis.kill();
  });

  const post = async (path: string, body: object) => {
    const headers = { "content-type": "application/json" };
    return (await fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };
  const job = async (prompt: string): Promise<JobView> => {
    const { id } = (await post("/jobs", { ...request, prompt, model: "tiny-sd1" })) as JobView;
    const events = await (await fetch(`${server.url}/jobs/${id}/events`)).text();
    return JSON.parse(events.trim().split("data: ").at(-1)!) as JobView;
  };
  const pixels = async ({ error, result }: JobView): Promise<Buffer> => {
    expect(error).toBeUndefined();
    const png = await fetch(server.url + result!.images[0]!.url);
    return Buffer.from(decodePng(new Uint8Array(await png.arrayBuffer())).image.data);
  };
  const chooseVae = (sd_vae: string) => post("/sdapi/v1/options", { sd_vae });
  const byLibrary = async (prompt: string, options: { loraDir?: string; vae?: string }): Promise<Buffer> => {
    await using model = await StableDiffusion.load(source, options);
    return Buffer.from((await model.generate({ ...request, prompt })).images[0]!.data);
  };

  test("a worker with the same folders makes the library's pictures", async () => {
    const worker = await startWorker({ ...shared, ...folders, model: ["tiny-sd1"], graceMs: 0 });
    try {
      const named = "a cat <lora:lora-kohya:1>";
      const plain = await pixels(await job("a cat"));
      expect(plain.equals(await byLibrary("a cat", {}))).toBe(true);
      const adapted = await pixels(await job(named));
      expect(adapted.equals(plain)).toBe(false);
      expect(adapted.equals(await byLibrary(named, { loraDir: folders.loraDir }))).toBe(true);
      expect(await chooseVae("vae")).toBeNull();
      const decoded = await pixels(await job("a cat"));
      expect(decoded.equals(plain)).toBe(false);
      expect(decoded.equals(await byLibrary("a cat", { vae: join(folders.vaeDir, "vae") }))).toBe(true);
      await chooseVae("Automatic");
      expect((await pixels(await job("a cat"))).equals(plain)).toBe(true);
    } finally {
      await worker.close();
    }
  });

  test("several init_images: each picture from its own, by workers that share the job", async () => {
    const several = { ...shared, model: ["tiny-sd1"], graceMs: 0 };
    const workers = await Promise.all([startWorker(several), startWorker(several)]);
    try {
      const starts = [40, 200].map((value) => grey(64, 64, value));
      const { images, detail, info } = (await post("/sdapi/v1/img2img", {
        ...{ prompt: "a cat", seed: 5, steps: 4, width: 64, height: 64 },
        init_images: starts.map(base64Png),
        ...{ batch_size: 2, n_iter: 2, denoising_strength: 0.5, sampler_name: "DDIM" },
        override_settings: { sd_model_checkpoint: "tiny-sd1" },
      })) as { images: string[]; detail?: string; info: string };
      expect(detail).toBeUndefined();
      expect(JSON.parse(info)).toMatchObject({ all_seeds: [5, 6, 7, 8] });
      await using model = await StableDiffusion.load(source);
      for (const [i, base64] of images.entries()) {
        const options = { ...request, seed: 5 + i, steps: 4, guidance: 7, strength: 0.5 };
        const image = starts[i % 2]!;
        const made = await model.generate({ ...options, image, scheduler: { sampler: "DDIM" } });
        expect(decodePng(Buffer.from(base64, "base64")).image).toEqual(
          decodePng(encodePng(made.images[0]!)).image,
        );
      }
    } finally {
      await Promise.all(workers.map((worker) => worker.close()));
    }
  });

  test("AUTOMATIC1111: interrupt and skip give what there is by then, made by workers", async () => {
    const worker = await startWorker({ ...shared, model: ["tiny-sd1"], graceMs: 0 });
    const running = async (after: number) => {
      const answer = await fetch(`${server.url}/jobs?limit=1`);
      const [job] = ((await answer.json()) as { jobs: JobView[] }).jobs;
      return job?.status === "running" && (job.progress?.step ?? 0) > after;
    };
    const long = { ...request, steps: 999, width: 64, height: 64, batch_size: 3, sampler_name: "Euler" };
    try {
      const waiting = post("/sdapi/v1/txt2img", {
        ...long,
        override_settings: { sd_model_checkpoint: "tiny-sd1" },
      });
      await expect.poll(() => running(1), { timeout: 120_000 }).toBe(true);
      await post("/sdapi/v1/skip", {});
      // The second one is under way when there are more steps than one picture had by then.
      const finished = async () => {
        const answer = await fetch(`${server.url}/jobs?limit=1`);
        const [job] = ((await answer.json()) as { jobs: JobView[] }).jobs;
        return job?.progress?.finished?.length;
      };
      await expect.poll(finished, { timeout: 120_000 }).toBe(1);
      await post("/sdapi/v1/interrupt", {});
      const { images, info, detail } = (await waiting) as { images: string[]; info: string; detail?: string };
      expect(detail).toBeUndefined();
      // The third was not begun, the second may not have been.
      expect([1, 2]).toContain(images.length);
      const { infotexts } = JSON.parse(info) as { infotexts: string[] };
      for (const [i, base64] of images.entries()) {
        expect(infotexts[i]).toContain("Interrupted: true");
        const { width, data } = decodePng(Buffer.from(base64, "base64")).image;
        expect([width, new Set(data).size > 10]).toEqual([64, true]);
      }
    } finally {
      await worker.close();
    }
  });

  test("a worker without a LoRA, or with another file under its name, leaves the job to one that has it", async () => {
    const others = mkdtempSync(join(tmpdir(), "loras-"));
    cpSync(join(folders.loraDir, "lora-peft.safetensors"), join(others, "lora-kohya.safetensors"));
    const own = { ...shared, model: ["tiny-sd1"], graceMs: 0, lockMs: 1500 };
    const start = (name: string, more: { loraDir?: string } = {}) => startWorker({ ...own, ...more, name });
    const lines: string[] = [];
    const log = (line: string) => lines.push(line);
    const bare = await startWorker({ ...own, name: "bare", log });
    const other = await start("other", { loraDir: others });
    const good = await start("good", { loraDir: folders.loraDir });
    const named = "a cat <lora:lora-kohya:1>";
    try {
      const expected = await byLibrary(named, { loraDir: folders.loraDir });
      for (let i = 0; i < 3; i++) {
        const made = await job(named);
        expect(made).toMatchObject({ status: "completed", worker: "good", attempt: 1 });
        expect((await pixels(made)).equals(expected)).toBe(true);
        expect(made.result!.images[0]!.parameters).toMatch(/Hashes: .*lora:lora-kohya.*[0-9a-f]{10}/);
      }
      const plain = await job("a cat");
      expect([plain.status, plain.passedBy]).toEqual(["completed", undefined]);
      await good.close();
      const failed = await job(named);
      expect(failed).toMatchObject({ status: "failed", attempt: 0 });
      expect([...failed.passedBy!].sort()).toEqual(["bare", "other"]);
      expect(["LORA_NOT_FOUND", "OTHER_FILE"]).toContain(failed.error!.code);
      await bare.close();
      const alone = await job(named);
      expect(alone.error).toMatchObject({ code: "OTHER_FILE", hint: expect.stringContaining("--lora-dir") });
      // Once for each job, however often it comes by.
      const told = lines.filter((line) => line.includes("it is left to other workers"));
      expect(new Set(told).size).toBe(told.length);
    } finally {
      await Promise.all([bare, other, good].map((worker) => worker.close()));
    }
  });

  test("AUTOMATIC1111: a LoRA that no worker has is left out by the last one, one that others have is left to them", async () => {
    const own = { ...shared, model: ["tiny-sd1"], graceMs: 0, lockMs: 1500 };
    const bare = await startWorker({ ...own, name: "bare" });
    const other = await startWorker({ ...own, name: "other", loraDir: folders.loraDir });
    const plain = await serve({ port: 0, graceMs: 0, ...shared });
    const txt2img = async (prompt: string) => {
      const asked = { prompt, seed: 1, steps: 2, width: 64, height: 64, sampler_name: "Euler" };
      const override_settings = { sd_model_checkpoint: "tiny-sd1" };
      const answer = await fetch(`${plain.url}/sdapi/v1/txt2img`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...asked, override_settings }),
      });
      const { images, info } = (await answer.json()) as { images: string[]; info: string };
      const { comments = [], infotexts } = JSON.parse(info) as { comments?: string[]; infotexts: string[] };
      expect(infotexts[0]).toMatch(new RegExp(`^${prompt}\n`));
      return { comments, picture: Buffer.from(decodePng(Buffer.from(images[0]!, "base64")).image.data) };
    };
    try {
      const without = await txt2img("a cat");
      // The server has no folder of LoRAs, and one of the workers has.
      for (let i = 0; i < 2; i++) {
        const used = await txt2img("a cat <lora:lora-kohya:1>");
        expect([used.comments, used.picture.equals(without.picture)]).toEqual([[], false]);
      }
      const missing = await txt2img("a cat<lora:nonsense:1>");
      expect(missing.comments).toEqual(["Networks not found: nonsense"]);
      expect(missing.picture.equals(without.picture)).toBe(true);
      await other.close();
      expect((await txt2img("a cat<lora:lora-kohya:1>")).comments).toEqual([
        "Networks not found: lora-kohya",
      ]);
      const refused = await job("a cat <lora:nonsense:1>");
      expect(refused.error).toMatchObject({ code: "LORA_NOT_FOUND" });
    } finally {
      await Promise.all([bare, other, plain].map((one) => one.close()));
    }
  });

  test("--model takes a folder; --models alone serves its models, and those that cannot be used are named", async () => {
    const own = { ...shared, graceMs: 0 };
    const named = await startWorker({ queue: own.queue, dataDir: own.dataDir, graceMs: 0, model: [source] });
    expect(named.lanes).toEqual(["tiny-sd1 CPU FP32", "upscale"]);
    const made = await job("a cat");
    expect(made.status).toBe("completed");
    await named.close();
    const lines: string[] = [];
    const all = await startWorker({ ...own, log: (line) => lines.push(line) });
    expect(all.lanes).toEqual(
      expect.arrayContaining(["emoji-diffusion-256 CPU FP32", "tiny-sd1 CPU FP32", "upscale"]),
    );
    expect(lines.filter((line) => line.includes("cannot be used")).length).toBeGreaterThan(0);
    await all.close();
  });

  test("one without them says what it lacks, and a folder that is not there stops it", async () => {
    const bare = { ...shared, model: ["tiny-sd1"], graceMs: 0 };
    const worker = await startWorker(bare);
    try {
      const { status, error } = await job("a cat <lora:lora-kohya:1>");
      expect([status, error?.message]).toEqual(["failed", expect.stringContaining("lora-kohya")]);
      await chooseVae("vae");
      expect(await job("a cat")).toMatchObject({
        status: "failed",
        error: {
          code: "VAE_NOT_FOUND",
          message: "there is no autoencoder vae",
          hint: expect.stringContaining("each worker of a queue, with --vae-dir"),
        },
      });
      await chooseVae("Automatic");
      expect((await job("a cat")).status).toBe("completed");
    } finally {
      await worker.close();
    }
    await expect(startWorker({ ...bare, vaeDir: "/nowhere" })).rejects.toMatchObject({
      code: "FILE_MISSING",
      message: "there is no folder /nowhere",
    });
  });
});
