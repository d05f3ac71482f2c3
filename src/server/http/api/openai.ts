import { type Context, Hono } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { parseFields, type Size } from "../../../index.js";
import type { ForeignPictures } from "../../foreign/foreign.js";
import { acceptGenerate, admitted, type Incoming, type Parts, usualWildcards } from "../../jobs/accept.js";
import { takesStrength } from "../../jobs/model-option.js";
import type { Job, JobImage } from "../../queue/queue.js";
import { isOfRequest, Refusal } from "../../refusal.js";
import { inFormat } from "../../storage/images.js";
import { clientOf } from "../security.js";
import {
  type Body,
  badBody,
  check,
  editsBody,
  files,
  generationsBody,
  variationsBody,
  withoutEffect,
} from "./openai-bodies.js";
import { envelope, openaiError, ParameterRefusal } from "./openai-errors.js";
import { linkTo } from "./openai-links.js";

/** OpenAI's images API, for clients that speak it already. */
export function openaiApi(parts: Parts): Hono {
  const app = new Hono();
  app.onError((error, c) => openaiError(error, c));

  app.get("/v1/models", (c) =>
    c.json({
      object: "list",
      data: parts.models.list().map(modelView),
    }),
  );
  app.get("/v1/models/:model", (c) => {
    const model = c.req.param("model");
    return c.json(
      isTheirs(model)
        ? { ...modelView(parts.models.current), id: model }
        : modelView(parts.models.resolve(model)),
    );
  });
  app.post("/v1/images/generations", async (c) => {
    const body = check(generationsBody, await c.req.json().catch(badBody));
    return answer(c, parts, "image_generation", body, async () => requestOf(body, parts));
  });
  app.post("/v1/images/edits", async (c) => {
    const form = await c.req.parseBody({ all: true }).catch(badBody);
    const body = check(editsBody, form, files);
    const image = await file(form, "image");
    if (!image) throw new Refusal(400, "BAD_IMAGE", "image is missing");
    const given = await file(form, "mask");
    return answer(c, parts, "image_edit", body, async (pictures) => {
      const mask = await maskOf(image, given, pictures);
      return { ...requestOf(body, parts, mask !== undefined), image, ...(mask && { mask }) };
    });
  });
  app.post("/v1/images/variations", async (c) => {
    const form = await c.req.parseBody({ all: true }).catch(badBody);
    const body = check(variationsBody, form, files);
    const image = await file(form, "image");
    if (!image) throw new Refusal(400, "BAD_IMAGE", "image is missing");
    const asked = requestOf(body, parts);
    const strength = takesStrength(parts.models.resolve(asked.model).info) ? { strength: 0.7 } : {};
    const request = { prompt: "", ...strength, ...asked, image };
    return answer(c, parts, "image_variation", body, async () => request);
  });
  return app;
}

const modelView = ({ label }: { readonly label: string }) => ({
  id: label,
  object: "model",
  created: 0,
  owned_by: "local",
});

/** OpenAI's own model names stand for whatever is loaded here, so that clients work unchanged. */
const isTheirs = (model: string): boolean => /^(gpt-image|chatgpt-image|dall-e)/.test(model);

/** A quality, where the client does not say the steps: times as many as the model's own. */
const moreSteps = { auto: 1, standard: 1, medium: 1, low: 0.5, high: 2, hd: 2 };

function requestOf(body: Body, { models }: Parts, masked = false): Incoming {
  const { n, size, quality, prompt, negative_prompt, background } = body;
  const model = isTheirs(body.model ?? "") ? undefined : (body.model ?? undefined);
  const { usual } = models.resolve(model, { masked }).info;
  if (background === "transparent")
    throw new ParameterRefusal("background", "background: pictures of this server are opaque");
  const [width, height] = size && size !== "auto" ? size.split("x").map(Number) : [];
  const optional = {
    negativePrompt: negative_prompt,
    guidance: body.guidance,
    seed: body.seed,
    scheduler: body.scheduler,
    strength: body.strength,
    model,
    width,
    height,
    prompt,
  };
  return {
    steps: body.steps ?? Math.ceil(usual.steps * moreSteps[quality ?? "auto"]),
    count: n ?? 1,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value != null)),
  };
}

/** The last of the files that a form has under a name; `image[]` is how newer clients call it. */
async function file(form: Record<string, unknown>, name: string): Promise<Uint8Array | undefined> {
  const given = [form[name], form[`${name}[]`]].flat().filter((value) => value instanceof File);
  if (given.length > 1) throw new ParameterRefusal(name, `${name}: one picture can be worked on at a time`);
  return given[0] && new Uint8Array(await given[0].arrayBuffer());
}

/** Transparent parts are repainted: of the mask, or of the picture itself when there is none. */
async function maskOf(image: Uint8Array, mask: Uint8Array | undefined, pictures: ForeignPictures) {
  const made = await pictures.make("mask", mask ?? image, { repaint: "transparent", onlyTransparent: true });
  if (!made && mask)
    throw new ParameterRefusal("mask", "the mask has no transparent pixels, so there is nothing to edit", {
      hint: "make transparent (alpha 0) what is to be repainted, and leave the rest opaque",
    });
  return made;
}

type Kind = "image_generation" | "image_edit" | "image_variation";

async function answer(
  c: Context,
  parts: Parts,
  kind: Kind,
  body: Body,
  requestFor: (pictures: ForeignPictures) => Promise<Incoming>,
) {
  const pictures = parts.foreign.ofRequest();
  const accepted = await admitted(parts, { client: clientOf(c) }, async () =>
    acceptGenerate({ ...(await requestFor(pictures)), ...(await usualWildcards(parts)) }, parts, pictures),
  );
  const submit = (signal: AbortSignal, onChange?: (job: Job) => void) =>
    parts.jobs.run({ ...accepted, via: "openai" }, signal, onChange);
  if (body.stream) return streamAnswer(c, parts, kind, body, submit);
  const job = completed(await submit(c.req.raw.signal));
  const made = job.result?.images ?? [];
  const data = await Promise.all(made.map((image) => dataOf(c, parts, body, image)));
  return c.json({ created: seconds(job), ...described(body, made[0]), data });
}

function streamAnswer(
  c: Context,
  parts: Parts,
  kind: Kind,
  body: Body,
  submit: (signal: AbortSignal, onChange: (job: Job) => void) => Promise<Job>,
) {
  return streamSSE(c, async (stream) => {
    const left = new AbortController();
    stream.onAbort(() => left.abort());
    const send = (type: string, data: object) =>
      stream.writeSSE({ event: type, data: JSON.stringify({ type, ...data }) });
    let told: Promise<unknown> = Promise.resolve();
    const partials = partialImages(body.partial_images ?? 0, ({ preview, ...event }) => {
      told = told.then(async () => {
        const png = Buffer.from(preview, "base64");
        const b64_json = await inBase64(png, body);
        await send(`${kind}.partial_image`, { b64_json, ...described(body, sizeOfPng(png)), ...event });
      });
      told.catch(() => {}); // it is told below, where it is waited for
    });
    try {
      const job = completed(await submit(left.signal, partials));
      await told;
      for (const image of job.result?.images ?? []) {
        const b64_json = await base64Of(parts, body, image);
        await send(`${kind}.completed`, {
          b64_json,
          created_at: seconds(job),
          ...described(body, image),
          ...notesOf(body, image),
        });
      }
    } catch (error) {
      await sendError(stream, error);
    }
  });
}

const sendError = (stream: SSEStreamingApi, error: unknown) =>
  stream.writeSSE({ event: "error", data: JSON.stringify({ type: "error", ...envelope(error) }) });

interface PartialImage {
  /** A PNG in base64. */
  readonly preview: string;
  readonly partial_image_index: number;
  readonly created_at: number;
}

/** Tells `wanted` previews of each picture, spread over its steps. */
function partialImages(wanted: number, tell: (event: PartialImage) => void) {
  const told = new Map<number, number>();
  return ({ progress, created }: Job): void => {
    if (!progress?.preview || progress.phase !== "denoise") return;
    const { image, images, step, steps, preview } = progress;
    const perImage = steps / images;
    const index = told.get(image) ?? 0;
    const due = ((index + 1) * perImage) / (wanted + 1);
    if (index >= wanted || step - image * perImage < due) return;
    told.set(image, index + 1);
    tell({ preview, partial_image_index: index, created_at: Math.floor(created / 1000) });
  };
}

/** A job that was interrupted gives what there was by then, as in the web UI's API. */
function completed(job: Job): Job {
  const kept = job.status === "cancelled" && (job.result?.images ?? []).length > 0;
  if (job.status === "completed" || kept) return job;
  const { code = "CANCELLED", message = "the job was cancelled", hint } = job.error ?? {};
  // Of a fault of the server's, clients send the request again.
  throw new Refusal(
    isOfRequest(code) || job.status === "cancelled" ? 400 : 500,
    code,
    message,
    hint ? { hint } : {},
  );
}

/** Where nothing is said, as OpenAI's models of that name do: gpt-image has no addresses. */
const asUrl = ({ response_format, model }: Body): boolean =>
  response_format ? response_format === "url" : /^dall-e-[23]$/.test(model ?? "");

async function dataOf(c: Context, parts: Parts, body: Body, image: JobImage) {
  const extra = { ...(image.seed !== undefined && { seed: image.seed }), ...notesOf(body, image) };
  const { key } = image;
  if (asUrl(body)) {
    const quality = body.output_compression ?? undefined;
    return { url: await linkTo(c, parts, { key, format: body.output_format ?? "png", quality }), ...extra };
  }
  return { b64_json: await base64Of(parts, body, image), ...extra };
}

/** Beyond OpenAI's API: what its owner should know of a picture, such as what of the request had no effect. */
function notesOf(body: Body, { notes = [], parameters }: JobImage): { readonly notes?: readonly string[] } {
  const isStopped = parseFields(parameters).Interrupted === "true";
  const told = [
    ...withoutEffect.flatMap((name) =>
      body[name] == null ? [] : [`${name} has no effect here: it is for models of OpenAI's`],
    ),
    ...notes,
    ...(isStopped ? ["the job was interrupted: the picture is as far as it was by then"] : []),
  ];
  return told.length > 0 ? { notes: told } : {};
}

async function base64Of({ images }: Parts, body: Body, { key }: JobImage): Promise<string> {
  const png = await images.get(key);
  if (!png) throw new Refusal(500, "IMAGE_GONE", "the picture is no longer on disk");
  return inBase64(png, body);
}

/** A PNG in the format that the client asked for. */
async function inBase64(png: Uint8Array, { output_format, output_compression }: Body): Promise<string> {
  const bytes = await inFormat(png, output_format ?? "png", output_compression ?? undefined);
  return Buffer.from(bytes).toString("base64");
}

const seconds = ({ finished, created }: Job): number => Math.floor((finished ?? created) / 1000);

/** Its first chunk says so; previews are smaller than what they become. */
const sizeOfPng = (png: Buffer): Size => ({ width: png.readUInt32BE(16), height: png.readUInt32BE(20) });

const described = (body: Body, size: Size | undefined) => ({
  output_format: body.output_format ?? "png",
  quality: body.quality ?? "auto",
  background: "opaque",
  size: size ? `${size.width}x${size.height}` : (body.size ?? "auto"),
});
