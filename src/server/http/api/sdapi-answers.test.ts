import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { z } from "zod";
import { base64Png, grey, testServer } from "../../fixture.js";
import { routes } from "../openapi.js";
import {
  extraBatchImages,
  extraSingleImage,
  img2img,
  internalProgress,
  interrogateBody,
  optionsBody,
  pngInfoBody,
  txt2img,
  withoutMeaning,
} from "./sdapi-schema.js";
import { detectBody, unit } from "./sdapi-unit-schema.js";

/*
 * What the web UI's OpenAPI document says of its answers (`modules/api/models.py`, `Processed.js()` for `info`), where
 * it lists a field as a string it is one here, never null. Written down strictly: a field more or less fails.
 */
const text = z.string();
const whole = z.int();
const object = z.record(text, z.unknown());
const pictures = z.array(text.regex(/^[A-Za-z0-9+/]+=*$/));
const state = z.strictObject({
  ...{ skipped: z.boolean(), interrupted: z.boolean(), stopping_generation: z.boolean(), job: text },
  ...{ job_count: whole, job_timestamp: text, job_no: whole, sampling_step: whole, sampling_steps: whole },
});
const made = z.strictObject({ images: pictures, parameters: object, info: text });
const info = z.strictObject({
  ...{ prompt: text, all_prompts: z.array(text), negative_prompt: text, all_negative_prompts: z.array(text) },
  ...{ seed: whole, all_seeds: z.array(whole), subseed: whole, all_subseeds: z.array(whole) },
  ...{ subseed_strength: z.number(), width: whole, height: whole, sampler_name: text, cfg_scale: z.number() },
  ...{ steps: whole, batch_size: whole, restore_faces: z.boolean(), face_restoration_model: z.null() },
  ...{ sd_model_name: text.min(1), sd_model_hash: text.regex(/^[0-9a-f]{10}$/) },
  ...{ sd_vae_name: text.min(1), sd_vae_hash: text },
  ...{ seed_resize_from_w: whole, seed_resize_from_h: whole, denoising_strength: z.number() },
  ...{ extra_generation_params: z.record(text, text), index_of_first_image: whole },
  ...{ infotexts: z.array(text), styles: z.array(text), job_timestamp: text, clip_skip: whole },
  ...{ is_using_inpainting_conditioning: z.boolean(), version: text.min(1) },
});
const scripts = z.array(text);
const lists: Record<string, z.ZodType> = {
  progress: z.strictObject({
    ...{ progress: z.number(), eta_relative: z.number(), state, current_image: text.nullable() },
    textinfo: text.nullable(),
  }),
  options: z.looseObject({
    ...{ sd_model_checkpoint: text, sd_checkpoint_hash: text, sd_vae: text, CLIP_stop_at_last_layers: whole },
    ...{ eta_noise_seed_delta: whole, randn_source: text, samples_format: text },
    live_previews_enable: z.boolean(),
  }),
  "cmd-flags": object,
  samplers: z.array(z.strictObject({ name: text, aliases: z.array(text), options: z.record(text, text) })),
  schedulers: z.array(
    z.strictObject({
      ...{ name: text, label: text, aliases: z.array(text), default_rho: z.number() },
      need_inner_model: z.boolean(),
    }),
  ),
  upscalers: z.array(
    z.strictObject({ name: text, model_name: text, model_path: text, model_url: text, scale: z.number() }),
  ),
  "latent-upscale-modes": z.array(z.strictObject({ name: text })),
  "sd-models": z.array(
    z.strictObject({
      ...{ title: text, model_name: text, hash: text.length(10), sha256: text.length(64) },
      ...{ filename: text, config: text },
    }),
  ),
  "sd-vae": z.array(z.strictObject({ model_name: text, filename: text })),
  loras: z.array(z.strictObject({ name: text, alias: text, path: text, metadata: object })),
  hypernetworks: z.array(z.strictObject({ name: text, path: text })),
  "face-restorers": z.array(z.strictObject({ name: text, cmd_dir: text })),
  "realesrgan-models": z.array(z.strictObject({ name: text, path: text, scale: whole })),
  "prompt-styles": z.array(z.strictObject({ name: text, prompt: text, negative_prompt: text })),
  embeddings: z.strictObject({ loaded: object, skipped: object }),
  memory: z.strictObject({ ram: object, cuda: object }),
  scripts: z.strictObject({ txt2img: scripts, img2img: scripts }),
  "script-info": z.array(
    z.strictObject({ name: text, is_alwayson: z.boolean(), is_img2img: z.boolean(), args: z.array(object) }),
  ),
  extensions: z.array(object),
};
const image = base64Png(grey(8, 8));
const size = { width: 64, height: 64, steps: 2 };
const posts: Record<string, { readonly body?: object; readonly answer: z.ZodType }> = {
  txt2img: { body: { prompt: "a dog", ...size, batch_size: 2 }, answer: made },
  img2img: { body: { prompt: "a dog", ...size, init_images: [image] }, answer: made },
  "extra-single-image": {
    body: { image, upscaler_1: "Lanczos" },
    answer: z.strictObject({ html_info: text, image: text }),
  },
  "extra-batch-images": {
    body: { imageList: [{ data: image, name: "a.png" }], upscaler_1: "Lanczos" },
    answer: z.strictObject({ html_info: text, images: pictures }),
  },
  "png-info": {
    body: { image },
    answer: z.strictObject({ info: text, items: object, parameters: object }),
  },
  options: { body: {}, answer: z.null() },
  interrupt: { answer: z.strictObject({}) },
  skip: { answer: z.null() },
  "unload-checkpoint": { answer: z.strictObject({}) },
  "reload-checkpoint": { answer: z.strictObject({}) },
  "refresh-checkpoints": { answer: z.null() },
  "refresh-vae": { answer: z.null() },
  "refresh-loras": { answer: z.null() },
  "refresh-embeddings": { answer: z.null() },
};
const under = "/sdapi/v1/";
const named = (method: string) =>
  Object.keys(routes).flatMap((route) =>
    route.startsWith(`${method} ${under}`) ? [route.slice(`${method} ${under}`.length)] : [],
  );

test("every list has the fields of the web UI's schema, and its types", async () => {
  const { send, parts } = await testServer();
  for (const { info } of parts.models.list()) parts.models.hashes.of(info.path);
  await parts.models.hashes.settled();
  expect(Object.keys(lists).sort()).toEqual(named("GET").sort());
  for (const [name, schema] of Object.entries(lists)) {
    const answer: unknown = await (await send("GET", under + name)).json();
    expect([name, z.safeParse(schema, answer).error?.issues]).toEqual([name, undefined]);
  }
});

test("every answer to a request has them", async () => {
  const { send, parts } = await testServer();
  parts.models.hashes.of(parts.models.current.info.path);
  await parts.models.hashes.settled();
  // Loading a model is its own subject; interrogate is refused.
  const asked = named("POST").filter((name) => name !== "interrogate" && name !== "reload-checkpoint");
  expect(
    Object.keys(posts)
      .filter((name) => name !== "reload-checkpoint")
      .sort(),
  ).toEqual(asked.sort());
  for (const name of asked) {
    const { body = {}, answer: schema } = posts[name]!;
    const answer = (await (await send("POST", under + name, body)).json()) as { info: string };
    expect([name, z.safeParse(schema, answer).error?.issues]).toEqual([name, undefined]);
    if (schema === made)
      expect([name, z.safeParse(info, JSON.parse(answer.info)).error?.issues]).toEqual([name, undefined]);
  }
});

test("no request waits for a hash: it stands in the answers when it is known", async () => {
  const { send, parts } = await testServer();
  const hash = async () =>
    ((await (await send("GET", `${under}sd-models`)).json()) as { hash: string; sha256: string }[])[0]!;
  expect(await hash()).toMatchObject({ hash: "", sha256: "" });
  await parts.models.hashes.settled();
  const { hash: short, sha256 } = await hash();
  expect(sha256.slice(0, 10)).toBe(short);
  // Clients choose a model by it, too.
  const chosen = await send("POST", `${under}options`, { sd_model_checkpoint: short });
  expect([chosen.status, parts.models.current.info.path]).toEqual([200, parts.models.list()[0]!.info.path]);
});

/** The names of all fields, those of objects in objects and in lists too. */
function fieldsOf(schema: unknown): string[] {
  if (schema instanceof z.ZodObject)
    return Object.entries(schema.shape).flatMap(([name, inner]) => [name, ...fieldsOf(inner)]);
  if (schema instanceof z.ZodArray) return fieldsOf(schema.element);
  if (schema instanceof z.ZodUnion) return schema.options.flatMap(fieldsOf);
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return fieldsOf(schema.unwrap());
  return schema instanceof z.ZodPipe ? fieldsOf(schema.in) : [];
}

test("a field of a request is read, or is known to mean nothing here", () => {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const code = readdirSync(folder)
    .filter((file) => /^sdapi(-.*)?\.ts$/.test(file) && !/schema|\.test/.test(file))
    .map((file) => readFileSync(folder + file, "utf8").replace(/\/\*.*?\*\/|\/\/[^\n]*/gs, ""))
    .join("\n");
  const bodies = [
    ...[txt2img, img2img, extraSingleImage, extraBatchImages, pngInfoBody, internalProgress],
    ...[interrogateBody, optionsBody, unit, detectBody],
  ];
  const fields = bodies.flatMap(fieldsOf);
  for (const inner of ["data", "mask", "threshold_a", "eta_ancestral"]) expect(fields).toContain(inner);
  // As a member or by taking a body apart.
  const isRead = (name: string) => new RegExp(`\\.${name}\\b|[{,]\\s*${name}\\s*(,|}|:)`).test(code);
  expect(fields.filter((name) => !isRead(name) && !(name in withoutMeaning))).toEqual([]);
  expect(Object.keys(withoutMeaning).filter((name) => !fields.includes(name))).toEqual([]);
  expect(isRead("no_such_field")).toBe(false);
});
