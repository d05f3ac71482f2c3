import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type Chunk, readChunks, writeChunks } from "../src/image/png-chunks.js";
import { decodePng, encodePng, readImage } from "../src/index.js";
import { host, testServer } from "../src/server/fixture.js";
import { openLocalQueue } from "../src/server/queue/local/local.js";
import { hasEnded, jobStatuses, type NewJob } from "../src/server/queue/queue.js";
import { goldenPath } from "../src/testing/golden.js";
import { editPrompt } from "../src/text/editing.js";
import { parsePrompt } from "../src/text/prompt.js";
import { createTokenizer } from "../src/text/tokenizer.js";
import { openSafetensors } from "../src/weights/formats/safetensors.js";
import { damagedBytes, damagedJson, promptText } from "./fuzz-inputs.js";
import { must, propertyOf, type Target, verdictOf } from "./fuzz-property.js";

const scratch = (): string => mkdtempSync(join(tmpdir(), "fuzz-"));

const safetensors: Target = {
  name: "safetensors",
  async open() {
    const folder = scratch();
    const path = join(folder, "x.safetensors");
    const good = readFileSync(goldenPath("modules/timestep-embedding.safetensors"));
    const length = Number(good.readBigUInt64LE(0));
    const header = JSON.parse(good.subarray(8, 8 + length).toString()) as object;
    const values = good.subarray(8 + length);
    const inputs = fc.oneof(
      damagedBytes(good),
      damagedJson(header).map((damaged) => {
        const text = Buffer.from(JSON.stringify(damaged));
        const size = Buffer.alloc(8);
        size.writeBigUInt64LE(BigInt(text.length));
        return Uint8Array.from(Buffer.concat([size, text, values]));
      }),
      fc.uint8Array({ maxLength: 300 }),
    );
    const read = () => {
      const file = openSafetensors(path);
      try {
        let bytes = 0;
        for (const [name, { shape }] of file.tensors) {
          bytes += file.read(name).length;
          const count = shape.reduce((product, side) => product * side, 1);
          must(file.readFloat32(name).length === count, `${name} has another size than its shape`);
        }
        must(bytes <= file.size, "more bytes than the file has");
      } finally {
        file.close();
      }
    };
    const property = propertyOf(inputs, (bytes) => {
      writeFileSync(path, bytes);
      return verdictOf(read, ["FILE_FORMAT", "UNSUPPORTED"]);
    });
    return { property, close: () => rmSync(folder, { recursive: true }) };
  },
};

const png: Target = {
  name: "png",
  async open() {
    const folder = goldenPath("bad/png");
    const bad = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
    const data = Uint8Array.from({ length: 24 * 17 * 4 }, (_, i) => (i * 7919) & 0xff);
    const parameters = "a dog\nSteps: 4, Seed: 1";
    const good = encodePng({ width: 24, height: 17, data }, { parameters });
    const inputs = fc.oneof(
      damagedBytes(good),
      fc.constantFrom(...bad).chain(damagedBytes),
      // Damaged before the checksums are made, so that what is behind them is reached.
      fc.nat().chain((at) => {
        const chunks = [...readChunks(good)];
        return damagedBytes(chunks[at % chunks.length]!.data).map((data) =>
          writeChunks(
            chunks.map((chunk, i): Chunk => (i === at % chunks.length ? { ...chunk, data } : chunk)),
          ),
        );
      }),
      fc.uint8Array({ maxLength: 200 }),
    );
    const maxPixels = 100_000;
    const property = propertyOf(inputs, async (bytes) => {
      const own = await verdictOf(() => {
        const { image } = decodePng(bytes, { maxPixels });
        const pixels = image.width * image.height;
        must([3, 4].includes(image.data.length / pixels), `${image.data.length} bytes of ${pixels} pixels`);
      }, ["BAD_IMAGE"]);
      // The way of everything that comes in over HTTP.
      const any = await verdictOf(() => readImage(bytes, { maxPixels }), ["BAD_IMAGE"]);
      return own === any ? own : `own ${own}, any ${any}`;
    });
    return { property };
  },
};

const files = (name: string): string => readFileSync(goldenPath(`tokenizers/tokenizer-tiny/${name}`), "utf8");

const tokenizer: Target = {
  name: "tokenizer",
  async open() {
    const texts = { "vocab.json": files("vocab.json"), "merges.txt": files("merges.txt") };
    const vocabulary: unknown = JSON.parse(texts["vocab.json"]);
    const good = createTokenizer(texts);
    const byFiles = fc.oneof(
      damagedJson(vocabulary).map((value) => ({ ...texts, "vocab.json": JSON.stringify(value) })),
      damagedBytes(Buffer.from(texts["merges.txt"])).map((bytes) => ({
        ...texts,
        "merges.txt": Buffer.from(bytes).toString(),
      })),
    );
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 400 }),
      fc.string({ unit: "grapheme", maxLength: 400 }),
      promptText,
    );
    const inputs = fc.record({ text, damaged: fc.option(byFiles, { freq: 3 }) });
    const property = propertyOf(inputs, ({ text, damaged }) =>
      verdictOf(() => {
        const one = damaged ? createTokenizer(damaged) : good;
        const ids = one.encode(text);
        must(ids.length === one.maxLength && ids[0] === one.bos, "begin token and length");
        must(damaged !== null || ids.every((id) => Number.isInteger(id) && id >= 0 && id < one.size), "ids");
        one.decode(ids);
      }, ["FILE_FORMAT"]),
    );
    return { property };
  },
};

const prompt: Target = {
  name: "prompt",
  async open() {
    const tokens = createTokenizer({ "vocab.json": files("vocab.json"), "merges.txt": files("merges.txt") });
    const inputs = fc.record({
      text: promptText,
      steps: fc.integer({ min: 1, max: 30 }),
      syntax: fc.constantFrom("plain" as const, "a1111" as const, "compel" as const),
      whole: fc.boolean(),
    });
    const property = propertyOf(inputs, ({ text, steps, syntax, whole }) =>
      verdictOf(() => {
        const stages = editPrompt(text, steps);
        must(stages.at(-1)?.upTo === steps, "the last stage is that of the last step");
        must(
          stages.every(({ upTo }, i) => upTo > (stages[i - 1]?.upTo ?? 0)),
          "stages follow each other",
        );
        const { parts, networks } = parsePrompt(text, tokens, { syntax, steps, whole });
        must(parts.length > 0, "no part");
        for (const { weight, ranges } of parts) {
          must(Number.isFinite(weight), `the part's weight is ${weight}`);
          must(ranges[0]?.from === 0 && ranges.at(-1)?.to === steps, "ranges cover all steps");
          for (const chunk of ranges.flatMap(({ chunks }) => chunks)) {
            must(chunk.ids.length === 77, `a chunk of ${chunk.ids.length} tokens`);
            must(chunk.weights.every(Number.isFinite), `weights ${chunk.weights}`);
          }
        }
        for (const { weight, unetWeight } of networks)
          must(Number.isFinite(weight) && Number.isFinite(unetWeight), "a network's weight");
      }, ["BAD_OPTION", "UNSUPPORTED"]),
    );
    return { property };
  },
};

const picture = Buffer.from(encodePng({ width: 8, height: 8, data: new Uint8Array(192) })).toString("base64");
/** One good body for each route that takes one. */
const bodies: Readonly<Record<string, unknown>> = {
  "/jobs": {
    prompt: "a dog",
    negativePrompt: "",
    width: 64,
    height: 64,
    steps: 2,
    guidance: 5,
    seed: 1,
    count: 1,
    scheduler: { sampler: "euler", schedule: "karras" },
    variation: { seed: 2, strength: 0.1 },
    image: picture,
    mask: picture,
    strength: 0.5,
    onlyMasked: { padding: 8 },
    expand: { left: 8 },
    hires: { scale: 2 },
  },
  "/sdapi/v1/txt2img": {
    prompt: "a dog",
    steps: 2,
    width: 64,
    height: 64,
    seed: -1,
    sampler_name: "Euler a",
    scheduler: "Karras",
    batch_size: 1,
    n_iter: 1,
    enable_hr: true,
    hr_scale: 2,
    override_settings: { CLIP_stop_at_last_layers: 2 },
    alwayson_scripts: {},
    force_task_id: "task(1)",
  },
  "/sdapi/v1/img2img": {
    prompt: "a dog",
    init_images: [picture],
    mask: picture,
    inpainting_fill: 1,
    inpaint_full_res: true,
    denoising_strength: 0.5,
    resize_mode: 1,
    steps: 2,
  },
  "/sdapi/v1/extra-single-image": { image: picture, upscaling_resize: 2, upscaler_1: "Lanczos" },
  "/sdapi/v1/png-info": { image: picture },
  "/sdapi/v1/options": { CLIP_stop_at_last_layers: 1, samples_format: "png" },
  "/internal/progress": { id_task: "task(1)", live_preview: true, id_live_preview: -1 },
  "/v1/images/generations": { prompt: "a dog", n: 1, size: "64x64", response_format: "b64_json", seed: 1 },
  "/models/current": { model: "emoji-diffusion-256 CPU FP32" },
  "/tokens": { text: "a dog" },
};

const http: Target = {
  name: "http",
  async open() {
    const { app, send, parts, folder, log } = await testServer({
      limits: { body: 300_000, queued: 100_000 },
    });
    const headers = { host, "content-type": "application/json" };
    const json = fc
      .constantFrom(...Object.entries(bodies))
      .chain(([path, good]) => damagedJson(good).map((body) => ({ path, body: JSON.stringify(body) })));
    const raw = fc
      .constantFrom(...Object.entries(bodies))
      .chain(([path, good]) =>
        damagedBytes(Buffer.from(JSON.stringify(good))).map((body) => ({ path, body: Buffer.from(body) })),
      );
    const form = fc.record({
      path: fc.constantFrom("/v1/images/edits", "/v1/images/variations"),
      body: fc
        .array(
          fc.tuple(
            fc.constantFrom("prompt", "image", "image[]", "mask", "n", "size", "model", "seed", "__proto__"),
            fc.oneof(fc.string({ maxLength: 20 }), damagedBytes(Buffer.from(picture, "base64"))),
          ),
          { maxLength: 6 },
        )
        .map((fields) => {
          const data = new FormData();
          for (const [name, value] of fields)
            data.append(
              name,
              typeof value === "string" ? value : new File([Uint8Array.from(value)], "x.png"),
            );
          return data;
        }),
    });
    const property = propertyOf(
      fc.oneof({ weight: 5, arbitrary: json }, { weight: 2, arbitrary: raw }, { weight: 1, arbitrary: form }),
      async ({ path, body }) => {
        const answer = await (body instanceof FormData
          ? send("POST", path, body)
          : app.request(`http://${host}${path}`, { method: "POST", headers, body }));
        const text = await answer.text();
        // What AUTOMATIC1111's API says of a bad picture, and so does ours.
        const foreign = path.startsWith("/sdapi/") && text.includes('"detail":"Invalid encoded image"');
        must(
          foreign || answer.status < 500 || answer.status === 501,
          `${path} answered ${answer.status} ${text.slice(0, 500)} ${log.slice(-3).join(" ")}`,
        );
        must(!/ {4}at .*\.[jt]s:\d/.test(text), `${path} answered with a stack`);
        return String(answer.status);
      },
    );
    const close = async () => {
      parts.foreign.dispose();
      await parts.jobs.close(1000);
      rmSync(folder, { recursive: true });
    };
    return { property, close };
  },
};

const journal: Target = {
  name: "journal",
  async open() {
    const folder = scratch();
    const path = join(folder, "journal.jsonl");
    const step = fc.record({
      what: fc.constantFrom(
        "enqueue",
        "enqueue",
        "finish",
        "claim",
        "release",
        "remove",
        "cancel",
        "crash",
        "tear",
      ),
      id: fc.constantFrom("a", "b", "c", "d"),
      attended: fc.boolean(),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const damage = fc.option(
      fc.nat().chain(() => fc.record({ seed: fc.nat(), bytes: fc.uint8Array({ maxLength: 40 }) })),
      {
        freq: 2,
      },
    );
    const property = propertyOf(
      fc.record({ steps: fc.array(step, { maxLength: 14 }), damage }),
      ({ steps, damage }) => verdictOf(() => replay(path, steps, damage), []),
    );
    return { property, close: () => rmSync(folder, { recursive: true }) };
  },
};

interface JournalStep {
  readonly what: string;
  readonly id: string;
  readonly attended: boolean;
  readonly at: number;
}

/** Drives a queue through crashes, and holds what it says afterwards against what it promised before. */
async function replay(
  path: string,
  steps: readonly JournalStep[],
  damage: { readonly seed: number; readonly bytes: Uint8Array } | null,
): Promise<void> {
  rmSync(path, { force: true });
  const open = () => openLocalQueue(path, { queued: 9 });
  let queue = await open();
  let claims: Awaited<ReturnType<typeof queue.claim>>[] = [];
  const promised = new Map<string, string>();
  const result = { images: [], width: 8, height: 8, ms: { encode: 1, denoise: 1, decode: 1 } };
  for (const { what, id, attended, at } of steps) {
    if (what === "enqueue") promised.set(id, (await queue.enqueue(job(id, attended))).status);
    if (what === "claim" && (await queue.counts()).queued > 0) {
      const claim = await queue.claim(() => true, new AbortController().signal);
      claims.push(claim);
      promised.set(claim.job.id, "running");
    }
    const [claim] = claims;
    if (what === "finish" && claim) {
      claims.shift();
      await claim.finish({ status: "completed", result });
      promised.set(claim.job.id, "completed");
    }
    if (what === "release" && claim) {
      claims.shift();
      promised.set(claim.job.id, (await claim.release({ code: "WORKER", message: "died" })).status);
    }
    if (what === "cancel") {
      const cancelled = await queue.cancel(id);
      if (cancelled) promised.set(id, cancelled.status);
    }
    if (what === "remove" && (await queue.remove(id))) promised.delete(id);
    if (what !== "crash" && what !== "tear") continue;
    // A close only closes the file: nothing is written by it.
    await queue.close();
    claims = [];
    if (what === "tear") {
      // The last write of a process that is killed may be cut anywhere: one line more, torn.
      const line = Buffer.from(JSON.stringify({ job: { ...job(id, attended), status: "completed" } }));
      writeFileSync(path, line.subarray(0, Math.floor(at * line.length)), { flag: "a" });
    }
    queue = await open();
    for (const [known, before] of promised) {
      const after = (await queue.get(known))?.status;
      must(after !== undefined, `${known} was ${before} and is gone`);
      if (hasEnded({ status: before as "queued" }))
        must(after === before, `${known} was ${before}, is ${after}`);
      else must(after === "queued" || after === "lost", `${known} was ${before}, is ${after}`);
      promised.set(known, after!);
    }
  }
  await queue.close();
  if (!damage) return;
  const bytes = readFileSync(path);
  const at = bytes.length === 0 ? 0 : damage.seed % bytes.length;
  bytes.set(damage.bytes.subarray(0, bytes.length - at), at);
  writeFileSync(path, bytes);
  const after = await open();
  for (const one of await after.list()) must(jobStatuses.includes(one.status), `status ${one.status}`);
  await after.enqueue(job(createHash("sha1").update(String(at)).digest("hex"), false));
  await after.close();
}

const job = (id: string, attended: boolean): NewJob => ({
  id,
  lane: "model CPU FP32",
  request: { kind: "generate", model: "model CPU FP32", prompt: id, count: 1 },
  attended,
  via: "native",
});

export const targets: readonly Target[] = [safetensors, png, tokenizer, prompt, http, journal];
