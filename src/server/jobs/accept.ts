import { randomUUID } from "node:crypto";
import { hiresUpscalers, namedLists, samplerPair, type WildcardLists } from "../../index.js";
import { notRefined } from "../../options/contradictions.js";
import type { Foreign, ForeignPictures, Plain } from "../foreign/foreign.js";
import type { NewJob } from "../queue/queue.js";
import { Refusal } from "../refusal.js";
import { checkGrid, gridCells } from "../requests/grid.js";
import type { Limits } from "../requests/limits.js";
import {
  checkCounts,
  checked,
  type GenerateRequest,
  type NamedFile,
  type StoredGenerate,
  type StoredRequest,
  storedRequest,
} from "../requests/request.js";
import type { Settings } from "../storage/settings.js";
import { type ImageStore, storageAway } from "../storage/store.js";
import type { Styles } from "../storage/styles.js";
import { type Brought, takePictures } from "./brought.js";
import { removeUnneeded } from "./images-of-jobs.js";
import type { Jobs } from "./jobs.js";
import type { ModelOption } from "./model-option.js";
import type { Models } from "./models.js";
import { namedFiles } from "./named-files.js";
import { checkPlan } from "./plan.js";

/** What the APIs are made of: the same jobs, models, pictures and limits for all of them. */
export interface Parts {
  readonly jobs: Jobs;
  readonly models: Models;
  readonly images: ImageStore;
  /** Decodes the pictures of requests. */
  readonly foreign: Foreign;
  readonly settings: Settings;
  readonly limits: Limits;
  /** Words that requests can lay around their prompts by name. */
  readonly styles: Styles;
  /** Lists that prompts may draw from, as the folder says now. */
  readonly wildcards: () => Promise<WildcardLists>;
}

/** A request of any API: pictures may have been decoded already. */
export type Incoming = Omit<GenerateRequest, keyof Brought> &
  Brought & {
    /** Name of the autoencoder, null for the model's own; default: the chosen one. */
    readonly vae?: string | null | undefined;
    /** Steps of image to image are counted as in the web UI. */
    readonly webuiSteps?: boolean | undefined;
    /** LoRAs that there are not are left out, and told. */
    readonly missingLoras?: "ignore" | undefined;
  };

export interface Accepted extends Pick<NewJob, "lane" | "request"> {
  /** Takes back what was stored for it. */
  readonly refused: () => Promise<void>;
}

/** An accepted job that its client was let in for: to be submitted now. */
export type Admitted = Accepted & { readonly id: string };

/**
 * Lets a client's job in before anything of it is decoded or stored, and accepts it.
 *
 * @param accept everything that looks at the request; it may bring pictures
 * @throws Refusal 429, 503 and 507, and what `accept` throws
 */
export async function admitted(
  { jobs, images, limits }: Parts,
  { client, id = randomUUID() }: { readonly client: string | undefined; readonly id?: string },
  accept: () => Promise<Accepted>,
): Promise<Admitted> {
  await jobs.admit(id, client);
  try {
    const stored = images.storedBytes?.() ?? 0;
    if (stored >= limits.storedBytes)
      throw new Refusal(507, "QUOTA", `the pictures here take ${gigabytes(stored)}, all that they may`, {
        hint: "delete jobs from the history, or start the server with a larger --quota",
      });
    return { ...(await accept()), id };
  } catch (error) {
    jobs.leave(id);
    throw error;
  }
}

const gigabytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GB`;

/**
 * Turns a request into a job: finds the model, decodes the pictures, checks limits, and stores the pictures last.
 *
 * @param pictures in which those of the request are counted that were looked at before
 * @throws Refusal and DiffusionError with what is wrong with it
 */
export async function acceptGenerate(
  request: Incoming,
  parts: Parts,
  pictures: ForeignPictures = parts.foreign.ofRequest(),
): Promise<Accepted> {
  const { models, limits, settings } = parts;
  const { image, images: several, mask, controlnet, ipAdapter, ...others } = request;
  const { kind, vae: asked, wildcards, ...rest } = others;
  if (image !== undefined && several)
    throw new Refusal(400, "BAD_OPTION", "image and images contradict each other");
  for (const { model } of controlnet ?? []) await models.files.findControl(model);
  for (const { model } of ipAdapter ?? []) await models.files.findIpAdapter(model);
  const hires = request.hires && (await hiresOf(request.hires, models));
  const option = models.resolve(request.model, {
    masked: (mask !== undefined && !request.softMask) || request.expand !== undefined,
  });
  const { info } = option;
  const defaults = settings.data;
  const refiner = request.refiner && refinerOf(request, option, models);
  const vae = asked === undefined ? models.vae : (await models.files.findVae(asked ?? undefined))?.name;
  const stored: StoredGenerate = {
    rng: defaults.rng,
    ...(info.tokenizer && {
      prompt: "",
      ...(defaults.clipSkip > 1 && !info.traits.ignoresWebuiClipSkip && { clipSkip: defaults.clipSkip - 1 }),
    }),
    ...rest,
    kind: "generate",
    model: option.label,
    ...(vae !== undefined && info.kind !== "unconditional" && { vae }),
    count: request.count ?? several?.length ?? 1,
    ...(wildcards && { wildcards: await listsFor(request, parts) }),
    ...(hires && { hires }),
    ...(refiner && { refiner }),
  };
  // APIs of others are laxer than ours, and what a journal could not read again must not get into it.
  checkGrid(stored, limits.count);
  if (stored.grid && several)
    throw new Refusal(400, "BAD_OPTION", "grid and images contradict each other", {
      hint: "a grid starts from one image",
    });
  if (several && several.length > stored.count)
    throw new Refusal(
      400,
      "BAD_OPTION",
      `${several.length} images for ${stored.count} pictures are too many`,
      {
        hint: "each picture starts from one of them",
      },
    );
  for (const one of [stored, ...gridCells(stored)]) {
    checked(storedRequest, one);
    if (one.scheduler !== undefined) checkScheduler(one.scheduler);
  }
  checkCounts(stored, limits);
  const { keys, starts, made } = await takePictures(request, pictures);
  const whole = { ...stored, ...keys };
  await checkPlan(whole, { option, models, starts }, limits);
  const named = { ...whole, ...(await filesFor(whole, parts)) };
  return kept({ lane: option.label, request: named }, made, parts);
}

/** Stores the pictures of a job that has been found good. */
export async function kept(
  job: Pick<NewJob, "lane" | "request">,
  made: ReadonlyMap<string, Plain>,
  { images, jobs }: Parts,
): Promise<Accepted> {
  const tried: string[] = [];
  const refused = () => removeUnneeded(tried, { images, queue: jobs.queue });
  try {
    for (const [key, { png }] of made) {
      tried.push(key);
      await images.put(png, key, { briefly: true });
    }
  } catch (error) {
    const removed = refused().catch(() => {});
    // The client has waited long enough for a store that is away.
    if (!(error instanceof Refusal) || error.code !== storageAway) await removed;
    throw error;
  }
  return { ...job, refused };
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

/**
 * What a request of an API that has no word for it says about wildcards: an operator who gives lists means them to be
 * drawn from, as by the web UI's extensions. Without lists such prompts are plain text.
 */
export async function usualWildcards({
  wildcards,
}: Pick<Parts, "wildcards">): Promise<Pick<Incoming, "wildcards">> {
  return Object.keys(await wildcards()).length > 0 ? { wildcards: true } : {};
}

/** Unknown names are refused at once, with the nearest one. */
function checkScheduler(scheduler: NonNullable<GenerateRequest["scheduler"]>): void {
  if (typeof scheduler === "string") samplerPair(scheduler);
  else samplerPair({ sampler: scheduler.sampler, schedule: scheduler.schedule });
}

/** What workers compare with theirs; a job that runs here has no others. */
export async function filesFor(
  request: StoredRequest,
  { jobs, models }: Parts,
): Promise<{ files?: NamedFile[] }> {
  const files = jobs.queue.workers ? await namedFiles(request, models) : [];
  return files.length > 0 ? { files: [...files] } : {};
}

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

/** The model that finishes, by its label. @throws Refusal for what cannot be handed over to it */
function refinerOf(
  request: Incoming,
  { info: { traits } }: ModelOption,
  models: Models,
): NonNullable<GenerateRequest["refiner"]> {
  const { model, switchAt } = request.refiner!;
  for (const [name, value] of Object.entries(request))
    if (value !== undefined && (name === "images" || notRefined.some((other) => other === name)))
      throw new Refusal(400, "BAD_OPTION", `refiner and ${name} contradict each other`, {
        hint: "it finishes pictures that are made from noise",
      });
  const { label, info } = models.resolve(model);
  const { sees, hasText } = info.traits;
  const isAlike = (["factor", "channels", "scaling"] as const).every((key) => {
    const [own, given] = [info.traits[key], traits[key]];
    return own === given || own === undefined || given === undefined;
  });
  if (!isAlike || !hasText || !traits.hasText || sees !== "latents" || traits.sees !== "latents")
    throw new Refusal(400, "BAD_OPTION", `refiner: ${info.name} cannot go on with latents of ${traits.name}`);
  return { model: label, switchAt };
}
