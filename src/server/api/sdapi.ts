import { freemem, totalmem } from "node:os";
import { basename } from "node:path";
import { type Context, Hono } from "hono";
import type { z } from "zod";
import { problemsOf } from "../../expectations.js";
import { DiffusionError, schedulerEntries, scheduleTypes } from "../../index.js";
import { acceptGenerate, acceptUpscale, type Incoming, type Parts, upscalingModels } from "../accept.js";
import { decodeBase64, inFormat, readForeign } from "../images.js";
import { perState, polled, sendPolled } from "../polled.js";
import type { Job, JobImage } from "../queue/queue.js";
import { Refusal, refusalOf } from "../refusal.js";
import { clientOf } from "../security.js";
import { upscalers } from "../work.js";
import { badJson } from "./native.js";
import { pngInfo } from "./png-info.js";
import { img2imgRequest, ownVae, rngOf, txt2imgRequest } from "./sdapi-request.js";
import {
  extraSingleImage,
  type Img2img,
  img2img,
  internalProgress,
  optionsBody,
  pngInfoBody,
  type Txt2img,
  txt2img,
} from "./sdapi-schema.js";

/** AUTOMATIC1111's API, for clients that speak it already. */
export function sdapi(parts: Parts): Hono {
  const app = new Hono();
  app.onError((error, c) => sdapiError(error, c));
  // Before what touches the headers of an answer: many clients ask for it every second.
  app.get("/sdapi/v1/progress", async (c) => {
    const began = performance.now();
    const { queue } = parts.jobs;
    const [job] = await (queue.recent ?? queue).list({ status: ["running"], limit: 1 });
    const made = c.req.query("skip_current_image") === "true" ? bareProgress : fullProgress;
    return sendPolled(c, job ? made(job) : noProgress, processTime(began));
  });
  app.use("/sdapi/*", async (c, next) => {
    const began = performance.now();
    await next();
    for (const [name, value] of Object.entries(processTime(began))) c.res.headers.set(name, value);
  });

  app.post("/sdapi/v1/txt2img", async (c) => {
    const body = await read(c, txt2img);
    await checkVae(body, parts);
    return c.json(await generate(c, parts, body, txt2imgRequest(body)));
  });
  app.post("/sdapi/v1/img2img", async (c) => {
    const body = await read(c, img2img);
    await checkVae(body, parts);
    return c.json(await generate(c, parts, body, await img2imgRequest(body, parts.limits)));
  });
  app.post("/sdapi/v1/extra-single-image", async (c) => c.json(await extra(c, parts)));
  app.post("/sdapi/v1/png-info", async (c) => {
    const { image } = await read(c, pngInfoBody);
    return c.json(pngInfo(image, parts.limits));
  });

  app.post("/internal/progress", async (c) =>
    c.json(await taskProgress(parts, await read(c, internalProgress))),
  );
  app.post("/sdapi/v1/interrupt", async (c) => {
    await parts.jobs.interrupt();
    return c.json({});
  });
  app.post("/sdapi/v1/skip", (c) => {
    parts.jobs.skip();
    return c.json(null);
  });

  app.get("/sdapi/v1/options", (c) => c.json(options(parts)));
  app.post("/sdapi/v1/options", async (c) => {
    await setOptions(parts, await read(c, optionsBody));
    return c.json(null);
  });
  app.post("/sdapi/v1/unload-checkpoint", async (c) => {
    await parts.models.unload(parts.models.current.label);
    return c.json({});
  });
  app.post("/sdapi/v1/reload-checkpoint", async (c) => {
    await parts.models.warm(parts.models.current.label);
    return c.json({});
  });
  for (const path of ["refresh-checkpoints", "refresh-vae", "refresh-loras"])
    app.post(`/sdapi/v1/${path}`, (c) => c.json(null));
  app.post("/sdapi/v1/interrogate", () => {
    throw new Refusal(501, "UNSUPPORTED", "this server has no model that describes pictures");
  });
  addLists(app, parts);
  return app;
}

/** What there is, and what there is none of. */
function addLists(app: Hono, { models }: Parts): void {
  const list = (path: string, value: () => object | Promise<object>) =>
    app.get(`/sdapi/v1/${path}`, async (c) => c.json(await value()));
  list("samplers", () =>
    schedulerEntries.map(({ label, name, aliases }) => ({
      name: label,
      aliases: [...new Set([...aliases, name])].filter((alias) => alias !== label),
      options: {},
    })),
  );
  list("schedulers", () =>
    ["automatic", ...scheduleTypes].map((name) => ({
      name,
      label: name.replaceAll("_", " ").replace(/\b\w/g, (letter) => letter.toUpperCase()),
      aliases: null,
      default_rho: { karras: 7, polyexponential: 1 }[name] ?? -1,
      need_inner_model: ["uniform", "sgm_uniform", "simple", "normal", "ddim_uniform", "beta"].includes(name),
    })),
  );
  list("sd-models", () =>
    models.list().map(({ label, name }) => ({
      title: label,
      model_name: label,
      hash: null,
      sha256: null,
      filename: name,
      config: null,
    })),
  );
  list("upscalers", () =>
    ["None", ...upscalers, ...upscalingModels(models)].map((name) => ({
      name,
      model_name: null,
      model_path: null,
      model_url: null,
      scale: name === "None" ? 1 : 4,
    })),
  );
  list("latent-upscale-modes", () =>
    ["", " (antialiased)", " (bicubic)", " (bicubic antialiased)", " (nearest)", " (nearest-exact)"].map(
      (mode) => ({ name: `Latent${mode}` }),
    ),
  );
  list("embeddings", () => ({ loaded: {}, skipped: {} }));
  list("scripts", () => ({ txt2img: [], img2img: [] }));
  list("cmd-flags", () => ({}));
  list("memory", () => {
    const total = totalmem();
    const free = freemem();
    return { ram: { free, used: total - free, total }, cuda: { error: "unavailable" } };
  });
  // Names, not paths: where things lie on this machine is nobody's business.
  list("sd-vae", async () =>
    (await models.vaes()).map(({ name, path }) => ({ model_name: name, filename: basename(path) })),
  );
  list("loras", async () =>
    (await models.loras()).map(({ name, path }) => ({
      name,
      alias: name,
      path: basename(path),
      metadata: {},
    })),
  );
  for (const none of [
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "prompt-styles",
    "script-info",
    "extensions",
  ])
    list(none, () => []);
}

async function generate(c: Context, parts: Parts, body: Txt2img | Img2img, request: Incoming) {
  const accepted = await acceptGenerate(request, parts).catch((error: unknown) => {
    // "Sampler not found" is what clients of this API look for.
    if (error instanceof DiffusionError && /^there is no (scheduler|schedule type)/.test(error.message))
      throw new Refusal(404, "SAMPLER", `Sampler not found: ${error.message}`);
    throw error;
  });
  const task = body.force_task_id;
  const job = await parts.jobs.run(
    { ...accepted, client: clientOf(c), via: "sdapi", ...(task && { task: task.slice(0, 200) }) },
    c.req.raw.signal,
  );
  if (job.status === "failed" || job.status === "lost") {
    const { code = "LOST", message = "the job was lost", hint } = job.error ?? {};
    throw new Refusal(code === "BAD_OPTION" ? 422 : 500, code, message, hint ? { hint } : {});
  }
  const made = job.result?.images ?? [];
  const format = parts.settings.data.samplesFormat === "jpg" ? "jpeg" : parts.settings.data.samplesFormat;
  const images = await Promise.all(
    (body.send_images ? made : []).map(async ({ key }) => {
      const png = await parts.images.get(key);
      return png && Buffer.from(await inFormat(png, format, undefined)).toString("base64");
    }),
  );
  return { images, parameters: echo(body), info: JSON.stringify(infoOf(body, job, made, parts)) };
}

/** One autoencoder serves all requests: asking for the one in use is fine, another one is chosen in the options. */
async function checkVae({ override_settings }: Txt2img | Img2img, { models }: Parts): Promise<void> {
  const asked = override_settings?.sd_vae;
  if (typeof asked !== "string" || asked === "Automatic" || asked === "") return;
  const found = await models.findVae(ownVae(asked) ? undefined : asked);
  if (found?.name !== models.vae)
    throw new Refusal(422, "UNSUPPORTED", "override_settings.sd_vae is not changed for one request", {
      hint: "choose it for all with POST /sdapi/v1/options",
    });
}

/** The request as it was understood; pictures only when asked for, as they are large. */
function echo(body: Txt2img | Img2img): object {
  const isImg2img = "resize_mode" in body;
  const all = Object.keys((isImg2img ? img2img : txt2img).shape).map((key) => [key, null]);
  const withNulls = { ...Object.fromEntries(all), ...body };
  return !isImg2img || body.include_init_images ? withNulls : { ...withNulls, init_images: null, mask: null };
}

function infoOf(body: Txt2img | Img2img, job: Job, made: readonly JobImage[], { settings, models }: Parts) {
  const seeds = made.map(({ seed }) => Number(seed ?? -1));
  const { subseed, subseed_strength } = body;
  const varied = made.map(({ parameters }) =>
    Number(/Variation seed: (\d+)/.exec(parameters)?.[1] ?? subseed),
  );
  const { request } = job;
  const option = models.resolve(request.kind === "generate" ? request.model : undefined);
  return {
    prompt: body.prompt,
    all_prompts: made.map(() => body.prompt),
    negative_prompt: body.negative_prompt,
    all_negative_prompts: made.map(() => body.negative_prompt),
    seed: seeds[0] ?? body.seed,
    all_seeds: seeds,
    subseed: varied[0] ?? subseed,
    all_subseeds: varied,
    subseed_strength,
    width: made[0]?.width ?? body.width,
    height: made[0]?.height ?? body.height,
    sampler_name: body.sampler_name || body.sampler_index,
    cfg_scale: body.cfg_scale,
    steps: body.steps,
    batch_size: body.batch_size,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: option.name,
    sd_model_hash: null,
    sd_vae_name: models.vae ?? null,
    sd_vae_hash: null,
    seed_resize_from_w: body.seed_resize_from_w,
    seed_resize_from_h: body.seed_resize_from_h,
    denoising_strength: body.denoising_strength,
    extra_generation_params: {},
    index_of_first_image: 0,
    infotexts: made.map(({ parameters }) => parameters),
    styles: [],
    job_timestamp: timestamp(job.created),
    clip_skip:
      request.kind === "generate" && request.clipSkip !== undefined
        ? request.clipSkip + 1
        : settings.data.clipSkip,
    is_using_inpainting_conditioning: option.info.kind === "inpainting",
  };
}

async function extra(c: Context, parts: Parts) {
  const body = await read(c, extraSingleImage);
  if (body.gfpgan_visibility > 0 || body.codeformer_visibility > 0 || body.extras_upscaler_2_visibility > 0)
    throw new Refusal(501, "UNSUPPORTED", "this server restores no faces and blends no second upscaler");
  if (body.image === "") throw new Refusal(404, "NO_IMAGE", "Image not found");
  if (body.upscaler_1 === "None") return { html_info: "", image: body.image.replace(/^data:[^,]*,/, "") };
  const accepted = await acceptUpscale(
    { kind: "upscale", image: body.image, upscaler: body.upscaler_1, ...(await sizeOf(body, parts)) },
    parts,
  );
  const job = await parts.jobs.run({ ...accepted, client: clientOf(c), via: "sdapi" }, c.req.raw.signal);
  const [made] = job.result?.images ?? [];
  const png = made && (await parts.images.get(made.key));
  if (!png) throw new Refusal(500, job.error?.code ?? "LOST", job.error?.message ?? "the job was cancelled");
  return { html_info: made.parameters, image: Buffer.from(png).toString("base64") };
}

/** Mode 0 multiplies; mode 1 fits into the size given (or covers it, when what is too much is cropped away). */
async function sizeOf(body: z.infer<typeof extraSingleImage>, { limits }: Parts) {
  const { resize_mode, upscaling_resize, upscaling_resize_w, upscaling_resize_h, upscaling_crop } = body;
  if (resize_mode === 0) return { scale: upscaling_resize };
  const { width, height } = await readForeign(decodeBase64(body.image), limits);
  const [byWidth, byHeight] = [upscaling_resize_w / width, upscaling_resize_h / height];
  if (upscaling_crop && byWidth !== byHeight)
    throw new Refusal(501, "UNSUPPORTED", "this server does not crop: set upscaling_crop to false", {
      hint: "or ask for a size of the picture's own proportions",
    });
  const scale = Math.min(byWidth, byHeight);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

/** How long it took, in seconds: a header of this API. */
const processTime = (began: number) => ({
  "X-Process-Time": ((performance.now() - began) / 1000).toFixed(4),
});

const fullProgress = perState((job) => polled(progress(job, false)));
const bareProgress = perState((job) => polled(progress(job, true)));
const noProgress = polled(progress(undefined, true));

/** @param job the one that runs, if any does */
function progress(job: Job | undefined, skipImage: boolean) {
  const { progress } = job ?? {};
  const { image = 0, images = 1, step = 0, steps = 0 } = progress ?? {};
  const perImage = steps / images;
  return {
    progress: job ? Math.min(1, 0.01 + (progress?.share ?? 0)) : 0,
    eta_relative: (progress?.etaMs ?? 0) / 1000,
    state: {
      skipped: false,
      interrupted: false,
      stopping_generation: false,
      job: job ? (job.task ?? job.id) : "",
      job_count: job ? images : 0,
      job_timestamp: job ? timestamp(job.created) : "0",
      job_no: image,
      sampling_step: step - image * perImage,
      sampling_steps: perImage,
    },
    current_image: (!skipImage && progress?.preview) || null,
    textinfo: progress?.phase === "load" ? `Loading ${progress.what ?? "model"}` : null,
  };
}

/** The web UI's own progress call, by the task id that a client forced. */
async function taskProgress({ jobs }: Parts, { id_task, live_preview }: z.infer<typeof internalProgress>) {
  const [job] = await jobs.queue.list({ task: id_task ?? "", limit: 1 });
  const preview = live_preview ? job?.progress?.preview : undefined;
  return {
    active: job?.status === "running",
    queued: job?.status === "queued",
    completed: job !== undefined && !["running", "queued"].includes(job.status),
    progress: job?.progress?.share ?? null,
    eta: job?.progress?.etaMs === undefined ? null : job.progress.etaMs / 1000,
    live_preview: preview ? `data:image/png;base64,${preview}` : null,
    id_live_preview: job?.progress?.step ?? -1,
    textinfo: job?.status === "queued" ? "In queue..." : null,
  };
}

function options({ models, settings }: Parts) {
  const { clipSkip, rng, samplesFormat } = settings.data;
  return {
    sd_model_checkpoint: models.current.label,
    sd_checkpoint_hash: "",
    sd_vae: models.vae ?? "Automatic",
    CLIP_stop_at_last_layers: clipSkip,
    eta_noise_seed_delta: 0,
    randn_source: rng === "torch" ? "CPU" : "NV",
    samples_format: samplesFormat,
    live_previews_enable: true,
    return_grid: false,
    save_images_add_number: true,
    enable_pnginfo: true,
  };
}

async function setOptions({ models, settings }: Parts, body: z.infer<typeof optionsBody>): Promise<void> {
  const { sd_model_checkpoint, CLIP_stop_at_last_layers, randn_source, samples_format } = body;
  if (sd_model_checkpoint) await models.choose(sd_model_checkpoint);
  if (body.sd_vae != null) await models.chooseVae(ownVae(body.sd_vae) ? undefined : body.sd_vae);
  await settings.set({
    ...(CLIP_stop_at_last_layers && { clipSkip: CLIP_stop_at_last_layers }),
    ...(randn_source && { rng: rngOf(randn_source) }),
    ...(samples_format && { samplesFormat: samples_format === "jpeg" ? "jpg" : samples_format }),
  });
}

/** Local time as the web UI writes it: 20261122153000. */
function timestamp(ms: number): string {
  const date = new Date(ms);
  const parts = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  return date.getFullYear() + parts.map((part) => String(part).padStart(2, "0")).join("");
}

/** A body by its schema; what does not fit is told as FastAPI tells it. */
async function read<T>(c: Context, schema: z.ZodType<T>): Promise<T> {
  const body: unknown = await c.req.json().catch(badJson);
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new Invalid(
    problemsOf(result.error, body).map(({ message }, i) => {
      const { path, code } = result.error.issues[i]!;
      return { loc: ["body", ...path], msg: message, type: code };
    }),
  );
}

class Invalid extends Error {
  readonly issues: readonly object[];
  constructor(issues: readonly object[]) {
    super("invalid body");
    this.issues = issues;
  }
}

function sdapiError(error: unknown, c: Context): Response {
  if (error instanceof Invalid)
    return c.json({ error: "RequestValidationError", detail: error.issues, body: "", errors: "" }, 422);
  const { status, code, message, hint, headers } = refusalOf(error);
  // What is wrong with a picture's bytes is a 500 in this API.
  const shown = code === "BAD_IMAGE" ? 500 : status;
  const detail = code === "BAD_IMAGE" ? "Invalid encoded image" : message;
  const body = { error: "HTTPException", detail, body: "", errors: hint ? `${message}; ${hint}` : message };
  return c.json(body, shown as 500, headers);
}
