import type { Context } from "hono";
import { packageVersion } from "../../../disk/package.js";
import { DiffusionError, parseFields, parseParameters } from "../../../index.js";
import type { ForeignPictures } from "../../foreign/foreign.js";
import { acceptGenerate, admitted, type Incoming, type Parts, usualWildcards } from "../../jobs/accept.js";
import { type ModelOption, takesStrength } from "../../jobs/model-option.js";
import { shortHash } from "../../jobs/weight-hashes.js";
import type { Job, JobImage } from "../../queue/queue.js";
import { isOfRequest, Refusal } from "../../refusal.js";
import { inFormat } from "../../storage/images.js";
import { clientOf } from "../security.js";
import { shownMaps } from "./sdapi-controlnet.js";
import { unknownUnitFields } from "./sdapi-controlnet-units.js";
import { setOptions } from "./sdapi-options.js";
import { overrideOf, unknownSettings } from "./sdapi-override.js";
import { timestamp } from "./sdapi-progress.js";
import { type Img2img, img2img, type Txt2img, txt2img } from "./sdapi-schema.js";
import type { Styled } from "./sdapi-styles.js";

/** A request as it came, and with its styles. */
interface Asked extends Styled<Txt2img | Img2img> {
  readonly asked: Txt2img | Img2img;
  /** Names of fields that are not among those of this API. */
  readonly fields: readonly string[];
  /** The body as it came, without defaults. */
  readonly sent: Readonly<Record<string, unknown>>;
}

/** Runs a request to its end, and tells what came of it as the web UI does. */
export async function generate(
  c: Context,
  parts: Parts,
  asked: Asked,
  requestOf: (pictures: ForeignPictures) => Promise<Incoming>,
) {
  const { body } = asked;
  const pictures = parts.foreign.ofRequest();
  const accepted = await admitted(parts, { client: clientOf(c) }, async () => {
    const request = { ...(await requestOf(pictures)), ...(await usualWildcards(parts)) };
    const accepted = await acceptGenerate(request, parts, pictures).catch((error: unknown) => {
      throw asToldHere(error);
    });
    // In here: where it fails, the client's place is free again.
    if (!body.override_settings_restore_afterwards) await setOptions(parts, overrideOf(body));
    return accepted;
  });
  const task = body.force_task_id;
  const job = await parts.jobs.run(
    { ...accepted, via: "sdapi", ...(task && { task: task.slice(0, 200) }) },
    c.req.raw.signal,
  );
  if (job.status === "failed" || job.status === "lost") {
    const { code = "LOST", message = "the job was lost", hint } = job.error ?? {};
    throw new Refusal(isOfRequest(code) ? 422 : 500, code, message, hint ? { hint } : {});
  }
  const made = job.result?.images ?? [];
  const { request: ran } = job;
  const vae = ran.kind === "generate" ? ran.vae : undefined;
  const vaePath = (await parts.models.files.findVae(vae).catch(() => undefined))?.path;
  const format = parts.settings.data.samplesFormat === "jpg" ? "jpeg" : parts.settings.data.samplesFormat;
  const shown = [...made.map(({ key }) => key), ...(made.length > 0 ? mapsOf(body, job, parts) : [])];
  const images = await Promise.all(
    (body.send_images ? shown : []).map(async (key) => {
      const png = await parts.images.get(key);
      return png && Buffer.from(await inFormat(png, format, undefined)).toString("base64");
    }),
  );
  return {
    images,
    parameters: echo(asked.asked),
    info: JSON.stringify(infoOf(asked, job, made, parts, vaePath)),
  };
}

/** What the library refuses has the status that it has when a job of it fails. */
function asToldHere(error: unknown): unknown {
  if (!(error instanceof DiffusionError)) return error;
  const { code, message, hint } = error;
  // "Sampler not found" is what clients of this API look for.
  if (/^there is no (scheduler|schedule type)/.test(message))
    return new Refusal(404, "SAMPLER", `Sampler not found: ${message}`);
  return code === "BAD_OPTION" ? new Refusal(422, code, message, hint ? { hint } : {}) : error;
}

function mapsOf(body: Txt2img | Img2img, { request }: Job, { settings }: Parts): readonly string[] {
  const { control_net_no_detectmap } = overrideOf(body);
  const hidden = control_net_no_detectmap ?? !settings.data.detectedMaps;
  return hidden || request.kind !== "generate" ? [] : shownMaps(body, request.controlnet);
}

/** The request as it was understood; pictures only when asked for, as they are large. */
function echo(body: Txt2img | Img2img): object {
  const isImg2img = "resize_mode" in body;
  const all = Object.keys((isImg2img ? img2img : txt2img).shape).map((key) => [key, null]);
  const withNulls = { ...Object.fromEntries(all), ...body };
  return !isImg2img || body.include_init_images ? withNulls : { ...withNulls, init_images: null, mask: null };
}

/** @param vaePath of the autoencoder that was taken in place of the model's own */
function infoOf(
  { body, unknown, fields, sent }: Asked,
  job: Job,
  made: readonly JobImage[],
  { settings, models }: Parts,
  vaePath: string | undefined,
) {
  const seeds = made.map(({ seed }) => Number(seed ?? -1));
  const { subseed, subseed_strength } = body;
  const varied = made.map(({ parameters }) =>
    Number(/Variation seed: (\d+)/.exec(parameters)?.[1] ?? subseed),
  );
  const { request } = job;
  const { model, vae } = request.kind === "generate" ? request : {};
  const option = models.resolve(model);
  const blank = "mask" in body && body.mask && request.kind === "generate" && request.mask === undefined;
  const comments = [
    ...unknown.map((name) => `there is no style ${name.slice(0, 100)}: ignored`),
    ...[
      ...fields.slice(0, 50),
      ...unknownSettings(body).map((name) => `override_settings.${name}`),
      ...unknownUnitFields(body.alwayson_scripts ?? {}),
    ].map((name) => `${name.slice(0, 150)} means nothing here: ignored`),
    ...new Set(made.flatMap(({ notes = [] }) => notes)),
    ...guidanceComments(body, option),
    ...(sent.cfg_scale != null && !option.info.traits.hasText
      ? [`cfg_scale has no effect: ${option.name} has no text encoder`]
      : []),
    ...(sent.denoising_strength != null && "init_images" in body && !takesStrength(option.info)
      ? [`denoising_strength has no effect: ${option.name} starts from noise and sees the whole picture`]
      : []),
    ...(option.info.traits.ignoresWebuiClipSkip && (overrideOf(body).CLIP_stop_at_last_layers ?? 1) > 1
      ? [`${option.name} takes no clip skip, as in the web UI: ignored`]
      : []),
    ...(blank ? ["the mask is blank: image to image"] : []),
  ];
  const drawn = request.kind === "generate" && request.wildcards !== undefined;
  const texts = made.map(({ parameters }) => (drawn ? parseParameters(parameters) : undefined));
  const prompts = texts.map((text) => text?.prompt ?? body.prompt);
  const negativePrompts = texts.map((text) => text?.negativePrompt ?? body.negative_prompt);
  return {
    prompt: prompts[0] ?? body.prompt,
    all_prompts: prompts,
    negative_prompt: negativePrompts[0] ?? body.negative_prompt,
    all_negative_prompts: negativePrompts,
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
    sd_model_hash: shortHash(models.hashes.of(option.info.path)),
    // The model's own is what the web UI's setting calls Automatic.
    sd_vae_name: vae ?? "Automatic",
    sd_vae_hash: shortHash(vaePath && models.hashes.of(vaePath)),
    seed_resize_from_w: body.seed_resize_from_w,
    seed_resize_from_h: body.seed_resize_from_h,
    denoising_strength: body.denoising_strength,
    extra_generation_params: extraParameters(made[0]?.parameters),
    index_of_first_image: 0,
    infotexts: made.map(({ parameters }) => parameters),
    styles: body.styles ?? [],
    ...(comments.length > 0 && { comments }),
    job_timestamp: timestamp(job.created),
    clip_skip:
      request.kind === "generate" && request.clipSkip !== undefined
        ? request.clipSkip + 1
        : settings.data.clipSkip,
    is_using_inpainting_conditioning: option.info.kind === "inpainting",
    version: `tfjs-diffusion ${packageVersion()}`,
  };
}

/** The web UI goes on below 1, towards the negative prompt; guidance is off there as in diffusers. */
function guidanceComments({ cfg_scale, prompt }: Txt2img | Img2img, { info }: ModelOption): string[] {
  const { hasText, guidanceEmbedding } = info.traits;
  // Prompts that AND combines are guided whatever the scale, and such networks are told it.
  if (cfg_scale >= 1 || !hasText || guidanceEmbedding || /\bAND\b/.test(prompt)) return [];
  return [`cfg_scale ${cfg_scale} acts as 1: the picture is made from the prompt alone`];
}

/** What has a field of its own in the info, or is no setting. */
const told = [
  ...["Prompt", "Negative prompt", "Steps", "Sampler", "CFG scale", "Seed", "Size-1", "Size-2", "Model"],
  ...["Denoising strength", "Clip skip", "Variation seed", "Variation seed strength", "Version"],
];

/** The settings of a picture that the info names nowhere else, such as the schedule type and the second pass's. */
const extraParameters = (parameters = ""): Record<string, string> =>
  Object.fromEntries(Object.entries(parseFields(parameters)).filter(([name]) => !told.includes(name)));
