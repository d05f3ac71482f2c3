import { defaultUpscaler, hiresUpscalers, namedLists, samplerPair, type WildcardLists } from "../../index.js";
import type { NewJob } from "../queue/queue.js";
import { Refusal } from "../refusal.js";
import { checkGrid, gridCells } from "../requests/grid.js";
import type { Limits } from "../requests/limits.js";
import {
  checked,
  checkLimits,
  type GenerateRequest,
  type NamedFile,
  type StoredGenerate,
  type StoredRequest,
  type StoredUpscale,
  storedRequest,
  type UpscaleRequest,
} from "../requests/request.js";
import { decodeBase64, readForeign, storeForeign } from "../storage/images.js";
import type { Settings } from "../storage/settings.js";
import type { ImageStore } from "../storage/store.js";
import type { Styles } from "../storage/styles.js";
import type { Jobs } from "./jobs.js";
import type { Models } from "./models.js";
import { namedFiles } from "./named-files.js";
import { checkSteps } from "./steps.js";
import { type NamedUpscaler, resamplers } from "./upscalers.js";

/** What the APIs are made of: the same jobs, models, pictures and limits for all of them. */
export interface Parts {
  readonly jobs: Jobs;
  readonly models: Models;
  readonly images: ImageStore;
  readonly settings: Settings;
  readonly limits: Limits;
  /** Words that requests can lay around their prompts by name. */
  readonly styles: Styles;
  /** Lists that prompts may draw from, as the folder says now. */
  readonly wildcards: () => Promise<WildcardLists>;
}

/** A request of any API: pictures may have been decoded from base64 already. */
export type Incoming = Omit<GenerateRequest, Pictures> & {
  readonly image?: Picture | undefined;
  readonly images?: readonly Picture[] | undefined;
  readonly mask?: Picture | undefined;
  /** Name of the autoencoder, null for the model's own; default: the chosen one. */
  readonly vae?: string | null | undefined;
  /** Steps of image to image are counted as in the web UI. */
  readonly webuiSteps?: boolean | undefined;
  readonly controlnet?: readonly (Omit<Control, "image"> & { readonly image: Picture })[] | undefined;
};
type Pictures = "image" | "images" | "mask" | "controlnet";
type Picture = string | Uint8Array;
type Control = NonNullable<GenerateRequest["controlnet"]>[number];

export type Accepted = Pick<NewJob, "lane" | "request">;

/**
 * Turns a request into a job: finds the model, checks limits, takes in pictures.
 *
 * @throws Refusal and DiffusionError with what is wrong with it
 */
export async function acceptGenerate(request: Incoming, parts: Parts): Promise<Accepted> {
  const { models, images, limits, settings } = parts;
  const { image, images: several, mask, controlnet, kind, vae: asked, wildcards, ...rest } = request;
  if (image !== undefined && several)
    throw new Refusal(400, "BAD_OPTION", "image and images contradict each other");
  for (const { model } of controlnet ?? []) await models.findControl(model);
  const hires = request.hires && (await hiresOf(request.hires, models));
  const option = models.resolve(request.model, {
    masked: (mask !== undefined && !request.softMask) || request.expand !== undefined,
  });
  const { info } = option;
  const defaults = settings.data;
  const vae = asked === undefined ? models.vae : (await models.findVae(asked ?? undefined))?.name;
  const stored: StoredGenerate = {
    rng: defaults.rng,
    ...(info.tokenizer && {
      prompt: "",
      ...(defaults.clipSkip > 1 && { clipSkip: defaults.clipSkip - 1 }),
    }),
    ...rest,
    kind: "generate",
    model: option.label,
    ...(vae !== undefined && info.kind !== "unconditional" && { vae }),
    count: request.count ?? several?.length ?? 1,
    ...(wildcards && { wildcards: await listsFor(request, parts) }),
  };
  // APIs of others are laxer than ours, and what a journal could not read again must not get into it.
  checkGrid(stored, limits.count);
  if (stored.grid && several)
    throw new Refusal(400, "BAD_OPTION", "grid and images contradict each other", {
      hint: "a grid starts from one image",
    });
  for (const one of [stored, ...gridCells(stored)]) {
    checked(storedRequest, one);
    if (one.scheduler !== undefined) checkScheduler(one.scheduler);
  }
  checkLimits(stored, info.usual, limits);
  const cells = gridCells(stored);
  checkSteps(cells.length > 0 ? cells : [{ ...stored, ...(image !== undefined && { image: "" }) }], info);
  const store = (given: Picture) =>
    storeForeign(typeof given === "string" ? decodeBase64(given) : given, images, limits);
  const keys: Partial<StoredGenerate> = {
    ...(image !== undefined && { image: await store(image) }),
    ...(several && { images: await Promise.all(several.map(store)) }),
    ...(mask !== undefined && { mask: await store(mask) }),
    ...(controlnet && {
      controlnet: await Promise.all(
        controlnet.map(async (control) => ({ ...control, image: await store(control.image) })),
      ),
    }),
  };
  const named = { ...stored, ...(hires && { hires }), ...keys };
  return { lane: option.label, request: { ...named, ...(await filesFor(named, parts)) } };
}

/**
 * The lists that a request's prompts may draw from. They stay with the job, which gives the same pictures whatever
 * becomes of the files, in whichever process it runs.
 *
 * @throws DiffusionError BAD_OPTION for a list that there is not
 */
async function listsFor(
  { prompt = "", negativePrompt = "", grid }: Incoming,
  { wildcards: known }: Parts,
): Promise<WildcardLists> {
  const values = [grid?.x, grid?.y].flatMap((axis) => axis?.values ?? []).map(String);
  return namedLists([prompt, negativePrompt, ...values], await known());
}

/** Unknown names are refused at once, with the nearest one. */
function checkScheduler(scheduler: NonNullable<GenerateRequest["scheduler"]>): void {
  if (typeof scheduler === "string") samplerPair(scheduler);
  else samplerPair({ sampler: scheduler.sampler, schedule: scheduler.schedule });
}

/** @param request what `crop` leaves is the middle */
export async function acceptUpscale(
  request: UpscaleRequest & Pick<StoredUpscale, "crop">,
  parts: Parts,
): Promise<Accepted> {
  const { images, limits, models } = parts;
  const name = request.upscaler ?? defaultUpscaler;
  // A model's factor is its own.
  if (upscalingModels(models).includes(name))
    return acceptGenerate({ model: name, image: request.image }, parts);
  const upscaler = await upscalerNamed(name, models);
  const bytes = decodeBase64(request.image);
  const source = await readForeign(bytes, limits);
  const { scale = upscaler.scale } = request;
  const width = request.width ?? Math.round(source.width * scale);
  const height = request.height ?? Math.round(source.height * scale);
  if (width * height > 16 * limits.resultPixels)
    throw new Refusal(400, "TOO_LARGE", `${width} x ${height} are more pixels than this server makes`);
  const image = await storeForeign(bytes, images, limits);
  const { crop } = request;
  const stored: StoredUpscale = {
    kind: "upscale",
    image,
    width,
    height,
    upscaler: upscaler.name,
    ...(crop && { crop }),
  };
  checked(storedRequest, stored);
  return { lane: "upscale", request: { ...stored, ...(await filesFor(stored, parts)) } };
}

/** What workers compare with theirs; a job that runs here has no others. */
async function filesFor(request: StoredRequest, { jobs, models }: Parts): Promise<{ files?: NamedFile[] }> {
  const files = jobs.queue.workers ? await namedFiles(request, models) : [];
  return files.length > 0 ? { files: [...files] } : {};
}

/** Labels of the models that enlarge. */
export const upscalingModels = (models: Models): string[] =>
  models.list().flatMap(({ info, label }) => (info.kind === "upscaling" ? [label] : []));

/** Networks are named as the list has them, so that a name is never a path. */
async function hiresOf(
  hires: NonNullable<GenerateRequest["hires"]>,
  models: Models,
): Promise<NonNullable<GenerateRequest["hires"]>> {
  const { upscaler } = hires;
  if (upscaler === undefined || hiresUpscalers.some((name) => name === upscaler)) return hires;
  const found = await models.upscalers.find(upscaler);
  if (found) return { ...hires, upscaler: found.name };
  throw await models.upscalers.missing(upscaler, hiresUpscalers);
}

/** What enlarges, by a name of the list; resampling at any scale, 2 unless one is asked for. */
async function upscalerNamed(name: string, models: Models): Promise<Pick<NamedUpscaler, "name" | "scale">> {
  const resampler = resamplers.find((known) => known.toLowerCase() === name.toLowerCase());
  if (resampler) return { name: resampler, scale: 2 };
  const found = await models.upscalers.find(name);
  if (found) return found;
  throw await models.upscalers.missing(name, [...resamplers, ...upscalingModels(models)]);
}

/** Names of all that enlarges, as requests say them. */
export const upscalerNames = async (models: Models): Promise<string[]> => [
  ...resamplers,
  ...(await models.upscalers.list()).map(({ name }) => name),
  ...upscalingModels(models),
];
