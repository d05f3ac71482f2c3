import { randomInt } from "node:crypto";
import sharp, { type Sharp } from "sharp";
import {
  encodePng,
  type GenerateOptions,
  type GenerateResult,
  generateRefined,
  type Image,
  infotext,
  type ProgressEvent,
  readImage,
  type Seeding,
  seedsOfPicture,
} from "../../index.js";
import type { JobProgress } from "../queue/queue.js";
import { splitJob } from "../queue/shards.js";
import { Refusal } from "../refusal.js";
import { checkGrid } from "../requests/grid.js";
import type { Limits } from "../requests/limits.js";
import {
  checkCounts,
  checkEnlarged,
  checked,
  parseSeed,
  type StoredGenerate,
  type StoredRequest,
  type StoredUpscale,
  startOf,
  storedRequest,
} from "../requests/request.js";
import type { ImageStore } from "../storage/store.js";
import { libraryOptions } from "./library-options.js";
import { withoutMissingLoras } from "./missing-loras.js";
import type { Models } from "./models.js";
import { namedFiles } from "./named-files.js";
import { checkPlan } from "./plan.js";
import type { Work, WorkHooks, WorkResult } from "./running.js";
import { resamplers } from "./upscalers.js";
import type { WeightFile } from "./weight-files.js";

/**
 * What jobs do on the real library. A request is checked as when it was accepted: what stands in a shared queue may have
 * been written by anybody who reaches it.
 */
export function libraryWork(parts: WorkParts): Work {
  return async (job, hooks) => {
    const request = checked(storedRequest, job.request);
    await checkAgain(request, parts);
    if (request.kind === "upscale") return upscale(request, parts, hooks);
    // Where nobody else shares the work, the cells are made here, one after the other.
    const cells = request.grid ? splitJob(job).map((part) => part.request as StoredGenerate) : [];
    return generatePictures(request, cells, parts, hooks);
  };
}

export interface WorkParts {
  readonly models: Models;
  readonly images: ImageStore;
  readonly limits: Limits;
  /** Goes into the parameters text of every picture. */
  readonly version: string;
}

async function checkAgain(request: StoredRequest, { models, images, limits }: WorkParts): Promise<void> {
  if (request.kind === "upscale") return checkEnlarged(request, limits);
  checkGrid(request, limits.count);
  checkCounts(request, limits);
  const sizeOf = async (key: string) => {
    const { width, height } = await sharp((await images.get(key)) ?? gone()).metadata();
    return { width, height };
  };
  const { image, images: several } = request;
  const starts = {
    ...(image !== undefined && { image: await sizeOf(image) }),
    ...(several && { images: await Promise.all(several.map(sizeOf)) }),
  };
  await checkPlan(request, { option: models.resolve(request.model), models, starts }, limits);
}

const gone = (): never => {
  throw new Refusal(410, "IMAGE_GONE", "a picture that this job starts from is no longer there");
};

/** One library call for each picture, so that each can be skipped, and is kept when the rest is cancelled. */
async function generatePictures(
  request: StoredGenerate,
  cells: readonly StoredGenerate[],
  { models, images, version }: WorkParts,
  hooks: WorkHooks,
): Promise<WorkResult> {
  const option = models.resolve(request.model);
  const count = cells.length || request.count;
  const ms = { encode: 0, denoise: 0, decode: 0 };
  const files = await namedFiles(request, models);
  const seeding = seedingOf(request);
  let size = { width: 0, height: 0 };
  for (let image = 0; image < count && !hooks.finish.aborted; image++) {
    const { skip, finish } = hooks.skippable();
    const early = new AbortController();
    const ended = endedBefore(finish, early);
    const progress = progressOf(image, count, hooks.progress);
    const one = cells[image] ?? startOf(request, image);
    // Cells of a grid have their own seeds, and differ only in what the axes say.
    const seeds = cells.length === 0 ? seedsOfPicture(seeding, image) : seedsOfPicture(seedingOf(one), 0);
    const makeable = withoutMissingLoras(one, seeds.seed, models);
    const options = await libraryOptions(makeable.request, models, images.get);
    let result: GenerateResult;
    try {
      const vae = await models.files.findVae(request.vae);
      result = await makerOf(
        one,
        models,
        vae,
      )({
        ...options,
        ...seeds,
        signal: AbortSignal.any([hooks.signal, skip, early.signal]),
        stop: finish,
        onProgress: (event) => {
          if (event.type === "step") ended.begun();
          progress(event);
        },
        preview: true,
      });
    } catch (error) {
      if ((skip.aborted || early.signal.aborted) && !hooks.signal.aborted) continue;
      throw error;
    } finally {
      ended.begun();
    }
    for (const key of ["encode", "denoise", "decode"] as const) ms[key] += result.ms[key];
    const [picture] = result.images;
    size = { width: picture!.width, height: picture!.height };
    const parameters = infotext({
      options: {
        ...result.options,
        // What was asked for, where steps are counted otherwise, and a LoRA was left out.
        ...(one.webuiSteps !== undefined && { strength: one.strength! }),
        ...(makeable.sent !== undefined && { prompts: [makeable.sent] }),
      },
      model: option.name,
      size,
      precision: option.precision,
      hashes: Object.fromEntries(files.map(({ kind, name, sha256 }) => [`${kind}:${name}`, sha256])),
      stopped: finish.aborted,
      ...(one.refiner && {
        refiner: { model: models.resolve(one.refiner.model).name, switchAt: one.refiner.switchAt },
      }),
      version: `tfjs-diffusion ${version}`,
    });
    const key = await images.put(encodePng(picture!, { parameters }));
    const notes = [...makeable.notes, ...result.notes];
    const told = notes.length > 0 ? { notes } : {};
    hooks.finished({ key, ...size, seed: String(result.seeds[0]), parameters, ...told });
  }
  return { ...size, ms };
}

/** The model of a request, or with a refiner both, one after the other. @param vae in place of their own */
function makerOf(
  { model, refiner }: StoredGenerate,
  models: Models,
  vae: WeightFile | undefined,
): (options: GenerateOptions) => Promise<GenerateResult> {
  const of = (name: string) => {
    const option = models.resolve(name);
    return { generate: (options: GenerateOptions) => models.generate(option, options, { vae }) };
  };
  if (!refiner) return of(model).generate;
  const { switchAt } = refiner;
  return (options) => generateRefined(of(model), of(refiner.model), { ...options, switchAt });
}

/** A picture that is to end before its first step is nothing but noise: it is left out, and nobody waits for its model. */
function endedBefore(finish: AbortSignal, early: AbortController) {
  const leaveOut = () => early.abort();
  if (finish.aborted) leaveOut();
  finish.addEventListener("abort", leaveOut, { once: true });
  return { begun: () => finish.removeEventListener("abort", leaveOut) };
}

/** The seeds of a request, drawn where it leaves them open. */
function seedingOf({ seed, variation }: StoredGenerate): Seeding {
  const drawn = () => randomInt(2 ** 32);
  return {
    seed: seed === undefined ? drawn() : parseSeed(seed),
    ...(variation && {
      variation: {
        seed: variation.seed === undefined ? drawn() : parseSeed(variation.seed),
        strength: variation.strength,
      },
    }),
  };
}

/** Library events of one picture as progress of the whole job. */
function progressOf(image: number, images: number, tell: (progress: JobProgress) => void) {
  let last: JobProgress = { phase: "load", image, images, step: 0, steps: 0, share: image / images };
  return (event: ProgressEvent) => {
    last = { ...last, ...changesOf(event, image, images) };
    tell(last);
  };
}

function changesOf(event: ProgressEvent, image: number, images: number): Partial<JobProgress> {
  switch (event.type) {
    case "download":
      return { phase: "load", what: event.file };
    case "convert":
    case "load":
      return { phase: "load", what: event.network };
    case "encode":
      return { phase: "encode" };
    case "decode":
      return { phase: "decode", share: (image + 1) / images, etaMs: 0 };
    case "step": {
      const { step, steps, etaMs, previews } = event;
      const perPicture = etaMs + event.ms * step;
      return {
        phase: "denoise",
        step: image * steps + step,
        steps: images * steps,
        // The last hundredth is for the decoder.
        share: (image + (0.99 * step) / steps) / images,
        etaMs: Math.round(etaMs + (images - image - 1) * perPicture),
        ...(previews?.[0] && { preview: Buffer.from(encodePng(previews[0])).toString("base64") }),
      };
    }
  }
}

/** By a network, or by resampling on sharp's own threads: large pictures do not hold up other requests. */
async function upscale(
  { image, upscaler, crop, ...asked }: StoredUpscale,
  { models, images }: WorkParts,
  hooks: WorkHooks,
): Promise<WorkResult> {
  const began = performance.now();
  const source = await images.get(image);
  if (!source) throw new Refusal(410, "IMAGE_GONE", "the picture to enlarge is no longer on disk");
  const picture = await readImage(source);
  const size = { width: asked.width, height: asked.height };
  hooks.signal.throwIfAborted();
  // There is nothing half of an enlarged picture.
  const signal = AbortSignal.any([hooks.signal, hooks.finish]);
  const enlarged = await larger(picture, { source, upscaler, size }, models, { ...hooks, signal });
  const { width, height } = crop ?? size;
  const half = (pixels: number) => Math.floor(pixels / 2);
  const middle = { left: half(size.width) - half(width), top: half(size.height) - half(height) };
  const png = await enlarged
    .extract({ ...middle, width, height })
    .png()
    .toBuffer();
  const key = await images.put(png);
  const parameters = `Postprocess upscaler: ${upscaler}, Size: ${width}x${height}, Source: ${picture.width}x${picture.height}`;
  hooks.finished({ key, width, height, parameters });
  return { width, height, ms: { encode: 0, denoise: 0, decode: 0, upscale: performance.now() - began } };
}

async function larger(
  picture: Image,
  {
    source,
    upscaler,
    size,
  }: { source: Uint8Array; upscaler: string; size: { width: number; height: number } },
  models: Models,
  { signal, progress }: WorkHooks,
): Promise<Sharp> {
  if (resamplers.some((name) => name === upscaler)) {
    const kernel = upscaler === "Nearest" ? "nearest" : "lanczos3";
    return sharp(source).resize(size.width, size.height, { kernel, fit: "fill" });
  }
  const network = await models.upscalers.find(upscaler);
  if (!network) throw await models.upscalers.missing(upscaler, resamplers);
  const { width, height, data } = await models.upscalers.enlarge(network, picture, {
    ...size,
    signal,
    onProgress: (step, steps) =>
      progress({ phase: "denoise", image: 0, images: 1, step, steps, share: (0.99 * step) / steps }),
  });
  return sharp(data, { raw: { width, height, channels: data.length === width * height * 4 ? 4 : 3 } });
}
